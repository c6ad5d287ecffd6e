"""The bytes of one blob while they arrive: written to its file by one task, read from there by another.

The file is the buffer: a download never waits for the unpacking, and reading comes out of the page cache.
"""

from __future__ import annotations

import errno
import os

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from rootless.engine.pipes import PIPE_BYTES


class BlobFeed:
    """How much of a blob may be read, and whether that is all of it. Owns a descriptor for reading.

    Attributes:
        available: bytes from the start of the file that are there.
        complete: these are all, and their digest was right.
    """

    def __init__(self) -> None:
        self.available = 0
        self.complete = False
        self._fd = -1
        self._changed = trio.Event()

    def attach(self, fd: int) -> None:
        """Take ownership of a descriptor of the blob's file."""
        assert self._fd < 0, "a feed has one file"
        self._fd = fd

    def advance(self, count: int) -> None:
        self.available += count
        self._notify()

    def finish(self) -> None:
        """Say that the blob is whole and verified; only now its reader sees the end."""
        self.complete = True
        self._notify()

    async def wait_complete(self) -> None:
        """Wait for `finish`; what makes it impossible cancels us."""
        while not self.complete:
            await self._changed.wait()

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    async def copy_to(self, pipe: int) -> bool:
        """Copy everything into a non-blocking pipe as it comes; True when all was copied.

        False means that the reader is gone: what it said before it went tells why.
        """
        position = 0
        while True:
            if position < self.available:
                try:
                    position += self._move(pipe, position)
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(pipe)
                except BrokenPipeError:
                    return False
            elif self.complete:
                return True
            else:
                await self._changed.wait()

    def _move(self, pipe: int, position: int) -> int:
        """Move some bytes without copying them through this process, where the file system can do that."""
        count = min(self.available - position, PIPE_BYTES)
        try:
            return os.splice(self._fd, pipe, count, offset_src=position, flags=os.SPLICE_F_NONBLOCK)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            return os.write(pipe, os.pread(self._fd, min(count, 1 << 16), position))

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
