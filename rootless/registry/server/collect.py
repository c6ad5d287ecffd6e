"""Deletes what no manifest of a registry needs: beside a server that goes on. Blocking.

While it looks and deletes nothing gets a name (`Storage.changing`). What a push sent, or was told that is
there, is spared for a while: its manifest may be on its way.
"""

from __future__ import annotations

import os
import time

from layers.errors import LayersError
from layers.store import sweeping
from layers.store.files import remove_if_there
from rootless.errors import ImageError
from rootless.model.value import Value
from rootless.registry.server.manifests import examine
from rootless.registry.server.refusal import Refusal
from rootless.registry.server.storage import FRESH_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from layers.digest import Digest
    from rootless.registry.server.storage import Storage

UPLOAD_AGE_S = 24 * 3600.0
"""An upload that nobody went on with for a day will not be finished."""


class Collected(Value):
    """What went, or with a dry run would go.

    Attributes:
        blobs: their digests, in order. freed_bytes: their sizes, and those of dead uploads.
    """

    __slots__ = ("blobs", "freed_bytes")

    def __init__(self, *, blobs: Iterable[Digest], freed_bytes: int) -> None:
        self.blobs = tuple(blobs)
        self.freed_bytes = freed_bytes


def collect(storage: Storage, *, age_s: float = FRESH_S, dry_run: bool = False) -> Collected:
    """Delete the blobs that no manifest refers to, and uploads that nobody goes on with.

    Args:
        age_s: what is younger stays.
    Raises:
        ImageError: a manifest cannot be read, so that nobody knows what it needs; nothing was deleted.
        LockTimeout: pushes followed each other without a gap.
    """
    with storage.layout.collecting(wait_s=60.0):
        now = time.time()
        doomed_links, kept = _examine_links(storage, now - age_s)
        doomed = {
            digest: size
            for digest, size in storage.layout.blobs()
            if digest not in kept and _is_older(storage.layout.blob_path(digest), now - age_s)
        }
        uploads = [path for path in _uploads(storage) if _is_older(path, now - UPLOAD_AGE_S)]
        freed = sum(doomed.values())
        for path in (*uploads, *sweeping.stale_parts(storage.layout)):
            freed += os.lstat(path).st_size
            if not dry_run:
                remove_if_there(path)
        if not dry_run:
            # the repositories' claims first: a blob that nobody claims is garbage, a claim without blob a lie
            for path in (*doomed_links, *map(storage.layout.blob_path, doomed)):
                remove_if_there(path)
    return Collected(blobs=sorted(doomed), freed_bytes=freed)


def _examine_links(storage: Storage, before: float) -> tuple[list[str], set[Digest]]:
    """Return (the repositories' claims to blobs that they do not need, the digests of what has to stay)."""
    doomed: list[str] = []
    kept: set[Digest] = set()
    for repository in storage.all_repositories():
        needed: set[Digest] = set()
        for digest in storage.manifests(repository):
            needed.add(digest)
            needed.update(_parts(storage, repository, digest))
        for digest in storage.blob_links(repository):
            path = storage.repository_path(repository, "_blobs", digest.encoded)
            if digest in needed:
                continue
            if _is_older(path, before):
                doomed.append(path)
            else:
                kept.add(digest)
        kept |= needed
    return doomed, kept


def _parts(storage: Storage, repository: str, digest: Digest) -> tuple[Digest, ...]:
    try:
        media_type, data = storage.read_manifest(repository, digest)
        return examine(data, media_type).blobs
    except (Refusal, LayersError) as exc:
        raise ImageError(
            f"cannot collect: a manifest cannot be read: {exc}",
            on=f"{repository}@{digest}",
            hint="push the image again, or delete this manifest",
            reference="registry-damaged",
        ) from exc


def _uploads(storage: Storage) -> list[str]:
    found = []
    for repository in storage.all_repositories():
        directory = storage.repository_path(repository, "_uploads")
        if os.path.isdir(directory):
            found += [os.path.join(directory, name) for name in os.listdir(directory)]
    return found


def _is_older(path: str, moment: float) -> bool:
    try:
        return os.lstat(path).st_mtime <= moment
    except FileNotFoundError:
        return False  # a server has finished with it meanwhile
