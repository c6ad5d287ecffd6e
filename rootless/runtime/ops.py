"""The operations that plans are made of: each can say what it does, and do it.

`describe()` is pure, one line, an imperative: `--log-level debug` prints it and errors quote it. `prepare()`
opens what lies on the host before any mount is made (a bind of / must not contain the container itself).
`execute()` runs in the container's first process, in its namespaces, before pivot_root unless it says
otherwise. An operation raises OSError, or RootlessError when it knows better. Ring 1.

Targets are resolved by `runtime.rootfs` alone. /proc, /sys and masks: `runtime.kernel_mounts`; devices and
terminals: `runtime.devices`; the root file system: `runtime.roots`; volumes: `runtime.volumes`.
"""

from __future__ import annotations

import fcntl
import os
import stat
from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket

from rootless.errors import RuntimeSetupError
from rootless.linux import calls, const
from rootless.runtime import mounting
from rootless.runtime.rootfs import ensure_directory, ensure_file, refuse_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PROPAGATION = {"private": const.MS_PRIVATE, "slave": const.MS_SLAVE, "shared": const.MS_SHARED}


class Context:
    """What operations hand to later ones; all descriptors are closed by the process's entrance.

    Attributes:
        root_fd: the container's root file system, once it is mounted.
        dev_fd, pts_fd: the mounts of /dev and /dev/pts; -1 when the user mounts an own /dev.
        null_fd: the host's /dev/null, which masks files (never the one that a path in the rootfs names).
        empty_fd: a detached, empty, read-only tmpfs that masks directories; -1 until needed.
        console_master, console_slave: the terminal, with Process.tty.
    """

    __slots__ = ("console_master", "console_slave", "dev_fd", "empty_fd", "null_fd", "pts_fd", "root_fd")

    def __init__(self) -> None:
        self.root_fd = self.dev_fd = self.pts_fd = self.null_fd = self.empty_fd = -1
        self.console_master = self.console_slave = -1

    def null(self) -> int:
        """Return a descriptor of the host's null device, checked to be it (CVE-2025-31133)."""
        if self.null_fd < 0:
            fd = os.open("/dev/null", const.O_PATH | os.O_CLOEXEC)
            info = os.fstat(fd)
            if not stat.S_ISCHR(info.st_mode) or info.st_rdev != os.makedev(1, 3):
                raise RuntimeSetupError("cannot mask files: the host's /dev/null is not the null device")
            self.null_fd = fd
        return self.null_fd

    def empty(self) -> int:
        if self.empty_fd < 0:
            attributes = mounting.SAFE | const.MOUNT_ATTR_RDONLY
            self.empty_fd = mounting.new_filesystem("tmpfs", [("mode", "755")], attributes=attributes)
        return self.empty_fd


class Op:
    """The base: an operation with nothing to prepare."""

    __slots__ = ()

    def describe(self) -> str:
        raise NotImplementedError

    def prepare(self, context: Context) -> None:
        """Open what is needed from the host."""

    def execute(self, context: Context) -> None:
        raise NotImplementedError


class Isolate(Op):
    """Cut this mount namespace off from the host's: nothing that is mounted here appears there."""

    __slots__ = ("receive",)

    def __init__(self, *, receive: bool) -> None:
        self.receive = receive  # host mounts still come in, for -v …:rslave and rshared

    def describe(self) -> str:
        return f"make all mounts {'slaves of the host' if self.receive else 'private'}"

    def execute(self, context: Context) -> None:
        kind = const.MS_SLAVE if self.receive else const.MS_PRIVATE
        calls.mount(None, "/", None, const.MS_REC | kind)


class Tmpfs(Op):
    """A tmpfs on a path of the container, made if missing."""

    __slots__ = ("attributes", "options", "target")

    def __init__(self, target: str, options: Iterable[tuple[str, str]], *, attributes: int) -> None:
        self.target = target
        self.options = tuple(options)
        self.attributes = attributes

    def describe(self) -> str:
        options = ",".join(f"{name}={value}" if value else name for name, value in self.options)
        return f"mount tmpfs on {self.target} ({options or 'defaults'})"

    def execute(self, context: Context) -> None:
        target = ensure_directory(context.root_fd, self.target)
        refuse_proc(target, self.target)
        mounting.place(mounting.new_filesystem("tmpfs", self.options, attributes=self.attributes), target)


