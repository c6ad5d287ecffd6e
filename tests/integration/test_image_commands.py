"""Names, history and removal of images: `tag`, `untag`, `history`, `images`, `rmi` and `image prune`."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.product import copy_store, make_product

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.product import Product

REFERENCES = "{{.Repository}}:{{.Tag}}"


@pytest.fixture(scope="module")
def template(short_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A store with an image of two layers, 1000 and 20 bytes of files: localhost/one:1."""
    layout = Layout(tmp_path_factory.mktemp("images") / "one")
    layers = [Layer().file("a", b"a" * 1000), Layer().file("b", b"b" * 20)]
    layout.image("localhost/one:1", layers, config={"Cmd": ["x"]})
    product = make_product(short_directory / "one")
    product.run("pull", "-q", f"oci:{layout.path}:localhost/one:1")
    yield product
    product.remove()


@pytest.fixture
def one(fresh_product: Product, template: Product) -> str:
    """The image of `template`, in the store of `fresh_product`; its id."""
    copy_store(template, fresh_product)
    return fresh_product.run("images", "-q", "--no-trunc").out.strip()


def names(product: Product) -> set[str]:
    return set(product.run("images", "--format", REFERENCES).lines)


def events(product: Product, kind: str = "image") -> list[tuple[str, str, str]]:
    lines = product.run("events", "--since=1h", "--until=0s", "--format=json", f"--filter=type={kind}").lines
    told = map(json.loads, lines)
    return [(e["Action"], e["Actor"]["ID"], e["Actor"]["Attributes"].get("name", "")) for e in told]


def test_name_is_given_and_taken(fresh_product: Product, one: str) -> None:
    fresh_product.run("tag", one[7:19], "two")
    fresh_product.run("image", "tag", "two", "quay.io/team/three:v1")
    assert names(fresh_product) == {"localhost/one:1", "two:latest", "quay.io/team/three:v1"}
    assert set(fresh_product.run("images", "-q", "--no-trunc").lines) == {one}
    fresh_product.run("untag", "two", "two", "quay.io/team/three:v1")
    assert names(fresh_product) == {"localhost/one:1"}
    fresh_product.run("untag", one)
    assert names(fresh_product) == {"<none>:<none>"}
    assert [(a, n) for a, i, n in events(fresh_product) if i == one] == [
        ("tag", "two:latest"),
        ("tag", "quay.io/team/three:v1"),
        ("untag", "two:latest"),
        ("untag", "quay.io/team/three:v1"),
        ("untag", "localhost/one:1"),
    ]


def test_name_moves_from_one_image_to_another(fresh_product: Product, one: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "other")
    layout.image("localhost/other:x", [Layer().file("c", b"c")])
    other = fresh_product.run("pull", "-q", f"oci:{layout.path}:localhost/other:x").out.strip()
    fresh_product.run("tag", "localhost/other:x", "localhost/one:1")
    shown = fresh_product.run("images", "--no-trunc", "--format", f"{REFERENCES} {{{{.ID}}}}").lines
    assert set(shown) == {f"localhost/one:1 {other}", f"localhost/other:x {other}", f"<none>:<none> {one}"}
    assert fresh_product.run("images", "-q", "--no-trunc", "--filter=dangling=true").lines == [one]


def test_taking_a_name_that_is_not_there_changes_nothing(fresh_product: Product, one: str) -> None:
    assert "does not have the name" in fresh_product.fail(1, "untag", one, "localhost/one:1", "ghost").err
    assert names(fresh_product) == {"localhost/one:1"}
    assert "no such image" in fresh_product.fail(1, "tag", "ghost", "x").err
    failed = fresh_product.fail(125, "tag", one, "x:\x1b[31m")
    assert "not a tag" in failed.err
    assert "\x1b" not in failed.err


