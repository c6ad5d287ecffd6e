"""A blob that is made here: its digest is known at its end, and so is its name. Not ring 1: hashes."""

from __future__ import annotations

import hashlib
import os

from layers.digest import Digest
from layers.store.files import disk_full, remove_if_there, sync_directory, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_MODE = 0o444  # committed blobs never change


class NewBlob:
    """Write a blob; a context manager after which nothing remains unless `commit` was called.

    Killed meanwhile, it leaves a temporary that the next sweep removes.

    Args:
        scratch: directory of temporaries, on the file system of `blobs`.
    Attributes:
        size: bytes so far.
    """

    __slots__ = ("_blobs", "_fd", "_hash", "_temporary", "size")

    def __init__(self, *, blobs: str, scratch: str) -> None:
        self.size = 0
        self._blobs = blobs
        self._hash = hashlib.sha256()
        self._temporary = os.path.join(scratch, os.urandom(8).hex() + ".tmp")
        self._fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._temporary:
            remove_if_there(self._temporary)
        os.close(self._fd)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes.

        Raises:
            StoreError: the disk is full.
        """
        self._hash.update(data)
        try:
            write_all(self._fd, data, self.size)
        except OSError as exc:
            full = disk_full(exc, on=self._temporary)
            raise full or exc from exc
        self.size += len(data)

    def commit(self) -> Digest:
        """Have the disk take it, and give it its name. One that is there is replaced by the same bytes.

        Raises:
            StoreError: the disk is full.
        """
        digest = Digest("sha256:" + self._hash.hexdigest())
        try:
            os.fsync(self._fd)
            os.fchmod(self._fd, _MODE)
            os.rename(self._temporary, os.path.join(self._blobs, digest.encoded))
            self._temporary = ""
            sync_directory(self._blobs)
        except OSError as exc:
            full = disk_full(exc, on=digest)
            raise full or exc from exc
        return digest
