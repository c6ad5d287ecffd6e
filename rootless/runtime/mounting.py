"""Small moves with mounts, all by descriptor: a new file system, a copy of a mount, its attributes.

Uses the mount API of Linux 5.2 (open_tree, fsmount, move_mount): a mount is made and given its attributes
detached, and becomes visible complete. Read-only trees need mount_setattr (5.12); before that a single mount
is remounted. Ring 1.
"""

from __future__ import annotations

import errno
import os

from rootless.errors import HostUnsupported
from rootless.linux import calls, const

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SAFE = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NODEV | const.MOUNT_ATTR_NOEXEC
"""Attributes of kernel file systems that hold no programs: /proc, /sys, /dev/shm, /dev/mqueue."""

_LOCKED = (  # statvfs → mount(2) flags that a remount in a user namespace must repeat (mount_namespaces(7))
    (os.ST_RDONLY, const.MS_RDONLY),
    (os.ST_NOSUID, const.MS_NOSUID),
    (os.ST_NODEV, const.MS_NODEV),
    (os.ST_NOEXEC, const.MS_NOEXEC),
    (os.ST_NOATIME, const.MS_NOATIME),
    (os.ST_NODIRATIME, const.MS_NODIRATIME),
    (os.ST_RELATIME, const.MS_RELATIME),
)


def new_filesystem(fstype: str, options: Iterable[tuple[str, str]] = (), *, attributes: int = 0) -> int:
    """Return a detached mount of a new file system; the descriptor works as a directory's.

    Args:
        options: (name, value) pairs; an empty value is a flag.

    Raises:
        OSError: EPERM where the kernel refuses it to a user namespace, EINVAL for a bad option.
    """
    context = calls.fsopen(fstype)
    try:
        calls.fsconfig(context, const.FSCONFIG_SET_STRING, "source", fstype)
        for name, value in options:
            if value:
                calls.fsconfig(context, const.FSCONFIG_SET_STRING, name, value)
            else:
                calls.fsconfig(context, const.FSCONFIG_SET_FLAG, name)
        calls.fsconfig(context, const.FSCONFIG_CMD_CREATE)
        return calls.fsmount(context, attributes)
    finally:
        os.close(context)


def copy_tree(fd: int, *, recursive: bool = True) -> int:
    """Return a detached copy of the mount at a descriptor: a bind mount that is not attached yet.

    Not recursive fails with EINVAL where another user namespace has locked mounts below it.
    """
    flags = const.OPEN_TREE_CLONE | const.AT_EMPTY_PATH | (const.AT_RECURSIVE if recursive else 0)
    return calls.open_tree(fd, b"", flags)


def attach(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount on what a descriptor points at."""
    calls.move_mount(mount_fd, target_fd)


def place(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount for good: both descriptors are closed."""
    attach(mount_fd, target_fd)
    os.close(mount_fd)
    os.close(target_fd)


def set_attributes(mount_fd: int, attributes: int, *, recursive: bool = True) -> None:
    """Add MOUNT_ATTR_* to an attached or detached mount (attached only, before Linux 5.12).

    Attributes are added, never cleared: locked ones stay, which a plain remount would have to repeat.
    """
    try:
        calls.mount_setattr(mount_fd, attr_set=attributes, recursive=recursive)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:
            raise
        _remount(mount_fd, attributes)


def set_propagation(mount_fd: int, propagation: int, *, recursive: bool) -> None:
    """Set MS_PRIVATE, MS_SLAVE or MS_SHARED.

    Raises:
        HostUnsupported: before Linux 5.12.
    """
    try:
        calls.mount_setattr(mount_fd, propagation=propagation, recursive=recursive)
    except OSError as exc:
        if exc.errno != errno.ENOSYS:
            raise
        raise HostUnsupported(
            "cannot set the propagation of a mount", hint="this needs Linux 5.12", reference="old-kernel"
        ) from exc


def _remount(mount_fd: int, attributes: int) -> None:
    """The same for one mount before Linux 5.12; the low MOUNT_ATTR_* and MS_* bits are equal."""
    present = os.fstatvfs(mount_fd).f_flag
    flags = const.MS_BIND | const.MS_REMOUNT | (attributes & 0xF)
    for statvfs_flag, mount_flag in _LOCKED:
        if present & statvfs_flag:
            flags |= mount_flag
    calls.mount(None, f"/proc/self/fd/{mount_fd}", None, flags)
