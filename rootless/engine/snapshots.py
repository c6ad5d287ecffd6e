"""The engine's side of snapshots: their locks, their temporaries, and what killed pulls left.

Removing may need the user namespace, which a process that runs trio cannot enter: a new interpreter does it.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager, suppress

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from layers import unsynced
from layers.errors import LayersError
from layers.locks import FileLock
from rootless.engine.image_lookup import plain_sizes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from layers.digest import Digest
    from layers.snapshot import Snapshots, Temporary
    from layers.store.directory import ImageLayout
    from rootless.model.host import IdMapping
    from rootless.paths import Paths

_REMOVE_S = 60.0
"""Longest wait for a removal on the way out; what is left then is swept by the next pull."""


def lock(paths: Paths, mapping: IdMapping, chain_id: Digest) -> FileLock:
    """Return the lock under which a snapshot is made."""
    name = f"snapshot-{mapping.key}-{chain_id.encoded}.lock"
    return FileLock(paths.locks, name, wait_s=0, unlink=True)


@asynccontextmanager
async def temporary(paths: Paths, snapshots: Snapshots, mapping: IdMapping) -> AsyncIterator[Temporary]:
    """Make a directory that becomes a snapshot by `Snapshots.commit`, or vanishes."""
    with snapshots.new_temporary() as made:
        try:
            yield made
        finally:
            # committed, and there is nothing under this name; or failed, and all of it goes
            with trio.CancelScope(shield=True), trio.move_on_after(_REMOVE_S):
                await _remove(paths, mapping, [made.path])


@asynccontextmanager
async def marking(snapshots: Snapshots, chain_id: Digest) -> AsyncIterator[bool]:
    """Mark a snapshot as not synced yet while its files are made; commit it after this.

    Yields False where marks do not serve: the files must be synced then.
    """
    directory = snapshots.directory
    marked = unsynced.serves(directory)
    try:
        async with trio.open_nursery() as nursery:
            if marked:
                nursery.start_soon(trio.to_thread.run_sync, unsynced.make, directory, chain_id)
            yield marked
    except BaseException:
        unsynced.drop(directory, chain_id)
        raise


async def sweep(paths: Paths, snapshots: Snapshots, mapping: IdMapping) -> None:
    """Remove the temporaries of pulls that were killed, and what a power failure may have torn."""
    if unsynced.doubted(snapshots.directory):
        with FileLock(paths.locks, f"doubted-{mapping.key}.lock"):
            snapshots.hide_doubted()
    snapshots.drop_drafts()
    if stale := snapshots.stale():
        await _remove(paths, mapping, stale)


def settle_later(snapshots: Snapshots) -> None:
    """Start a process that syncs what this pull, and killed ones before it, left to be synced.

    It outlives us, without a terminal, pipe or lock of ours. Killed, it leaves its work to the next pull.
    """
    import subprocess
    import threading

    if next(unsynced.marks(snapshots.directory), None) is None:
        return
    with suppress(OSError):  # no more processes: the next pull tries again
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "layers.unsynced", snapshots.directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        # Whoever still lives when it ends, reaps it.
        threading.Thread(target=process.wait, daemon=True).start()


def known_sizes(layout: ImageLayout) -> dict[Digest, int]:
    """Return the uncompressed sizes of layers that earlier pulls recorded, by blob."""
    known: dict[Digest, int] = {}
    for entry in layout.entries():
        try:
            layers = layout.load_manifest(entry).layers
        except LayersError:
            continue  # damaged, or not ours
        sizes = plain_sizes(entry, len(layers))
        known.update((layer.digest, size) for layer, size in zip(layers, sizes, strict=True) if size)
    return known


async def _remove(paths: Paths, mapping: IdMapping, trees: Sequence[str]) -> None:
    """Remove trees; what resists is left to the next sweep."""
    import subprocess

    there = [tree for tree in trees if os.path.lexists(tree)]  # noqa: ASYNC240  one lstat each
    if not there:
        return
    command = [sys.executable, "-P", "-m", "rootless.runtime", "remove", json.dumps(mapping.to_json())]
    await trio.run_process(
        [*command, paths.run, *there],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
