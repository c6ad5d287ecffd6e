"""System calls that the standard library lacks and this library needs; the only user of ctypes in layers/.

Ring 2: ctypes costs the start of a process more than most of what is here.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def syncfs(fd: int) -> None:
    """Write the file system that a descriptor lies on to disk (man 2 syncfs); sync(2) writes all of them.

    Raises:
        OSError: the file system could not write everything (Linux 5.8), or ENOSPC, EDQUOT.
    """
    if _libc.syncfs(fd) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def file_system_type(path: str) -> int:
    """Return the number of the type of the file system that a path lies on: linux/magic.h (man 2 statfs).

    Raises:
        OSError: there is no such path.
    """
    buffer = (ctypes.c_long * 32)()  # struct statfs begins with a long f_type, on x86-64 and arm64
    if _libc.statfs(os.fsencode(path), buffer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return buffer[0] & 0xFFFFFFFF
