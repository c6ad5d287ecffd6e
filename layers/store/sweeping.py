"""Which blobs of a store nobody needs, and their removal, with what dead processes left on their way in.

What counts as needed is `layers.gc`; the locks are the caller's: see `ImageLayout.sweep`.
"""

from __future__ import annotations

import os
import time
from functools import partial

from layers import gc
from layers.digest import ALGORITHM, Digest, is_digest
from layers.errors import BlobNotFound, CorruptBlob, SizeMismatch
from layers.store.directory import PARTIAL_AGE_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from layers.gc import Swept
    from layers.index import ImageEntry
    from layers.manifest import Descriptor
    from layers.store.directory import ImageLayout

_TEMPORARY_AGE_S = 3600.0


def collect(
    layout: ImageLayout, *, in_use: Collection[str], blob_age_s: float, partial_age_s: float
) -> Swept:
    """Delete what nobody needs; see `ImageLayout.collect`."""
    doomed = unneeded(layout, in_use=in_use)
    deleted = [d for d in doomed if _remove_if_old(layout.blob_path(d), blob_age_s) is not None]
    freed = sum(doomed[digest] for digest in deleted) + sweep_ingest(layout, partial_age_s=partial_age_s)
    return gc.Swept(deleted=deleted, freed_bytes=freed)


def unneeded(
    layout: ImageLayout, *, in_use: Collection[str], images: Iterable[ImageEntry] | None = None
) -> dict[Digest, int]:
    """Return the blobs that no image and no container needs, with their sizes.

    Args:
        in_use: image ids of all containers.
        images: those that count, None for all.
    """
    present = dict(layout.blobs())
    roots = [entry.descriptor for entry in (layout.entries() if images is None else images)]
    doomed = gc.garbage(roots, present, in_use=in_use, read=partial(_read_if_good, layout))
    return {digest: present[digest] for digest in doomed}


def find_manifest(layout: ImageLayout, image_id: Digest) -> Descriptor | None:
    """Return the manifest of an image; see `ImageLayout.find_manifest`."""
    return gc.find_manifest(image_id, dict(layout.blobs()), read=partial(_read_if_good, layout))


def stale_parts(layout: ImageLayout) -> list[str]:
    """Return the files of unfinished blobs that a sweep removes by default."""
    limits = {"tmp": _TEMPORARY_AGE_S, "partial": PARTIAL_AGE_S}
    found = []
    try:
        for name in os.listdir(layout.ingest):
            path = os.path.join(layout.ingest, name)
            limit_s = limits.get(name.rpartition(".")[2])
            if limit_s is not None and time.time() - os.lstat(path).st_mtime > limit_s:
                found.append(path)
    except FileNotFoundError:
        pass  # nothing was ever kept here; or what was, is whole by now
    return found


def sweep_ingest(layout: ImageLayout, *, partial_age_s: float) -> int:
    """Remove files of unfinished blobs that nobody writes to; return their bytes."""
    freed = 0
    os.makedirs(layout.ingest, exist_ok=True)
    with os.scandir(layout.ingest) as scan:
        for item in scan:
            stem, _, kind = item.name.rpartition(".")
            if kind == "tmp":
                freed += _remove_if_old(item.path, _TEMPORARY_AGE_S) or 0
            elif kind == "partial" and is_digest(f"{ALGORITHM}:{stem}"):
                lock = layout.blob_lock(Digest(f"{ALGORITHM}:{stem}"))
                if lock.try_acquire():
                    freed += _remove_if_old(item.path, partial_age_s) or 0
                    lock.release()
    return freed


def _remove_if_old(path: str, age_s: float) -> int | None:
    """Remove a file last written at least age_s ago and return its size, else None."""
    try:
        info = os.lstat(path)
        if age_s > 0 and time.time() - info.st_mtime < age_s:
            return None
        os.unlink(path)
    except FileNotFoundError:
        return None
    return info.st_size


def _read_if_good(layout: ImageLayout, digest: Digest) -> bytes | None:
    try:
        return layout.read_blob(digest)
    except (BlobNotFound, CorruptBlob, SizeMismatch):
        return None
