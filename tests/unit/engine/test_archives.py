"""What `load` makes of archives, hostile and damaged ones too (attacks: A19, B19); what `save` chooses."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from typing import TYPE_CHECKING

import pytest
import trio
from backports import zstd

from layers.errors import ImageNotFound, LayersError
from layers.index import REF_NAME, ImageEntry
from rootless.engine.archives import choose_saved, list_images
from rootless.engine.copying import copy_image
from rootless.errors import printable
from rootless.registry.settings import RegistrySettings
from rootless.registry.transport.base import open_destination, open_source
from rootless.registry.transport.files import ArchiveFiles
from tests.helpers.archives import DockerArchive
from tests.helpers.blobs import describe
from tests.helpers.images import Layer, digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layers.manifest import Descriptor

SETTINGS = RegistrySettings(environment={})


def good() -> DockerArchive:
    archive = DockerArchive()
    archive.image([Layer().file("a", b"a")], tags=["hostile:1"])
    return archive


def made(change: Callable[[DockerArchive], object]) -> bytes:
    archive = good()
    change(archive)
    return archive.bytes()


def hostile(**listed: object) -> bytes:
    archive = DockerArchive()
    archive.image([Layer().file("a", b"a")], **{"tags": ["hostile:1"], **listed})  # type: ignore[arg-type]
    return archive.bytes()


HOSTILE = {
    "empty": (b"", "it is empty"),
    "not an archive": (b"hello world" * 100, "tar header"),
    "root file system": (Layer().file("etc/passwd").bytes(), "neither a manifest.json nor an index.json"),
    "cut off": (good().bytes()[:3000], "cut off"),
    "gzip cut off": (gzip.compress(good().bytes())[:-20], "cut off"),
    "layer missing": (hostile(Layers=["none.tar"]), "cannot find none.tar"),
    "layer outside": (hostile(Layers=["../../etc/shadow"]), "a name leads out of it"),
    "layer absolute": (hostile(Layers=["/etc/shadow"]), "a name leads out of it"),
    "config missing": (hostile(Config="none.json"), "cannot find none.json"),
    "config of wrong type": (hostile(Config=7), "`Config` is not a string"),
    "fewer layers than diff ids": (hostile(Layers=[]), "lists 0 layers"),
    "layer is another": (hostile(diff_ids=["sha256:" + "1" * 64]), "its digest is"),
    "entry twice": (made(lambda a: a.tar.file("x", b"1").file("./x", b"2")), "have the same name"),
    "list twice": (made(lambda a: a.tar.file("./manifest.json", b"[]")), "have the same name"),
    "entry outside": (made(lambda a: a.tar.file("../x", b"1")), "a name leads out of it"),
    "link outside": (made(lambda a: a.tar.symlink("x", "/etc/shadow")), "a name leads out of it"),
    "layer behind a device": (
        made(lambda a: a.listed[0].update(Layers=["d"]) or a.tar.device("d", 1, 3)),  # type: ignore[func-returns-value]
        "no plain file",
    ),
    "link to a link": (
        made(lambda a: a.listed[0].update(Layers=["x"]) or a.tar.symlink("x", "y").symlink("y", "x")),  # type: ignore[func-returns-value]
        "a link leads to another link",
    ),
    "compressed layer that lies about its digest": (
        made(
            lambda a: (
                a.listed[0].update(Layers=["blobs/sha256/" + "1" * 64])
                or a.tar.file("blobs/sha256/" + "1" * 64, gzip.compress(Layer().file("a", b"a").bytes()))
            )  # type: ignore[func-returns-value]
        ),
        "its digest is",
    ),
    "name of control characters": (hostile(tags=["evil\x1b[31m:1"]), r"evil\x1b[31m"),
    "list with a key twice": (good().bytes(b'[{"Config":"a","Config":"b"}]'), "occurs twice"),
    "list that is no array": (good().bytes(b'{"Config":"a"}'), "`images` is not an array"),
    "list nested deeply": (good().bytes(b"[" * 100_000), "nested too deeply"),
    "config that lies about its digest": (
        made(
            lambda a: a.listed[0].update(Config="1" * 64 + ".json") or a.tar.file("1" * 64 + ".json", b"{}")
        ),  # type: ignore[func-returns-value]
        "its digest is",
    ),
}


async def read_whole(path: Path, target: Path) -> list[list[str]]:
    """Do what `load` does but for unpacking; return the names of the images."""
    found = []
    async with ArchiveFiles(str(path), scratch=str(path.parent)) as files:
        for image in list_images(files):
            async with image.source, open_destination(f"dir:{target}", SETTINGS) as destination:
                await copy_image(image.source, destination, platform=None)
            found.append(list(image.names))
    return found


async def test_good_archive_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(good().bytes())
    assert await read_whole(tmp_path / "archive", tmp_path / "out") == [["docker.io/library/hostile:1"]]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
@pytest.mark.parametrize("from_pipe", [False, True])
async def test_compressed_archive_is_read_whole(
    tmp_path: Path, compress: Callable[[bytes], bytes], from_pipe: bool
) -> None:
    path = tmp_path / "archive"
    data = compress(good().bytes())
    if not from_pipe:
        path.write_bytes(data)
        assert len(await read_whole(path, tmp_path / "out")) == 1
        return
    os.mkfifo(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, path.write_bytes, data)
        assert len(await read_whole(path, tmp_path / "out")) == 1


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_layers_that_a_builder_compressed_are_taken_as_they_are(
    tmp_path: Path, compression: str
) -> None:
    archive = DockerArchive()
    archive.image([Layer().file("hello", b"h" * 3000)], tags=["built:1"], compression=compression)
    (tmp_path / "archive").write_bytes(archive.bytes())
    await read_whole(tmp_path / "archive", tmp_path / "out")
    (layer,) = json.loads((tmp_path / "out/manifest.json").read_text())["layers"]
    assert layer["mediaType"].endswith("+" + compression)


async def test_layer_behind_a_link_of_an_old_archive_is_found(tmp_path: Path) -> None:
    layer = Layer().file("old", b"o").bytes()
    archive = DockerArchive()
    archive.tar.directory("0").file("0/layer.tar", layer).symlink("1/layer.tar", "../0/layer.tar")
    archive.image([layer], tags=["old:1"], Layers=["1/layer.tar"])
    (tmp_path / "archive").write_bytes(archive.bytes())
    await read_whole(tmp_path / "archive", tmp_path / "out")
    assert (tmp_path / "out" / digest(layer).removeprefix("sha256:")).read_bytes() == layer


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_archive_is_refused(tmp_path: Path, case: str) -> None:
    data, message = HOSTILE[case]
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises((ExceptionGroup, LayersError)) as caught:
        await read_whole(tmp_path / "archive", tmp_path / "out")
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, LayersError)
    assert message in printable(str(error))
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        (":hostile:1", "docker.io/library/hostile:1"),
        (":docker.io/library/other:2", "docker.io/library/other:2"),
        (":@0", "docker.io/library/hostile:1"),
        (":@1", "docker.io/library/other:2"),
        (":@2", ""),
        (":@-1", ""),
        (":hostile:3", ""),
        ("", ""),
    ],
)
async def test_image_of_an_archive_is_found(tmp_path: Path, reference: str, found: str) -> None:
    archive = good()
    archive.image([Layer().file("b")], tags=["other:2"])
    (tmp_path / "archive").write_bytes(archive.bytes())
    source = open_source(f"docker-archive:{tmp_path}/archive{reference}", SETTINGS)
    if found:
        async with source:
            assert source.name == found
    else:
        with pytest.raises(ImageNotFound, match=r"there are [02]"):
            await source.__aenter__()


def entry(number: int, name: str) -> ImageEntry:
    descriptor = describe(b"%d" % number)
    return ImageEntry(descriptor.with_annotations({REF_NAME: name} if name else {}))


STORE = (
    entry(1, "docker.io/library/box:1"),
    entry(1, "docker.io/library/box:latest"),
    entry(2, "docker.io/library/box:2"),
    entry(2, "quay.io/a/b@sha256:" + "0" * 64),
    entry(3, ""),
)
IDS = {"one": STORE[0], "two": STORE[2], "three": STORE[4], "box:1": STORE[0], "box:2": STORE[2]}


@pytest.mark.parametrize(
    ("queries", "chosen"),
    [
        (["box:1"], [(0, ["box:1"])]),
        (["box"], [(0, ["box:1", "box:latest"]), (2, ["box:2"])]),
        (["box:2", "box:1", "box:2"], [(2, ["box:2"]), (0, ["box:1"])]),
        (["one"], [(0, [])]),
        (["one", "box:1"], [(0, ["box:1"])]),
        (["three"], [(4, [])]),
    ],
)
def test_images_to_save_are_chosen(queries: list[str], chosen: list[tuple[int, list[str]]]) -> None:
    wanted: list[tuple[Descriptor, list[str]]] = [
        (STORE[number].descriptor, [f"docker.io/library/{name}" for name in names])
        for number, names in chosen
    ]
    assert choose_saved(STORE, queries, find=IDS.__getitem__) == wanted
