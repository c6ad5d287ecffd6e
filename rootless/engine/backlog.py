"""Bytes that a reader has not taken yet: the first in memory, the rest in a file that has no name. Ring 1.

Nobody who watches a container slows it down. What a slow reader is behind lies on the disk, where it costs
no memory and vanishes with the process that holds it.
"""

from __future__ import annotations

import os

MEMORY_BYTES = 256 << 10
LIMIT_BYTES = 4 << 30
"""A reader that is further behind than this has no use for what comes; and a full disk ends it earlier."""
_PIECE_BYTES = 64 << 10


class Backlog:
    """A queue of bytes; owns its file.

    Args:
        directory: where the file is made once it is needed.
    """

    __slots__ = ("_directory", "_fd", "_head", "_read", "_tail", "_written")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd = -1
        self._head = b""
        self._read = 0
        self._written = 0
        self._tail = b""  # what the disk had no room for

    def __len__(self) -> int:
        return len(self._head) + self._written - self._read + len(self._tail)

    @property
    def is_full(self) -> bool:
        """Nothing more should be appended until some has been dropped."""
        return bool(self._tail) or len(self) >= LIMIT_BYTES

    def append(self, data: bytes) -> None:
        """Keep bytes; never fails. What the disk does not take stays in memory, and the queue is full."""
        if not self._tail and self._written == self._read and len(self._head) + len(data) <= MEMORY_BYTES:
            self._head += data
        elif self._tail:
            self._tail += data
        else:
            self._tail = self._store(data)

    def head(self) -> bytes:
        """Return some of the first bytes, b"" when there are none."""
        if not self._head and self._written > self._read:
            self._head = os.pread(self._fd, _PIECE_BYTES, self._read)
            self._read += len(self._head)
            if self._read == self._written:
                self._read = self._written = 0
                os.ftruncate(self._fd, 0)
        if not self._head:
            self._head, self._tail = self._tail, b""
        return self._head

    def drop(self, count: int) -> None:
        """Forget so many of the bytes that `head` returned."""
        self._head = self._head[count:]

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        self._head = self._tail = b""
        self._read = self._written = 0
        if fd >= 0:
            os.close(fd)

    def _store(self, data: bytes) -> bytes:
        """Append to the file; returns what did not fit."""
        try:
            if self._fd < 0:
                self._fd = _open_unnamed(self._directory)
            while data:
                count = os.pwrite(self._fd, data, self._written)
                self._written += count
                data = data[count:]
        except OSError:
            return data
        return b""


def _open_unnamed(directory: str) -> int:
    """Open a new file for reading and writing that no path leads to."""
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # file systems without (NFS): made and unlinked
        path = os.path.join(directory, f".backlog-{os.getpid()}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        return fd
