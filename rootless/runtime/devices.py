"""Operations that fill /dev, and the console. Ring 1.

Nothing of the image's /dev is used: a tmpfs covers it, and every step below it goes through that mount's
own descriptor, not through a path (CVE-2025-52565, CVE-2026-41579).
"""

from __future__ import annotations

import os
import stat

from rootless.linux import const
from rootless.runtime import mounting, tty
from rootless.runtime.ops import Context, Op
from rootless.runtime.rootfs import open_plain_directory

NODES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
)
_NOSUID_NOEXEC = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_NOEXEC


class Dev(Op):
    """A tmpfs on /dev with the usual links; later operations find it in the context."""

    __slots__ = ()

    def describe(self) -> str:
        return "mount tmpfs on /dev (mode=755,size=64m)"

    def execute(self, context: Context) -> None:
        target = open_plain_directory(context.root_fd, "dev")
        attributes = const.MOUNT_ATTR_NOSUID | const.MOUNT_ATTR_STRICTATIME
        dev = mounting.new_filesystem("tmpfs", [("mode", "755"), ("size", "65536k")], attributes=attributes)
        mounting.attach(dev, target)
        os.close(target)
        for name, link in LINKS:
            os.symlink(link, name, dir_fd=dev)
        context.dev_fd = dev


class Node(Op):
    """A device node of the host, bound into /dev: nodes cannot be made in a user namespace."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return f"bind the host's /dev/{self.name}"

    def execute(self, context: Context) -> None:
        source = context.null() if self.name == "null" else _open(f"/dev/{self.name}")
        bind_node(source, context.dev_fd, self.name)
        if self.name != "null":
            os.close(source)


class HostNodes(Op):
    """--privileged: every device node directly in the host's /dev, and /dev/net/tun."""

    __slots__ = ()

    def describe(self) -> str:
        return "bind all device nodes of the host"

    def execute(self, context: Context) -> None:
        present = {"console", *NODES, *(name for name, _ in LINKS)}
        for name in os.listdir("/dev"):
            if name in present:
                continue
            source = _open(f"/dev/{name}", const.O_PATH | os.O_NOFOLLOW)
            if stat.S_ISCHR(mode := os.fstat(source).st_mode) or stat.S_ISBLK(mode):
                bind_node(source, context.dev_fd, name)
            os.close(source)
        try:
            source = _open("/dev/net/tun")
        except OSError:
            return
        os.mkdir("net", 0o755, dir_fd=context.dev_fd)
        bind_node(source, context.dev_fd, "net/tun")
        os.close(source)


class DevPts(Op):
    """The container's own terminals; group 5 (tty) owns them where that id is mapped."""

    __slots__ = ("tty_group",)

    def __init__(self, *, tty_group: bool) -> None:
        self.tty_group = tty_group

    def describe(self) -> str:
        return f"mount devpts on /dev/pts (mode=620,ptmxmode=666{',gid=5' if self.tty_group else ''})"

    def execute(self, context: Context) -> None:
        options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")]
        if self.tty_group:
            options.append(("gid", "5"))
        pts = mounting.new_filesystem("devpts", options, attributes=_NOSUID_NOEXEC)
        _attach_new(pts, context, "pts")
        context.pts_fd = pts


class Shm(Op):
    """Shared memory (shm_open(3)) of a given size."""

    __slots__ = ("size_bytes",)

    def __init__(self, *, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def describe(self) -> str:
        return f"mount tmpfs on /dev/shm (mode=1777,size={self.size_bytes})"

    def execute(self, context: Context) -> None:
        options = [("mode", "1777"), ("size", str(self.size_bytes))]
        shm = mounting.new_filesystem("tmpfs", options, attributes=mounting.SAFE)
        _attach_new(shm, context, "shm")
        os.close(shm)


class Mqueue(Op):
    """/dev/mqueue of the container's ipc namespace; a kernel without it is no reason to stop."""

    __slots__ = ()

    def describe(self) -> str:
        return "mount mqueue on /dev/mqueue"

    def execute(self, context: Context) -> None:
        try:
            queue = mounting.new_filesystem("mqueue", attributes=mounting.SAFE)
        except OSError:
            return
        _attach_new(queue, context, "mqueue")
        os.close(queue)


class Console(Op):
    """A terminal of the container's own devpts, bound on /dev/console."""

    __slots__ = ("columns", "rows")

    def __init__(self, *, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns

    def describe(self) -> str:
        return "make a terminal and bind it on /dev/console"

    def execute(self, context: Context) -> None:
        pts_fd = context.pts_fd if context.pts_fd >= 0 else tty.open_pts(context.root_fd)
        context.console_master, context.console_slave = tty.open_terminal(pts_fd)
        if self.rows or self.columns:
            tty.set_size(context.console_master, self.rows, self.columns)
        if context.dev_fd >= 0:
            bind_node(context.console_slave, context.dev_fd, "console")


def bind_node(source_fd: int, dev_fd: int, name: str) -> None:
    """Bind an open file on a new empty file of our own /dev."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    os.close(os.open(name, flags, 0o666, dir_fd=dev_fd))
    target = os.open(name, const.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dev_fd)
    tree = mounting.copy_tree(source_fd, recursive=False)
    mounting.attach(tree, target)
    os.close(tree)
    os.close(target)


def _attach_new(mount_fd: int, context: Context, name: str) -> None:
    os.mkdir(name, 0o755, dir_fd=context.dev_fd)
    target = os.open(name, const.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=context.dev_fd)
    mounting.attach(mount_fd, target)
    os.close(target)


def _open(path: str, flags: int = const.O_PATH) -> int:
    return os.open(path, flags | os.O_CLOEXEC)
