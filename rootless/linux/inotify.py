"""Changes of files as the kernel tells them: man 7 inotify. Ring 0.

A file system that is shared with other hosts tells what processes of this host change, no more.
"""

from __future__ import annotations

import ctypes
import os

IN_MODIFY = 0x00000002
IN_MOVED_FROM = 0x00000040
IN_MOVED_TO = 0x00000080
IN_CREATE = 0x00000100
IN_DELETE_SELF = 0x00000400
IN_MOVE_SELF = 0x00000800

_EVENTS_BYTES = 64 << 10
_libc = ctypes.PyDLL(None, use_errno=True)


def init() -> int:
    """Return a descriptor that is readable after a change; close-on-exec, non-blocking.

    Raises:
        OSError: EMFILE, the user has too many (fs.inotify.max_user_instances).
    """
    return _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), None)


def add_watch(fd: int, path: str, mask: int) -> int:
    """Watch a file, or a directory and what is right in it, for the IN_* events of `mask`."""
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask)), path)


def drain(fd: int) -> None:
    """Forget the events so far."""
    try:
        while len(os.read(fd, _EVENTS_BYTES)) > _EVENTS_BYTES // 2:
            pass
    except BlockingIOError:
        return


def _checked(result: int, path: str | None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
