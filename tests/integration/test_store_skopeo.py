"""The store is a layout that other tools read: skopeo copies out of it and into it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from layers import media
from layers.store.directory import ImageLayout
from tests.helpers.blobs import add_image, describe
from tests.helpers.images import Layer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.needs("skopeo")


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    made = ImageLayout(tmp_path / "store", locks=str(tmp_path / "locks"))
    made.ensure()
    return made


def skopeo(*words: str) -> str:
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", ["localhost:5000/x:1", "docker.io/library/debian:12", "quay.io/a/b@sha256:" + "1" * 64]
)
def test_skopeo_reads_every_kind_of_name(layout: ImageLayout, tmp_path: Path, name: str) -> None:
    layer = Layer().file("etc/motd", b"hello\n").bytes()
    descriptor = add_image(layout, layer, Env=["A=1"], Labels={"k": "v"})
    layout.tag(name, descriptor, {"io.rootless.repo-digest": descriptor.digest})
    layout.tag("docker.io/library/other:1", add_image(layout, b"other"))
    shown = json.loads(skopeo("inspect", f"oci:{layout.root}:{name}"))
    assert shown["Digest"] == descriptor.digest
    assert shown["Labels"] == {"k": "v"}
    assert shown["Layers"] == [describe(layer).digest]
    skopeo("copy", f"oci:{layout.root}:{name}", f"dir:{tmp_path}/copied")
    assert (tmp_path / "copied" / describe(layer).digest.encoded).read_bytes() == layer


def test_what_skopeo_writes_is_found_and_kept(layout: ImageLayout, tmp_path: Path) -> None:
    other = ImageLayout(tmp_path / "other", locks=str(tmp_path / "locks2"))
    other.ensure()
    descriptor = add_image(other, Layer().file("a", b"1").bytes())
    other.tag("docker.io/library/x:1", descriptor)
    skopeo("copy", f"oci:{other.root}:docker.io/library/x:1", f"oci:{layout.root}:localhost:5000/x:1")
    entry = layout.resolve("localhost:5000/x:1")
    image = layout.load_image(entry)
    assert image.manifest.media_type == media.OCI_MANIFEST
    layout.tag("docker.io/library/y:1", entry.descriptor)
    assert layout.sweep().deleted == ()
    skopeo("inspect", f"oci:{layout.root}:localhost:5000/x:1")