class Directory(Op):
    """Make a directory of the container if it is missing."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"make the directory {self.path}"

    def execute(self, context: Context) -> None:
        os.close(ensure_directory(context.root_fd, self.path))


class Bind(Op):
    """A file or directory of the host at a path of the container.

    Attributes:
        attributes: MOUNT_ATTR_* for it and, if recursive, for all mounts below it.
        propagation: as in model.spec.Mount; an "r" in front means the mounts below too.
        create_source: make a missing host directory.
    """

    __slots__ = ("_tree", "attributes", "create_source", "propagation", "recursive", "source", "target")

    def __init__(
        self,
        source: str,
        target: str,
        *,
        attributes: int = 0,
        propagation: str = "rprivate",
        recursive: bool = True,
        create_source: bool = False,
    ) -> None:
        self.source = source
        self.target = target
        self.attributes = attributes
        self.propagation = propagation
        self.recursive = recursive
        self.create_source = create_source
        self._tree = -1

    def describe(self) -> str:
        flags = "ro" if self.attributes & const.MOUNT_ATTR_RDONLY else "rw"
        extra = "" if self.propagation == "rprivate" else "," + self.propagation
        return f"bind {self.source} on {self.target} ({flags}{extra})"

    def prepare(self, context: Context) -> None:
        self._tree = self._open_source()

    def execute(self, context: Context) -> None:
        tree = self._tree
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            target = ensure_directory(context.root_fd, self.target)
        else:
            target = ensure_file(context.root_fd, self.target)
        refuse_proc(target, self.target)
        mounting.attach(tree, target)
        if self.attributes:  # attached, so that kernels without mount_setattr can do it too; nobody is inside
            mounting.set_attributes(tree, self.attributes, recursive=self.recursive)
        os.close(target)
        os.close(tree)

    def _open_source(self) -> int:
        try:
            fd = os.open(self.source, const.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            if not self.create_source:
                raise
            os.makedirs(self.source, 0o755, exist_ok=True)
            fd = os.open(self.source, const.O_PATH | os.O_CLOEXEC)
        tree = mounting.copy_tree(fd, recursive=self.recursive)
        os.close(fd)
        kind = self.propagation.removeprefix("r")
        if kind != "private":
            mounting.set_propagation(tree, _PROPAGATION[kind], recursive=self.propagation != kind)
        return tree


class Hostname(Op):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return f"set the hostname {self.name}"

    def execute(self, context: Context) -> None:
        calls.sethostname(self.name)


class Loopback(Op):
    """Bring `lo` up; open low ports and ping to all users of our own network namespace, as Docker does."""

    __slots__ = ("gids",)

    def __init__(self, *, gids: int) -> None:
        self.gids = gids

    def describe(self) -> str:
        return "bring the loopback interface up"

    def execute(self, context: Context) -> None:
        sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)
        request = bytearray(40)  # struct ifreq: name[16], then short ifr_flags (man 7 netdevice)
        request[:2] = b"lo"
        request[16:18] = b"\x41\x00"  # IFF_UP | IFF_RUNNING, little endian on both machines
        fcntl.ioctl(sock.fileno(), 0x8914, request)  # SIOCSIFFLAGS
        sock.close()
        for name, value in (
            ("ip_unprivileged_port_start", "0"),
            ("ping_group_range", f"0 {self.gids - 1}"),
        ):
            try:
                fd = os.open(f"/proc/sys/net/ipv4/{name}", os.O_WRONLY | os.O_CLOEXEC)
            except OSError:
                continue  # read-only around us, or an older kernel: comfort, not need
            try:
                os.write(fd, value.encode())
            except OSError:
                pass
            finally:
                os.close(fd)
