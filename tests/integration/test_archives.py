"""`save` and `load`: what Docker, skopeo and this program write, and what hostile hands do."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from tests.helpers.archives import DockerArchive
from tests.helpers.images import Layer, Layout, digest
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

REFERENCES = "{{.Repository}}:{{.Tag}}"
FORMATS = ("docker-archive", "oci-archive")


def names(product: Product) -> set[str]:
    return set(product.run("images", "--format", REFERENCES).lines)


def ids(product: Product) -> set[str]:
    return set(product.run("images", "-q", "--no-trunc").lines)


def manifests(product: Product) -> set[str]:
    """Return the digests of all manifests that the store's index leads to."""
    return {entry["digest"] for entry in json.loads((product.store / "index.json").read_text())["manifests"]}


def entries(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        files = (member for member in tar if member.isfile())
        return {member.name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def save_to_pipe(product: Product, *words: str) -> bytes:
    with product.start("save", *words) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return bytes(out)


def skopeo(*words: str) -> str:
    command = ["skopeo", "--insecure-policy", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def two(tmp_path: Path) -> Layout:
    """Two images that share a layer: "first" and "second"."""
    layout = Layout(tmp_path / "two")
    shared = Layer().file("shared", b"s" * 5000)
    layout.image("localhost/first:1", [shared, Layer().file("a", b"a")])
    layout.image("localhost/second:2", [shared, Layer().file("b", b"b")], compression="zstd")
    return layout


@pytest.fixture
def stored(fresh_product: Product, two: Layout) -> Product:
    """A store with both, the first also under another name."""
    for name in ("localhost/first:1", "localhost/second:2"):
        fresh_product.run("pull", "-q", f"oci:{two.path}:{name}")
    fresh_product.run("tag", "localhost/first:1", "other:tag")
    return fresh_product


@pytest.mark.parametrize("form", FORMATS)
def test_images_and_their_names_come_back(stored: Product, tmp_path: Path, form: str) -> None:
    before = names(stored), ids(stored)
    saved = tmp_path / "saved.tar"
    queries = ("localhost/first:1", "localhost/second:2", "other:tag")
    stored.run("save", "-o", str(saved), f"--format={form}", *queries)
    assert save_to_pipe(stored, f"--format={form}", *queries) == saved.read_bytes()
    assert len(list(tmp_path.glob(".new-*"))) == 0
    if form == "docker-archive":
        check_layers(entries(saved.read_bytes()))
    stored.run("rmi", "-f", *queries)
    assert ids(stored) == set()
    loaded = stored.run("load", "-i", str(saved))
    assert sorted(loaded.lines) == [f"Loaded image: {name}" for name in sorted(queries)]
    assert (names(stored), ids(stored)) == before


def check_layers(archive: dict[str, bytes]) -> None:
    """Check that they are plain, those of the configs, and each there once."""
    first, second = json.loads(archive["manifest.json"])
    assert first["Layers"][0] == second["Layers"][0]
    assert len([name for name in archive if name.endswith(".tar")]) == 3
    for image in (first, second):
        diff_ids = json.loads(archive[image["Config"]])["rootfs"]["diff_ids"]
        assert [digest(archive[name]) for name in image["Layers"]] == diff_ids


def test_loaded_image_runs(product: Product, busybox: str, tmp_path: Path) -> None:
    before = manifests(product)
    archive = entries(save_to_pipe(product, busybox))
    (listed,) = json.loads(archive["manifest.json"])
    listed["RepoTags"] = ["archived:1"]
    tar = Layer()
    for name, data in {**archive, "manifest.json": json.dumps([listed]).encode()}.items():
        tar.file(name, data)
    loaded = product.run("load", "-q", input=gzip.compress(tar.bytes(), 1))
    assert loaded.out == "Loaded image: archived:1\n"
    assert product.run(*QUICK, "archived:1", "echo", "hello").out == "hello\n"
    product.run("tag", busybox, "archived:1")  # the manifest of plain layers loses its only name
    assert "<none>" not in product.run("images").out
    product.run("image", "prune", "-f")
    product.run("load", "-q", input=gzip.compress(tar.bytes(), 1))
    product.run("rmi", "archived:1")  # and again, with its name
    assert "<none>" not in product.run("images").out
    assert manifests(product) == before


def test_name_without_tag_saves_all_tags_and_id_saves_none(stored: Product) -> None:
    stored.run("tag", "localhost/second:2", "localhost/first:3")
    listed = json.loads(entries(save_to_pipe(stored, "localhost/first"))["manifest.json"])
    assert [image["RepoTags"] for image in listed] == [["localhost/first:1"], ["localhost/first:3"]]
    image_id = stored.run("inspect", "--format={{.Id}}", "other:tag").out.strip()
    archive = save_to_pipe(stored, image_id[7:19])
    (image,) = json.loads(entries(archive)["manifest.json"])
    assert image["RepoTags"] is None
    stored.run("rmi", "-f", image_id)
    assert stored.run("load", input=archive).out == f"Loaded image ID: {image_id}\n"
    assert image_id in ids(stored)


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", FORMATS)
def test_skopeo_reads_what_is_saved(stored: Product, two: Layout, tmp_path: Path, form: str) -> None:
    saved = tmp_path / "saved.tar"
    stored.run("save", "-o", str(saved), f"--format={form}", "localhost/first:1", "localhost/second:2")
    skopeo("copy", f"{form}:{saved}:localhost/second:2", f"dir:{tmp_path}/copied")
    manifest = json.loads((tmp_path / "copied/manifest.json").read_bytes())
    config = manifest["config"]["digest"]
    assert config in ids(stored)
    if form == "oci-archive":
        original = json.loads((two.path / "index.json").read_text())["manifests"][1]
        assert digest((tmp_path / "copied/manifest.json").read_bytes()) == original["digest"]


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", FORMATS)
def test_what_skopeo_writes_loads(fresh_product: Product, two: Layout, tmp_path: Path, form: str) -> None:
    source, saved = f"oci:{two.path}:localhost/first:1", f"{form}:{tmp_path}/saved.tar"
    skopeo("copy", source, f"{saved}:localhost/archived:7")
    loaded = fresh_product.run("load", "-i", str(tmp_path / "saved.tar"))
    assert loaded.out == "Loaded image: localhost/archived:7\n"
    fresh_product.run("pull", "-q", source)
    assert len(ids(fresh_product)) == 1


def test_terminals_are_refused(product: Product, busybox: str) -> None:
    with product.terminal("save", busybox) as terminal:
        terminal.expect("cannot write an archive to a terminal")
    with product.terminal("load") as terminal:
        terminal.expect("cannot load from a terminal")


def test_failed_save_leaves_the_old_file(product: Product, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    product.fail(1, "save", "-o", str(tmp_path / "old"), busybox, "no-such-image")
    assert (tmp_path / "old").read_text() == "old"
    product.fail(1, "save", "-o", str(tmp_path / "none/file"), busybox)
    assert os.listdir(tmp_path) == ["old"]


def test_images_before_a_broken_one_are_loaded(product: Product) -> None:
    archive = DockerArchive()
    image_id = archive.image([Layer().file("whole")], tags=["whole:1", "whole:2"])
    archive.image([Layer().file("broken")], tags=["broken:1"], diff_ids=["sha256:" + "2" * 64])
    failed = product.fail(1, "load", input=archive.bytes())
    assert failed.out == "Loaded image: whole:1\nLoaded image: whole:2\n"
    assert "broken:1" in failed.err
    assert image_id in ids(product)
    product.run("rmi", "-f", "whole:1", "whole:2")
    assert not [name for name in names(product) if "broken" in name]


def test_reader_that_leaves_ends_a_save_quietly(product: Product, busybox: str) -> None:
    with product.start("save", busybox) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 128 + 13


def test_load_is_told_as_an_event(product: Product) -> None:
    archive = DockerArchive()
    archive.image([Layer().file("a")], tags=["told:1"])
    product.run("load", input=archive.bytes())
    told = product.run("events", "--since=1h", "--until=0s", "--filter=event=load", "--format={{.ID}}").lines
    assert told[-1] == "told:1"
    product.run("rmi", "told:1")


@pytest.mark.parametrize("case", ["layer is another", "gzip is cut off", "name of control characters"])
def test_hostile_archive_leaves_nothing(product: Product, case: str) -> None:
    archive = DockerArchive()
    diff_ids = ["sha256:" + "1" * 64] if case == "layer is another" else []
    tag = "evil\x1b[31m:1" if case == "name of control characters" else "hostile:1"
    image_id = archive.image([Layer().file("a", b"a")], tags=[tag], diff_ids=diff_ids)
    data = gzip.compress(archive.bytes(), 1)
    result = product.fail(1, "load", input=data[:-20] if case == "gzip is cut off" else data)
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err
    assert image_id not in ids(product)
    assert not [name for name in names(product) if "hostile" in name]
