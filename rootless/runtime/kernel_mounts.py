"""Operations on the kernel's own file systems: /proc, /sys and cgroups, and what is hidden or fixed in them.

No path is followed through a link of the image. Ring 1.
"""

from __future__ import annotations

import os
import stat

from rootless.linux import calls, const
from rootless.runtime import mounting
from rootless.runtime.ops import Context, Op
from rootless.runtime.rootfs import IN_ROOT, open_in_root, open_plain_directory

_NO_LINKS = IN_ROOT | const.RESOLVE_NO_SYMLINKS


class Proc(Op):
    """/proc of the new pid namespace, or the host's where a new one is refused (a masked /proc around us)."""

    __slots__ = ("fresh",)

    def __init__(self, *, fresh: bool) -> None:
        self.fresh = fresh

    def describe(self) -> str:
        return "mount proc on /proc" if self.fresh else "bind the outer /proc on /proc"

    def execute(self, context: Context) -> None:
        target = open_plain_directory(context.root_fd, "proc")
        mount_fd = -1
        if self.fresh:
            mount_fd = _new_or_refused("proc", mounting.SAFE)
        if mount_fd < 0:
            mount_fd = _copy_host_tree("/proc", mounting.SAFE)
        mounting.place(mount_fd, target)


class Sys(Op):
    """/sys: new where this user namespace owns the network namespace, else the host's, read-only."""

    __slots__ = ("fresh", "read_only")

    def __init__(self, *, fresh: bool, read_only: bool) -> None:
        self.fresh = fresh
        self.read_only = read_only

    def describe(self) -> str:
        what = "mount sysfs on /sys" if self.fresh else "bind the host's /sys on /sys"
        return what + (" (read-only)" if self.read_only else "")

    def execute(self, context: Context) -> None:
        target = open_plain_directory(context.root_fd, "sys")
        attributes = mounting.SAFE | (const.MOUNT_ATTR_RDONLY if self.read_only else 0)
        mount_fd = -1
        if self.fresh:
            mount_fd = _new_or_refused("sysfs", attributes)
        if mount_fd < 0:
            mount_fd = _copy_host_tree("/sys", attributes)
        mounting.place(mount_fd, target)


class Cgroup(Op):
    """/sys/fs/cgroup: cgroup2 as this cgroup namespace sees it, else the host's tree, else nothing."""

    __slots__ = ("read_only",)

    def __init__(self, *, read_only: bool) -> None:
        self.read_only = read_only

    def describe(self) -> str:
        return "mount cgroup2 on /sys/fs/cgroup" + (" (read-only)" if self.read_only else "")

    def execute(self, context: Context) -> None:
        try:
            target = open_in_root(context.root_fd, "sys/fs/cgroup", resolve=_NO_LINKS)
        except FileNotFoundError:
            return  # a kernel without cgroups
        attributes = mounting.SAFE | (const.MOUNT_ATTR_RDONLY if self.read_only else 0)
        try:
            mount_fd = mounting.new_filesystem("cgroup2", attributes=attributes)
        except OSError:
            if calls.fstatfs_type(target) != const.SYSFS_MAGIC:
                return  # the copy of the host's /sys brought its cgroup mounts along
            try:
                mount_fd = _copy_host_tree("/sys/fs/cgroup", attributes)
            except OSError:
                return  # nothing to show; the container runs without
        mounting.place(mount_fd, target)


class Mask(Op):
    """Hide a path of /proc or /sys: a file behind the null device, a directory behind an empty one."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path  # a "*" in one component stands for any

    def describe(self) -> str:
        return f"mask {self.path}"

    def execute(self, context: Context) -> None:
        for path in _expand(context.root_fd, self.path):
            try:
                target = open_in_root(context.root_fd, path, resolve=_NO_LINKS)
            except FileNotFoundError:
                continue
            directory = stat.S_ISDIR(os.fstat(target).st_mode)
            cover = context.empty() if directory else context.null()
            mounting.place(mounting.copy_tree(cover, recursive=False), target)


class ReadOnly(Op):
    """Make a path of /proc read-only, with all below it."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"make {self.path} read-only"

    def execute(self, context: Context) -> None:
        try:
            target = open_in_root(context.root_fd, self.path, resolve=_NO_LINKS)
        except FileNotFoundError:
            return
        tree = mounting.copy_tree(target)
        mounting.attach(tree, target)
        mounting.set_attributes(tree, const.MOUNT_ATTR_RDONLY)
        os.close(tree)
        os.close(target)


def _new_or_refused(fstype: str, attributes: int) -> int:
    """Return a new mount, -1 where the kernel refuses because the one around us is partly covered."""
    try:
        return mounting.new_filesystem(fstype, attributes=attributes)
    except PermissionError:
        return -1


def _copy_host_tree(path: str, attributes: int) -> int:
    fd = os.open(path, const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = mounting.copy_tree(fd)
    os.close(fd)
    mounting.set_attributes(tree, attributes)
    return tree


def _expand(root_fd: int, path: str) -> list[str]:
    """Return the paths that a pattern with one "*" at the end of a component matches."""
    if "*" not in path:
        return [path]
    before, _, after = path.partition("*")
    directory, _, prefix = before.rpartition("/")
    try:
        fd = open_in_root(root_fd, directory, os.O_RDONLY | os.O_DIRECTORY, resolve=_NO_LINKS)
    except FileNotFoundError:
        return []
    names = [name for name in os.listdir(fd) if name.startswith(prefix)]
    os.close(fd)
    return [f"{directory}/{name}{after}" for name in names]
