"""Which blobs nothing needs any more: mark from the images, sweep the rest. Pure; the store deletes.

Not ring 1: parses every manifest of the store.
"""

from __future__ import annotations

from layers import media
from layers.errors import LayersError
from layers.manifest import Descriptor, Manifest, find_media_type, parse_index, parse_manifest
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from layers.digest import Digest

    Read = Callable[[Digest], bytes | None]
    """Returns a small blob's verified bytes, None if it is missing, corrupt or too big."""

MAX_MANIFEST_BYTES = 4 << 20


class Swept(Record):
    """What a sweep did.

    Attributes:
        deleted: digests of the blobs that went.
        freed_bytes: their sizes, and those of the stale partial files.
        deferred: nothing was done, a pull is in progress; the next sweep makes up for it.
    """

    __slots__ = ("deferred", "deleted", "freed_bytes")
    deleted: tuple[Digest, ...]
    freed_bytes: int
    deferred: bool

    def __init__(
        self, *, deleted: Iterable[Digest] = (), freed_bytes: int = 0, deferred: bool = False
    ) -> None:
        self._fill(deleted=tuple(deleted), freed_bytes=freed_bytes, deferred=deferred)


def garbage(
    roots: Iterable[Descriptor], present: Mapping[Digest, int], *, in_use: Collection[str], read: Read
) -> list[Digest]:
    """Return the blobs that no image and no container needs, in a stable order.

    Args:
        roots: the entries of index.json.
        present: sizes of all blobs in the store.
        in_use: image ids (config digests) of containers. An image that lost its last name while a container
            uses it keeps manifest, config and layers.
    """
    live, image_ids = _mark(roots, read)
    orphaned = set(in_use) - image_ids
    if orphaned:
        live |= _rescue(orphaned, {d: size for d, size in present.items() if d not in live}, read)
    return sorted(digest for digest in present if digest not in live)


def find_manifest(image_id: Digest, present: Mapping[Digest, int], *, read: Read) -> Descriptor | None:
    """Return the descriptor of a manifest that has this config, by reading what might be one."""
    for digest, size in sorted(present.items()):
        manifest = _load(digest, "", read) if size <= MAX_MANIFEST_BYTES else None
        if manifest and manifest.config.digest == image_id:
            return Descriptor(media_type=manifest.media_type, digest=digest, size=size)
    return None


def _mark(roots: Iterable[Descriptor], read: Read) -> tuple[set[Digest], set[str]]:
    """Return every digest that the roots reach, and the image ids among them. Cycles are harmless."""
    live: set[Digest] = set()
    image_ids: set[str] = set()
    queue = list(roots)
    while queue:
        descriptor = queue.pop()
        if descriptor.digest in live:
            continue
        live.add(descriptor.digest)
        if media.is_index(descriptor.media_type):
            queue.extend(_children(descriptor, read))
        elif media.is_manifest(descriptor.media_type):
            manifest = _load(descriptor.digest, descriptor.media_type, read)
            if manifest:
                image_ids.add(manifest.config.digest)
                live.update(_blobs(manifest))
    return live, image_ids


def _rescue(orphaned: set[str], candidates: Mapping[Digest, int], read: Read) -> set[Digest]:
    """Find the manifests of images that only containers hold on to, by reading what might be one."""
    saved = {digest for digest in candidates if digest in orphaned}
    for digest, size in candidates.items():
        if size > MAX_MANIFEST_BYTES or digest in saved:
            continue
        manifest = _load(digest, "", read)
        if manifest and manifest.config.digest in orphaned:
            saved.add(digest)
            saved.update(_blobs(manifest))
    return saved


def _children(descriptor: Descriptor, read: Read) -> tuple[Descriptor, ...]:
    data = read(descriptor.digest)
    if data is None:
        return ()
    try:
        return parse_index(data, descriptor.media_type).manifests
    except LayersError:
        return ()  # an image that cannot be read needs nothing: nothing could run it


def _load(digest: Digest, media_type: str, read: Read) -> Manifest | None:
    data = read(digest)
    if data is None or not data.lstrip().startswith(b"{"):
        return None
    try:
        return parse_manifest(data, media_type or find_media_type(data))
    except LayersError:
        return None


def _blobs(manifest: Manifest) -> set[Digest]:
    return {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
