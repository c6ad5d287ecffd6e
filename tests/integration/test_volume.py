"""Volumes: made, filled, shared, kept and removed, whoever owns what is in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product


@pytest.fixture
def product(product: Product) -> Product:
    """The product without the volumes that other tests left."""
    product.run("volume", "prune", "-a", "-f")
    return product


def names(product: Product, *words: str) -> list[str]:
    return product.run("volume", "ls", "-q", *words).lines


def test_volume_keeps_its_files_until_it_is_removed(product: Product, busybox: str) -> None:
    assert product.run("volume", "create", "--label", "tier=db", "data").out == "data\n"
    mounted = ("-v", "data:/d")
    product.run(*QUICK, *mounted, busybox, "sh", "-c", "echo kept >/d/x; mkdir -m 0 /d/closed")
    assert product.run(*QUICK, *mounted, busybox, "cat", "/d/x").out == "kept\n"
    (shown,) = json.loads(product.run("volume", "inspect", "data").out)
    assert shown["Labels"] == {"tier": "db"}
    assert shown["Mountpoint"] == str(product.store / "volumes/data/_data")

    product.run("create", "--name=user", *mounted, busybox, "true")
    refused = product.fail(1, "volume", "rm", "data")
    assert "in use by container" in refused.err
    assert names(product, "-f", "dangling=true") == []
    product.run("rm", "-v", "user")
    assert names(product) == ["data"]  # it has a name: -v is for those that have none
    assert product.run("volume", "rm", "data").out == "data\n"
    assert names(product) == []
    assert list((product.store / "volumes").iterdir()) == []


@pytest.mark.needs("subid")
def test_files_of_the_containers_users_go_with_their_volume(product: Product, busybox: str) -> None:
    script = "mkdir /d/theirs; echo 1234 >/d/theirs/x; chown -R 55:55 /d/theirs; chmod 700 /d/theirs"
    product.run(*QUICK, "-v", "data:/d", busybox, "sh", "-c", script)
    pruned = product.run("volume", "prune", "-a", "-f")
    assert pruned.out == "Deleted Volumes:\ndata\n\nTotal reclaimed space: 5B\n"
    assert list((product.store / "volumes").iterdir()) == []


def test_anonymous_volume_lives_as_long_as_a_container_mounts_it(product: Product, busybox: str) -> None:
    script = "echo shared >/d/x; sleep 1000"
    product.run("run", "-d", "--network=none", "--name=owner", "-v", "/d", busybox, "sh", "-c", script)
    (volume,) = names(product)
    product.run(
        "create", "--name=heir", "--network=none", "--volumes-from", "owner:ro", busybox, "cat", "/d/x"
    )
    product.run("rm", "-f", "-v", "owner")
    assert names(product) == [volume]
    product.run("volume", "prune", "-f")
    assert names(product) == [volume]
    assert product.run("start", "-a", "heir").out == "shared\n"
    (mount,) = json.loads(product.run("inspect", "--format", "{{json .Mounts}}", "heir").out)
    assert (mount["Name"], mount["RW"]) == (volume, False)
    product.run("rm", "-v", "heir")
    assert names(product) == []


def test_prune_spares_what_has_a_name_and_what_is_in_use(product: Product, busybox: str) -> None:
    product.run("create", "--name=user", "-v", "/a", "-v", "used:/b", busybox)
    product.run("volume", "create", "spare")
    product.run("volume", "create")
    assert len(names(product)) == 4
    asked = product.run("volume", "prune", input="n\n")
    assert "Are you sure" in asked.out
    assert len(names(product)) == 4
    assert product.run("volume", "prune", input="y\n").out.endswith("Total reclaimed space: 0B\n")
    assert len(names(product)) == 3
    product.run("volume", "prune", "--all", "--force")
    assert "used" in names(product)
    assert "spare" not in names(product)


def test_directory_of_the_host_under_another_name(product: Product, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("host\n")
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}")
    product.run("volume", "create", *options, "outside")
    assert product.run(*QUICK, "-v", "outside:/etc/x", busybox, "ls", "/etc/x").out == "x\n"
    product.run("volume", "rm", "outside")
    assert (tmp_path / "x").read_text() == "host\n"
    refused = product.fail(125, "volume", "create", "-o", "type=tmpfs", "fast")
    assert "--tmpfs" in refused.err


def test_name_that_is_none_makes_nothing(product: Product, busybox: str) -> None:
    for name in ("../escape", "", "a\nb"):
        product.fail(125, "volume", "create", "--", name)
        product.fail(1, "volume", "rm", "--", name)
    assert names(product) == []
