"""What nobody needs any more: files of containers that are not there, processes that mind nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless.runtime.holder import LIFE_S
from tests.helpers.processes import all_processes, read

if TYPE_CHECKING:
    from tests.helpers.product import Product


def stray_files(product: Product) -> list[str]:
    """Return what lies on disk for containers that are not there; to be asked after a sweep."""
    ids = set(product.containers())
    store, run = product.store, product.runtime / "rootless"
    found = [p for p in (store / "names").glob("*") if os.readlink(p) not in ids]
    found += [p for p in (store / "containers").iterdir() if p.name not in ids]
    prefixes = {i[:24] for i in ids}
    found += [p for p in run.glob("store-*/run/*") if p.name not in prefixes]
    locks = [p for p in run.glob("store-*/locks/*.lock") if len(p.stem) == 64]
    return [str(p) for p in found + [p for p in locks if p.stem not in ids]]


def helpers_of(product: Product) -> list[int]:
    """Return the processes that a product left running, but keepers of the user namespace."""
    mark, keeper = f"XDG_RUNTIME_DIR={product.runtime}".encode(), f"sleep\0{LIFE_S}\0".encode()
    ours = [pid for pid in all_processes() if mark in read(pid, "environ").split(b"\0")]
    return [pid for pid in ours if read(pid, "cmdline") != keeper]
