"""`nsenter` of util-linux finds its way into a container by the pid that `inspect` tells."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helpers.product import Product

SPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")
LOOK = ("sh", "-c", "hostname; id -u; tr '\\0' ' ' </proc/1/cmdline")


def start(product: Product, image: str) -> str:
    """Start a container; return its pid."""
    words = ("--network=none", "--name=inside", "--hostname=within")
    product.run("run", "-d", *words, image, "sleep", "1000")
    return product.run("inspect", "--format={{.State.Pid}}", "inside").out.strip()


def test_nsenter_enters_the_user_namespace_first(product: Product, busybox: str) -> None:
    """What the kernel asks of an ordinary user (man 2 setns), whatever ids the container has."""
    command = ["nsenter", "--target", start(product, busybox), "--user", "--preserve-credentials", *SPACES]
    result = subprocess.run([*command, *LOOK], capture_output=True, text=True, timeout=20, check=False)
    assert result.stdout == "within\n0\nsleep 1000 ", result.stderr


@pytest.mark.needs("subid")
def test_nsenter_enters_through_unshare(product: Product, busybox: str) -> None:
    """A container with id ranges has a user namespace below the one that `unshare` enters."""
    words = ("nsenter", "--target", start(product, busybox), *SPACES)
    assert product.run("unshare", *words, *LOOK).out == "within\n0\nsleep 1000 "
