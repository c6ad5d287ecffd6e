"""`copy`: from every place to every place, bit for bit; and transports that others install."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import ARCHITECTURE, Layer, Layout, digest
from tests.helpers.processes import wait_for
from tests.helpers.product import QUICK, REPOSITORY

if TYPE_CHECKING:
    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

OTHER = "s390x"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An image of two layers, "one", and an index of two platforms, "both"."""
    made = Layout(tmp_path / "layout")
    base = Layer().file("base", b"b" * 20_000)
    made.image("one", [base, Layer().file("top", b"t")])
    here = made.manifest([base], architecture=ARCHITECTURE)
    there = made.manifest([base, Layer().file("other")], architecture=OTHER)
    made.index("both", [here, there])
    return made


def root_of(layout: Path, name: str | None = None) -> str:
    """Return the digest that a layout's index has for a name, or for its only image."""
    entries = json.loads((layout / "index.json").read_text())["manifests"]
    key = "org.opencontainers.image.ref.name"
    (found,) = [e for e in entries if name is None or e.get("annotations", {}).get(key) == name]
    return str(found["digest"])


def blobs(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}


def test_every_place_keeps_every_bit(
    product: Product, registry: Registry, layout: Layout, tmp_path: Path
) -> None:
    root = root_of(layout.path, "both")
    places = [
        f"oci:{layout.path}:both",
        f"dir:{tmp_path}/directory",
        f"docker://{registry.address}/copied:both",
        f"oci-archive:{tmp_path}/archive.tar:localhost/x:1",
        f"oci:{tmp_path}/end:name",
    ]
    for source, destination in pairwise(places):
        copied = product.run("copy", "-q", "--all", source, destination)
        assert copied.out == root + "\n"
    assert root_of(tmp_path / "end", "name") == root
    expected = blobs(layout.path)
    assert all(expected[name] == data for name, data in blobs(tmp_path / "end").items())
    assert digest((tmp_path / "directory/manifest.json").read_bytes()) == root
    assert not list(tmp_path.rglob(".new-*"))


@pytest.mark.needs("skopeo")
def test_skopeo_agrees(product: Product, layout: Layout, tmp_path: Path) -> None:
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--all", f"oci:{layout.path}:both"]
    subprocess.run([*command, f"dir:{tmp_path}/theirs"], check=True)
    product.run("copy", "--all", f"oci:{layout.path}:both", f"dir:{tmp_path}/ours")
    theirs, ours = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("theirs", "ours")
    )
    assert ours == theirs
    product.run("copy", "--all", f"dir:{tmp_path}/theirs", f"oci:{tmp_path}/back:b")
    assert root_of(tmp_path / "back") == root_of(layout.path, "both")


def test_one_platform_of_an_index(product: Product, layout: Layout, tmp_path: Path) -> None:
    for words, architecture in (((), ARCHITECTURE), ((f"--platform=linux/{OTHER}",), OTHER)):
        target = tmp_path / architecture
        product.run("copy", "-q", *words, f"oci:{layout.path}:both", f"oci:{target}")
        manifest = json.loads(blobs(target)[root_of(target).removeprefix("sha256:")])
        config = json.loads(blobs(target)[manifest["config"]["digest"].removeprefix("sha256:")])
        assert config["architecture"] == architecture
    refused = product.fail(1, "copy", "--all", f"oci:{layout.path}:both", f"docker-archive:{tmp_path}/a.tar")
    assert "without --all one platform is copied" in refused.err
    assert not (tmp_path / "a.tar").exists()
    product.fail(125, "copy", "--all", "--platform=linux/arm64", "oci:a", "oci:b")


def test_image_of_a_registry_in_an_archive_runs(product: Product, busybox: str, tmp_path: Path) -> None:
    archive = f"docker-archive:{tmp_path}/box.tar"
    copied = product.run("copy", f"docker://{busybox}", f"{archive}:copied/box:1")
    assert copied.lines[0] == f"docker://{busybox}: Copying to {archive}:copied/box:1"
    assert copied.out.count("Copy complete") == 2
    assert product.run(*QUICK, archive, "echo", "hello").out == "hello\n"
    assert "copied/box:1" in product.run("images", "--format={{.Repository}}:{{.Tag}}").lines
    product.run("rmi", "copied/box:1")