def test_digest_of_the_registry_stays_with_its_repository(fresh_product: Product, one: str) -> None:
    fresh_product.run("tag", one, "localhost/one:2")
    fresh_product.run("tag", one, "elsewhere")
    (shown,) = json.loads(fresh_product.run("image", "inspect", one).out)
    assert sorted(shown["RepoTags"]) == ["elsewhere:latest", "localhost/one:1", "localhost/one:2"]
    assert [digest.partition("@")[0] for digest in shown["RepoDigests"]] == ["localhost/one"]


def test_history_tells_steps_and_sizes(fresh_product: Product, one: str) -> None:
    lines = fresh_product.run("history", "--format", "{{.ID}}|{{.CreatedBy}}|{{.Size}}", one).lines
    assert lines == [f"{one[7:19]}|layer 1|10.2kB", "<missing>|layer 0|10.2kB"]
    assert fresh_product.run("history", "-q", "--no-trunc", one).lines == [one, "<missing>"]
    table = fresh_product.run("image", "history", "-H=false", one).lines
    assert table[0].split() == ["IMAGE", "CREATED", "AT", "CREATED", "BY", "SIZE", "COMMENT"]
    assert table[1].split()[-1] == "10240"


def test_prune_takes_the_nameless_or_the_unused(fresh_product: Product, one: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "more")
    layout.image("localhost/used:1", [busybox_layer()], config={"Cmd": ["true"], "Labels": {"keep": ""}})
    used = fresh_product.run("pull", "-q", f"oci:{layout.path}:localhost/used:1").out.strip()
    fresh_product.run("create", "--name=user", "localhost/used:1")
    fresh_product.run("tag", one, "localhost/kept:1")
    assert fresh_product.run("image", "prune", "-f").out == "Total reclaimed space: 0B\n"
    assert "Are you sure" in fresh_product.run("image", "prune", "-a", input="n\n").out
    fresh_product.run("untag", one)
    told = fresh_product.run("image", "prune", "-f", "--filter=label!=keep").lines
    assert told[:2] == ["Deleted Images:", f"deleted: {one}"]
    assert told[-1].startswith("Total reclaimed space: ")
    assert not told[-1].endswith(" 0B")
    assert fresh_product.run("image", "prune", "-af").out == "Total reclaimed space: 0B\n"
    fresh_product.run("rm", "user")
    assert fresh_product.run("image", "prune", "-af", "--filter=until=2020-01-01").lines[:-1] == []
    assert f"deleted: {used}" in fresh_product.run("image", "prune", "-af", "--filter=label=keep").lines
    assert list((fresh_product.store / "blobs/sha256").iterdir()) == []
    left = [p.name for p in (fresh_product.store / "snapshots").glob("*/*") if len(p.name) == 64]
    assert left == []


def test_image_of_a_stopped_container_stays_and_by_force_only_loses_its_name(
    fresh_product: Product, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "busybox")
    layout.image("localhost/busybox:1", [busybox_layer()], config={"Cmd": ["echo", "here"]})
    fresh_product.run("pull", "-q", f"oci:{layout.path}:localhost/busybox:1")
    fresh_product.run("create", "--network=none", "--name=user", "localhost/busybox:1")
    assert "stopped container" in fresh_product.fail(1, "rmi", "localhost/busybox:1").err
    told = fresh_product.run("rmi", "-f", "localhost/busybox:1").lines
    assert [line.partition(":")[0] for line in told] == ["Untagged", "Untagged", "Deleted"]
    assert fresh_product.run("images", "-q").out == ""
    assert fresh_product.run("start", "-a", "user").out == "here\n"
    fresh_product.run("rm", "user")
    fresh_product.run("image", "prune", "-f")
    assert list((fresh_product.store / "blobs/sha256").iterdir()) == []


@pytest.mark.needs("skopeo")
def test_other_tools_find_the_names(fresh_product: Product, one: str) -> None:
    fresh_product.run("tag", one, "second:2")
    found = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{fresh_product.store}:docker.io/library/second:2"],
        capture_output=True,
        check=True,
    )
    assert json.loads(found.stdout)["config"]["digest"] == one
