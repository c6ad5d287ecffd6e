"""Directories and archives that images are read from and written to."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from layers import media
from layers.digest import digest_bytes
from layers.errors import BlobNotFound, DigestMismatch, ImageNotFound, LayersError, SizeMismatch
from layers.manifest import Descriptor
from rootless.engine.copying import copy_image
from rootless.errors import RootlessError
from rootless.registry.settings import RegistrySettings
from rootless.registry.transport.base import open_destination, open_source
from tests.helpers.images import Layer, Layout

if TYPE_CHECKING:
    from pathlib import Path

    from rootless.registry.transport.base import Destination

SETTINGS = RegistrySettings(environment={})


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "layout")
    made.image("one", [Layer().file("a", b"a")])
    return made


def descriptor_of(data: bytes) -> Descriptor:
    return Descriptor(media_type=media.OCI_MANIFEST, digest=digest_bytes(data), size=len(data))


async def copy(source: str, destination: str) -> None:
    async with open_source(source, SETTINGS) as opened, open_destination(destination, SETTINGS) as target:
        await copy_image(opened, target, platform=None)


def only_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


async def failure(source: str, destination: str) -> BaseException:
    with pytest.raises((LayersError, RootlessError, ExceptionGroup)) as caught:
        await copy(source, destination)
    return only_leaf(caught.value)


def manifest_of(layout: Layout) -> dict[str, object]:
    index = json.loads((layout.path / "index.json").read_text())
    found: dict[str, object] = json.loads(layout.blob_path(index["manifests"][0]["digest"]).read_bytes())
    return found


async def test_links_of_a_layout_are_not_followed(layout: Layout, tmp_path: Path) -> None:
    """Attack B19: a blob that is a link to a file of the host."""
    digest = manifest_of(layout)["config"]["digest"]  # type: ignore[index]
    blob = layout.blob_path(digest)
    blob.rename(tmp_path / "secret")
    blob.symlink_to(tmp_path / "secret")
    assert isinstance(await failure(f"oci:{layout.path}", f"dir:{tmp_path}/out"), BlobNotFound)
    (layout.path / "blobs").rename(tmp_path / "blobs")
    (layout.path / "blobs").symlink_to(tmp_path / "blobs")
    assert isinstance(await failure(f"oci:{layout.path}", f"dir:{tmp_path}/out"), BlobNotFound)


async def test_fifo_in_a_layout_keeps_nobody_waiting(layout: Layout, tmp_path: Path) -> None:
    (layout.path / "index.json").unlink()
    os.mkfifo(layout.path / "index.json")
    assert isinstance(await failure(f"oci:{layout.path}", f"dir:{tmp_path}/out"), BlobNotFound)


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_layers_that_are_not_those_of_the_config_are_not_archived(
    tmp_path: Path, compression: str
) -> None:
    layout = Layout(tmp_path / "layout")
    layer, _ = layout.layer(Layer().file("a"), compression)
    layout.tag("lie", layout.manifest_of([layer], ["sha256:" + "1" * 64]))
    error = await failure(f"oci:{layout.path}", f"docker-archive:{tmp_path}/a.tar")
    assert isinstance(error, DigestMismatch)
    assert os.listdir(tmp_path) == ["layout"]


async def test_images_added_by_two_programs_are_both_there(tmp_path: Path) -> None:
    async def put(destination: Destination, data: bytes) -> None:
        await destination.put_manifest(data, descriptor_of(data), final=True)

    first, second = (open_destination(f"oci:{tmp_path}/end:{n}", SETTINGS) for n in (1, 2))
    async with first:
        await put(first, b"{}")
        async with second:
            await put(second, b"[]")
    index = json.loads((tmp_path / "end/index.json").read_text())
    assert {entry["digest"] for entry in index["manifests"]} == {digest_bytes(b"{}"), digest_bytes(b"[]")}


async def test_failed_block_leaves_the_name_as_it_was(layout: Layout, tmp_path: Path) -> None:
    for place in (
        f"oci:{tmp_path}/end:1",
        f"oci-archive:{tmp_path}/a.tar:1",
        f"docker-archive:{tmp_path}/b.tar",
    ):
        await copy(f"oci:{layout.path}", place)
    before = [(tmp_path / name).read_bytes() for name in ("end/index.json", "a.tar", "b.tar")]
    for place in (
        f"oci:{tmp_path}/end:1",
        f"oci-archive:{tmp_path}/a.tar:1",
        f"docker-archive:{tmp_path}/b.tar",
    ):
        destination = open_destination(place, SETTINGS)
        with pytest.raises(KeyError):
            async with destination:
                raise KeyError(place)
    assert [(tmp_path / name).read_bytes() for name in ("end/index.json", "a.tar", "b.tar")] == before
    assert not list(tmp_path.rglob(".new-*"))


async def test_replaced_image_of_a_directory_leaves_no_files(layout: Layout, tmp_path: Path) -> None:
    await copy(f"oci:{layout.path}", f"dir:{tmp_path}/out")
    other = Layout(tmp_path / "other")
    other.index("both", [other.manifest([Layer().file("b")])])
    await copy(f"oci:{other.path}", f"dir:{tmp_path}/out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    blobs = {path.name for path in (other.path / "blobs/sha256").iterdir()}
    assert {name.removesuffix(".manifest.json") for name in names} - {"version", "manifest.json"} < blobs
    assert len(names) == 5


async def test_size_that_lies_is_refused(layout: Layout, tmp_path: Path) -> None:
    index = json.loads((layout.path / "index.json").read_text())
    index["manifests"][0]["size"] += 1
    (layout.path / "index.json").write_text(json.dumps(index))
    assert isinstance(await failure(f"oci:{layout.path}", f"dir:{tmp_path}/out"), SizeMismatch)


@pytest.mark.parametrize("reference", ["oci:", "oci-archive:", "docker-archive:", "dir:"])
def test_place_needs_a_path(reference: str) -> None:
    for opener in (open_source, open_destination):
        with pytest.raises(RootlessError, match="needs a path"):
            opener(reference, SETTINGS)


async def test_only_image_is_found_and_one_of_several_is_asked_for(layout: Layout, tmp_path: Path) -> None:
    await copy(f"oci:{layout.path}", f"dir:{tmp_path}/out")
    layout.image("two", [])
    assert isinstance(await failure(f"oci:{layout.path}", f"dir:{tmp_path}/x"), ImageNotFound)
    assert isinstance(await failure(f"oci:{layout.path}:three", f"dir:{tmp_path}/x"), ImageNotFound)
    await copy(f"oci:{layout.path}:two", f"oci-archive:{tmp_path}/two.tar:quay.io/a/b:2")
    await copy(f"oci-archive:{tmp_path}/two.tar:quay.io/a/b:2", f"dir:{tmp_path}/x")
