"""What a power cut right after a pull leaves: files without their bytes are found, and made again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from layers import unsynced

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

OTHER_BOOT = "00000000-0000-0000-0000-000000000000"


def the_snapshot(product: Product) -> Path:
    (found,) = (product.store / "snapshots").glob("*/" + "?" * 64)
    return found


def wait_settled(snapshot: Path) -> None:
    deadline = time.monotonic() + 20
    while (snapshot.parent / unsynced.NAME).exists():
        assert time.monotonic() < deadline, "the marks are still there"
        time.sleep(0.01)


def mark(snapshot: Path, boot: str) -> None:
    directory = snapshot.parent / unsynced.NAME
    directory.mkdir()
    (directory / f"{snapshot.name}.{boot}.1").touch()


def tear(snapshot: Path) -> None:
    """Take the bytes of every file away, as a file system does whose data had not been written."""
    for path in snapshot.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o755)
            path.write_bytes(b"")


def test_pull_ends_with_all_on_disk_and_no_mark(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    wait_settled(the_snapshot(fresh_product))


def test_snapshot_torn_by_a_power_cut_is_made_again_by_run(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    snapshot = the_snapshot(fresh_product)
    wait_settled(snapshot)
    tear(snapshot)
    mark(snapshot, OTHER_BOOT)
    result = fresh_product.run("run", "--rm", "--network=none", "--pull=never", busybox_ref, "echo", "whole")
    assert result.out == "whole\n"
    wait_settled(snapshot)
    assert list(snapshot.parent.iterdir()) == [snapshot], "the torn tree is still there"


def test_pull_settles_what_a_killed_process_left(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    snapshot = the_snapshot(fresh_product)
    wait_settled(snapshot)
    inode = snapshot.stat().st_ino
    mark(snapshot, unsynced.boot_id())
    fresh_product.run("run", "--rm", "--network=none", busybox_ref, "true")
    fresh_product.run("pull", "-q", busybox_ref)
    wait_settled(snapshot)
    assert snapshot.stat().st_ino == inode, "a snapshot of this boot was made again"


def test_layer_lost_in_a_power_cut_is_fetched_again_by_run(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    snapshot = the_snapshot(fresh_product)
    wait_settled(snapshot)
    tear(snapshot)
    mark(snapshot, OTHER_BOOT)
    layer = max((fresh_product.store / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.chmod(0o644)
    layer.write_bytes(b"")
    result = fresh_product.run(
        "run", "--rm", "--network=none", "--tls-verify=false", busybox_ref, "echo", "whole"
    )
    assert result.out == "whole\n"
    assert "are lost, pulling it again" in result.err
    assert layer.stat().st_size > 0
