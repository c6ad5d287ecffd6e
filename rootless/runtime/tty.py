"""Terminals of a container: made in its own devpts, never in the host's. Ring 1."""

from __future__ import annotations

import fcntl
import os

from rootless.errors import RuntimeSetupError
from rootless.linux import calls, const
from rootless.runtime.rootfs import IN_ROOT, open_in_root


def open_terminal(pts_fd: int) -> tuple[int, int]:
    """Return (master, slave) of a new terminal of a devpts mount.

    The slave is opened through the master (TIOCGPTPEER, Linux 4.13): no path is looked up that somebody
    could have replaced.

    Raises:
        RuntimeSetupError: the descriptor is not of a devpts.
        OSError: no terminal can be made.
    """
    if calls.fstatfs_type(pts_fd) != const.DEVPTS_SUPER_MAGIC:
        raise RuntimeSetupError("cannot make a terminal: /dev/pts of the container is not a devpts")
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=pts_fd)
    fcntl.ioctl(master, const.TIOCSPTLCK, b"\0\0\0\0")
    slave = fcntl.ioctl(master, const.TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


def open_pts(root_fd: int) -> int:
    """Return /dev/pts of a running container, whose root may have put anything there; see open_terminal."""
    flags = const.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    return open_in_root(root_fd, "dev/pts", flags, resolve=IN_ROOT | const.RESOLVE_NO_SYMLINKS)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Set a terminal's size (TIOCSWINSZ)."""
    size = rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + b"\0\0\0\0"
    fcntl.ioctl(fd, const.TIOCSWINSZ, size)


def get_size(fd: int) -> tuple[int, int]:
    """Return (rows, columns) of a terminal.

    Raises:
        OSError: ENOTTY.
    """
    size = fcntl.ioctl(fd, const.TIOCGWINSZ, b"\0" * 8)
    return int.from_bytes(size[:2], "little"), int.from_bytes(size[2:4], "little")
