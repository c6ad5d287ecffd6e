"""Kill commands at moments of their lives, and look at what they leave."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.helpers.product import Product


def bad_blobs(product: Product) -> list[str]:
    """Return the blobs of the store whose content is not what their name says."""
    blobs = (product.store / "blobs/sha256").glob("*")
    return [p.name for p in blobs if hashlib.sha256(p.read_bytes()).hexdigest() != p.name]


def kill_after(product: Product, seconds: float, *words: str, group: bool) -> int:
    """Start a command, and kill it, or it and its children, after a while; return how it ended."""
    with product.start(*words, start_new_session=True, stdout=-3, stderr=-3) as process:
        time.sleep(seconds)
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        return process.wait(20)


def duration(product: Product, *words: str) -> float:
    start = time.monotonic()
    product.run(*words)
    return time.monotonic() - start
