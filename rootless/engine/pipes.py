"""Pipes between us and a worker."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

PIPE_BYTES = 1 << 20
"""Most that an unprivileged pipe may hold (man 7 pipe): 16 times fewer switches between us and the worker."""
_F_SETPIPE_SZ = 1031


def make_pipe() -> tuple[int, int]:
    """Return (read end, write end) of a big pipe; the write end does not block. The caller owns both."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    with suppress(OSError):  # this user has used up /proc/sys/fs/pipe-user-pages-soft: 64 KiB will do
        fcntl.fcntl(writer, _F_SETPIPE_SZ, PIPE_BYTES)
    return reader, writer
