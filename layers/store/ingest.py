"""One blob on its way into the store: resumable, verified, visible only when it is whole.

Not ring 1 when used: hashing imports OpenSSL.
"""

from __future__ import annotations

import os

from layers.digest import CHUNK_BYTES, VerifyingHasher
from layers.errors import DigestMismatch, SizeMismatch
from layers.store.files import disk_full, remove_if_there, sync_directory, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from layers.digest import Digest
    from layers.locks import FileLock
    from layers.manifest import Descriptor

BLOB_MODE = 0o444  # committed blobs never change


class Ingest:
    """Receive a blob; a context manager that holds the blob's lock.

        with layout.begin(descriptor) as ingest:
            if not ingest.present:
                for chunk in ingest.replay():      # what an earlier attempt left
                    worker.send(chunk)
                for chunk in fetch(descriptor, start=ingest.offset):
                    ingest.write(chunk)
                    worker.send(chunk)
                ingest.commit()

    Leaving without `commit` keeps the bytes for the next attempt, unless they were wrong, the disk was full,
    or `keep_partial` is off. Bytes of an earlier attempt may be damaged (a crash before they were synced):
    a DigestMismatch with `offset` > 0 deserves one more attempt, which then starts from nothing.

    May move between threads, but is used by one at a time. Owns the descriptor of the partial file.

    Attributes:
        present: the blob is in the store already, perhaps since another process that held the lock.
        offset: bytes that an earlier attempt left; `write` continues there.
    """

    __slots__ = (
        "_blob",
        "_fd",
        "_find",
        "_hasher",
        "_keep",
        "_lock",
        "_partial",
        "_replayed",
        "_sync",
        "descriptor",
        "offset",
        "present",
    )

    def __init__(
        self,
        descriptor: Descriptor,
        *,
        partial: str,
        blob: str,
        lock: FileLock,
        is_present: Callable[[], bool],
        keep_partial: bool,
        sync: bool = True,
    ) -> None:
        self.descriptor = descriptor
        self.present = False
        self.offset = 0
        self._partial = partial
        self._blob = blob
        self._lock = lock
        self._find = is_present
        self._keep = keep_partial
        self._sync = sync
        self._fd = -1
        self._replayed = False
        self._hasher = VerifyingHasher(descriptor)

    def __enter__(self) -> Self:
        self._lock.acquire()
        try:
            self.present = self._find()
            if not self.present:
                self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._close(remove=not self._keep)
        finally:
            self._lock.release()

    def replay(self) -> Iterator[bytes]:
        """Iterate over the first `offset` bytes, which an earlier attempt left."""
        if self._replayed:
            raise RuntimeError("the bytes were replayed already")
        self._replayed = True
        position = 0
        while position < self.offset:
            chunk = os.pread(self._fd, min(CHUNK_BYTES, self.offset - position), position)
            if not chunk:  # cut short under our feet: the digest could not come out right
                self._keep = False
                raise SizeMismatch(expected=self.offset, actual=position, on=self.descriptor.digest)
            self._hasher.update(chunk)
            position += len(chunk)
            yield chunk

    def open_reader(self) -> int:
        """Return a descriptor, which the caller owns, that reads the bytes while they are written.

        It stays good after `commit`. What it reads is not verified before `commit` returns.
        """
        return os.open(self._partial, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes; they are checked against the size before they are stored.

        Raises:
            SizeMismatch: there are too many; the partial file is dropped.
            StoreError: the disk is full; the partial file is dropped, so that the space is free again.
        """
        self._catch_up()
        try:
            self._hasher.update(data)
        except SizeMismatch:
            self._keep = False
            raise
        position = self._hasher.seen - len(data)
        try:
            # At an explicit offset: should another host write the same blob on a shared file system, where
            # our lock does not reach, then both write the same bytes to the same place.
            write_all(self._fd, data, position)
        except OSError as exc:
            self._give_up(exc)
            raise

    def commit(self) -> Digest:
        """Verify, make durable unless told otherwise, and give the blob its name; not if it is present.

        Raises:
            SizeMismatch: bytes are missing; what is there is kept for the next attempt.
            DigestMismatch: the bytes are wrong; they are dropped.
            StoreError: the disk is full.
        """
        if self.present:
            return self.descriptor.digest
        self._catch_up()
        try:
            digest = self._hasher.finish()
        except DigestMismatch:
            self._keep = False
            raise
        try:
            if self._sync:
                os.fsync(self._fd)
            os.rename(self._partial, self._blob)
            os.fchmod(self._fd, BLOB_MODE)  # last: killed before the rename, the file must stay resumable
            if self._sync:
                sync_directory(os.path.dirname(self._blob))
        except OSError as exc:
            self._give_up(exc)
            raise
        self.present = True
        self._close(remove=False)
        return digest

    def abandon(self) -> None:
        """Drop what has come so far."""
        self._close(remove=True)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._partial, flags, 0o600)
        size = os.fstat(self._fd).st_size
        if size > self.descriptor.size:
            os.ftruncate(self._fd, 0)  # cannot be the beginning of this blob
        else:
            self.offset = size

    def _catch_up(self) -> None:
        if self._fd < 0:
            raise RuntimeError("the blob is present, committed or abandoned")
        if not self._replayed:
            for _ in self.replay():
                pass
        elif self._hasher.seen < self.offset:
            raise RuntimeError("replay() was not read to its end")

    def _give_up(self, exc: OSError) -> None:
        """Raise StoreError in place of "disk full", after its bytes are gone."""
        full = disk_full(exc, on=self.descriptor.digest)
        if full:
            self.abandon()
            raise full from exc

    def _close(self, *, remove: bool) -> None:
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        os.close(fd)
        if remove or (self.offset == 0 and self._hasher.seen == 0):
            remove_if_there(self._partial)
