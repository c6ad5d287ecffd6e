"""scripts/demo, as somebody runs it who has just cloned the project."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import REPOSITORY, SEARCH_PATH

if TYPE_CHECKING:
    from tests.helpers.product import Product

WHEELS = Path(os.environ.get("ROOTLESS_TEST_CACHE", "/var/cache/rootless-tests")) / "wheels"


def demo(product: Product, *words: str, path: str = SEARCH_PATH) -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(product.home),
        "XDG_RUNTIME_DIR": str(product.runtime),
        "PATH": path,
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(WHEELS),
        "PIP_NO_CACHE_DIR": "1",
    }
    return subprocess.run(
        [str(REPOSITORY / "scripts/demo"), *words],
        env=environment, cwd=product.home, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.needs("wheels")
def test_demo_needs_nothing_but_the_python_packages(fresh_product: Product) -> None:
    result = demo(fresh_product)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "I am uid=0(root)" in result.stdout
    assert "it works" in result.stdout
    failed = demo(fresh_product, "127.0.0.1:1/no/such:image")
    assert failed.returncode != 0
    assert "it works" not in failed.stdout
