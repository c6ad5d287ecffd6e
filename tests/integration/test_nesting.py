"""`rootless run` inside `rootless run --security-opt nesting`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK, REPOSITORY

if TYPE_CHECKING:
    from tests.helpers.images import Layout
    from tests.helpers.product import Product


def host_userland() -> list[str]:
    """Return the -v options that bring this machine's Python and programs into a container."""
    words = []
    for path in ("/usr", "/etc/alternatives", "/lib", "/lib64", "/etc/ld.so.cache"):
        if os.path.exists(path):
            words += ["-v", f"{os.path.realpath(path)}:{path}:ro"]
    for path in {sys.prefix, str(REPOSITORY)}:
        words += ["-v", f"{path}:{path}:ro"]
    return words


@pytest.mark.parametrize("scratch", [["--tmpfs", "/store"], ["-w", "/store"]], ids=["tmpfs", "overlay"])
def test_run_inside_run(product: Product, busybox: str, busybox_layout: Layout, scratch: list[str]) -> None:
    rootless = f"{sys.executable} -m rootless --root /store"
    script = (
        f"image=$({rootless} pull -q oci:/layout:latest) && "
        f"{rootless} run --rm --network=none $image sh -c 'id -u; cat /etc/hostname | wc -c'"
    )
    words = ["--security-opt=nesting", "-v", f"{busybox_layout.path}:/layout:ro", *host_userland(), *scratch]
    words += ["-e", f"PYTHONPATH={REPOSITORY}", "-e", "PYTHONDONTWRITEBYTECODE=1"]
    result = product.run(*QUICK, *words, busybox, "/bin/sh", "-c", script, timeout=120)
    assert result.lines == ["0", "13"], str(result)
