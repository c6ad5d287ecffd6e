"""The store in memory: the twin of ImageLayout for tests and for images that are never kept."""

from __future__ import annotations

from layers.digest import Digest, VerifyingHasher, digest_bytes
from layers.document import MAX_DOCUMENT_BYTES
from layers.errors import BlobNotFound, CorruptBlob, DigestMismatch, SizeMismatch
from layers.gc import Swept, garbage
from layers.index import ImageIndex
from layers.store.base import ImageStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Self

    from layers.manifest import Descriptor


class MemoryStore(ImageStore):
    """Blobs in a dict; one thread."""

    __slots__ = ("_blobs", "_index", "_partials")

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}
        self._partials: dict[Digest, bytes] = {}
        self._index = ImageIndex()

    def has(self, digest: Digest, *, size: int | None = None) -> bool:
        return digest in self._blobs and size in (None, len(self._blobs[digest]))

    def read_blob(self, digest: Digest, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
        try:
            data = self._blobs[digest]
        except KeyError:
            raise BlobNotFound("cannot find blob in the store", on=digest) from None
        if len(data) > max_bytes:
            raise SizeMismatch(expected=max_bytes, actual=len(data), on=digest)
        if digest_bytes(data) != digest:
            raise CorruptBlob("cannot use blob: its bytes have changed", on=digest)
        return data

    def blobs(self) -> Iterator[tuple[Digest, int]]:
        """Iterate over the digests and sizes of all blobs."""
        return iter([(digest, len(data)) for digest, data in self._blobs.items()])

    def load_index(self) -> ImageIndex:
        return self._index

    def update_index(self, change: Callable[[ImageIndex], ImageIndex]) -> ImageIndex:
        self._index = change(self._index)
        return self._index

    def begin(self, descriptor: Descriptor, *, keep_partial: bool = True) -> MemoryIngest:
        """Prepare to receive a blob; see layers.store.ingest.Ingest."""
        return MemoryIngest(self._blobs, self._partials, descriptor, keep_partial=keep_partial)

    def add_blob(self, data: bytes) -> Digest:
        """Store a small blob and return its digest."""
        digest = digest_bytes(data)
        self._blobs[digest] = bytes(data)
        return digest

    def sweep(self, *, in_use: Collection[str] = ()) -> Swept:
        """Delete the blobs that nothing needs."""
        roots = [entry.descriptor for entry in self.entries()]
        doomed = garbage(roots, dict(self.blobs()), in_use=in_use, read=self._blobs.get)
        freed = sum(len(self._blobs.pop(digest)) for digest in doomed)
        return Swept(deleted=doomed, freed_bytes=freed)


class MemoryIngest:
    """The twin of layers.store.ingest.Ingest."""

    __slots__ = (
        "_blobs",
        "_data",
        "_hasher",
        "_keep",
        "_partials",
        "_replayed",
        "descriptor",
        "offset",
        "present",
    )

    def __init__(
        self,
        blobs: dict[Digest, bytes],
        partials: dict[Digest, bytes],
        descriptor: Descriptor,
        *,
        keep_partial: bool,
    ) -> None:
        self.descriptor = descriptor
        self.present = (
            len(blobs.get(descriptor.digest, b"")) == descriptor.size and descriptor.digest in blobs
        )
        self._blobs = blobs
        self._partials = partials
        self._keep = keep_partial
        self._hasher = VerifyingHasher(descriptor)
        self._replayed = False
        self._data = bytearray(partials.pop(descriptor.digest, b""))
        if len(self._data) > descriptor.size:
            self._data.clear()
        self.offset = len(self._data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._keep and self._data and not self.present:
            self._partials[self.descriptor.digest] = bytes(self._data)

    def replay(self) -> Iterator[bytes]:
        self._replayed = True
        if self._data:
            self._hasher.update(self._data)
            yield bytes(self._data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._catch_up()
        try:
            self._hasher.update(data)
        except SizeMismatch:
            self._keep = False
            raise
        self._data += data

    def commit(self) -> Digest:
        if self.present:
            return self.descriptor.digest
        self._catch_up()
        try:
            digest = self._hasher.finish()
        except DigestMismatch:
            self._keep = False
            raise
        self._blobs[digest] = bytes(self._data)
        self.present = True
        return digest

    def abandon(self) -> None:
        self._data.clear()

    def _catch_up(self) -> None:
        if not self._replayed:
            for _ in self.replay():
                pass