def test_blobs_that_are_there_are_not_copied_again(product: Product, layout: Layout, tmp_path: Path) -> None:
    product.run("copy", "-q", f"oci:{layout.path}:one", f"oci:{tmp_path}/end:1")
    again = product.run("copy", f"oci:{layout.path}:both", f"oci:{tmp_path}/end:2")
    assert again.out.count("Already exists") == 1
    assert root_of(tmp_path / "end", "1") == root_of(layout.path, "one")
    product.run("copy", "-q", f"oci:{layout.path}:both", f"oci:{tmp_path}/end:1")
    assert root_of(tmp_path / "end", "1") == root_of(tmp_path / "end", "2")


def test_images_added_at_once_are_all_there(product: Product, layout: Layout, tmp_path: Path) -> None:
    copies = [
        product.start("copy", "-q", f"oci:{layout.path}:one", f"oci:{tmp_path}/end:{n}") for n in range(4)
    ]
    for process in copies:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    assert {root_of(tmp_path / "end", str(n)) for n in range(4)} == {root_of(layout.path, "one")}


@pytest.mark.parametrize("place", ["oci", "oci-archive", "docker-archive", "dir"])
def test_wrong_bytes_never_arrive(product: Product, layout: Layout, tmp_path: Path, place: str) -> None:
    manifest = json.loads(layout.blob_path(root_of(layout.path, "one")).read_bytes())
    damaged = layout.blob_path(manifest["layers"][0]["digest"])
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    failed = product.fail(1, "copy", f"oci:{layout.path}:one", f"{place}:{tmp_path}/end")
    assert "its digest is" in failed.err
    left = {path.name for path in tmp_path.rglob("*") if layout.path not in path.parents}
    assert not left & {"index.json", "manifest.json", damaged.name}
    assert not [name for name in left if name.startswith(".new-")]
    assert (tmp_path / "end").exists() == (place in ("oci", "dir"))


@pytest.mark.parametrize("place", ["oci-archive", "docker-archive"])
def test_killed_copy_leaves_nothing(product: Product, tmp_path: Path, place: str) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image("big", [bytes(200 << 20)], compression="none")
    (tmp_path / "out").mkdir()
    with product.start("copy", f"oci:{layout.path}:big", f"{place}:{tmp_path}/out/a.tar") as process:
        wait_for(lambda: str(tmp_path / "out") in " ".join(opened(process.pid)))
        process.kill()
    assert process.returncode == -9
    assert not list((tmp_path / "out").iterdir())


def opened(pid: int) -> list[str]:
    """Return the paths of a process's descriptors."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def test_directory_with_other_files_is_left_alone(product: Product, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    failed = product.fail(1, "copy", f"oci:{layout.path}:one", f"dir:{tmp_path}/mine")
    assert "the directory holds other files" in failed.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_links_in_a_layout_are_not_written_through(product: Product, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "end").mkdir()
    (tmp_path / "end/blobs").symlink_to(tmp_path / "elsewhere")
    failed = product.fail(1, "copy", f"oci:{layout.path}:one", f"oci:{tmp_path}/end")
    assert "cannot write there" in failed.err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_cannot_be_copied_says_why(product: Product, layout: Layout, tmp_path: Path) -> None:
    assert "it needs a path" in product.fail(1, "copy", "oci:", f"dir:{tmp_path}/x").err
    missing = product.fail(1, "copy", f"oci-archive:{tmp_path}/none", f"dir:{tmp_path}/x").err
    assert "cannot open the archive: No such file or directory" in missing
    assert "there are 2 in it" in product.fail(1, "copy", f"oci:{layout.path}", f"dir:{tmp_path}/x").err
    shutil.rmtree(layout.path / "blobs")
    assert "cannot open" in product.fail(1, "copy", f"oci:{layout.path}:one", f"dir:{tmp_path}/x").err
    assert not (tmp_path / "x/manifest.json").exists()


def test_transport_of_another_package(product: Product, tmp_path: Path) -> None:
    """It is found by its entry point, in every command that takes images."""
    env = {**product.env, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/tests/plugin"}
    (tmp_path / "root.tar").write_bytes(Layer().file("hello", b"hi").bytes())
    source = f"plain:{tmp_path}/root.tar"
    product.run("pull", source, env=env)
    label = product.run("inspect", "--format={{.Config.Labels.made}}", "localhost/root").out
    assert label == "plainly\n"
    product.run("rmi", "localhost/root")
    product.run("copy", source, f"oci:{tmp_path}/end:1", env=env)
    assert len(blobs(tmp_path / "end")) == 3
    refused = product.fail(1, "copy", f"oci:{tmp_path}/end:1", source, env=env)
    assert "cannot write there: its transport only reads" in refused.err
    assert "tests/plugin" not in product.env["PYTHONPATH"]  # without it nobody knows the name
    product.fail(1, "pull", source)
