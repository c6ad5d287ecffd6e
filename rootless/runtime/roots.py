"""Operations on the root file system: mount it, make it read-only, move into it. Ring 1."""

from __future__ import annotations

import errno
import os

from rootless.errors import RuntimeSetupError, os_error_text
from rootless.linux import calls, const
from rootless.runtime import mounting
from rootless.runtime.ops import Context, Op

_DIRECTORY = const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PAGE_BYTES = 4096


class OverlayRoot(Op):
    """Mount the kernel's overlay of an image's layers and a container's upper directory.

    The directories are named through /proc/self/fd: the options of mount(2) are one page, and 127 layers
    by path would not fit; a colon or comma in the store's path needs no quoting either.
    Kernel: Documentation/filesystems/overlayfs.rst, "User xattr" (Linux 5.11).
    """

    __slots__ = ("lowers", "rootfs", "upper", "volatile", "work")

    def __init__(
        self, rootfs: str, *, lowers: tuple[str, ...], upper: str, work: str, volatile: bool
    ) -> None:
        self.rootfs = rootfs
        self.lowers = lowers  # bottom first
        self.upper = upper
        self.work = work
        self.volatile = volatile  # no sync at the end: for containers that are removed then

    def describe(self) -> str:
        return f"mount overlay of {len(self.lowers)} layers on {self.rootfs}"

    def execute(self, context: Context) -> None:
        fds = [os.open(path, _DIRECTORY) for path in (*reversed(self.lowers), self.upper, self.work)]
        *lowers, upper, work = [f"/proc/self/fd/{fd}" for fd in fds]
        options = f"lowerdir={':'.join(lowers)},upperdir={upper},workdir={work},userxattr"
        if self.volatile:
            options += ",volatile"
        if len(options) >= _PAGE_BYTES:
            raise RuntimeSetupError(
                f"cannot mount the image: {len(self.lowers)} layers are too many for the kernel's overlay",
                hint="retry with --storage=copy",
                reference="too-many-layers",
            )
        try:
            calls.mount("overlay", self.rootfs, "overlay", 0, options)
        except OSError as exc:
            raise _overlay_failure(exc, self) from exc
        for fd in fds:
            os.close(fd)
        context.root_fd = os.open(self.rootfs, _DIRECTORY)


class BindRoot(Op):
    """Use a directory that is a complete root file system: a copy of the image, or fuse-overlayfs's mount."""

    __slots__ = ("rootfs",)

    def __init__(self, rootfs: str) -> None:
        self.rootfs = rootfs

    def describe(self) -> str:
        return f"bind the root file system {self.rootfs} on itself"

    def execute(self, context: Context) -> None:
        fd = os.open(self.rootfs, _DIRECTORY)
        tree = mounting.copy_tree(fd)
        mounting.attach(tree, fd)
        os.close(fd)
        context.root_fd = tree


class ReadOnlyRoot(Op):
    """--read-only: the root mount alone; volumes and tmpfs below it stay writable."""

    __slots__ = ()

    def describe(self) -> str:
        return "make the root file system read-only"

    def execute(self, context: Context) -> None:
        mounting.set_attributes(context.root_fd, const.MOUNT_ATTR_RDONLY, recursive=False)


class Pivot(Op):
    """Make the root file system this namespace's root, and drop the host's tree.

    pivot_root(".", ".") stacks the old root on the new one, so that no directory for it is needed in
    the image (man 2 pivot_root, NOTES). chroot would leave the host's tree reachable.
    """

    __slots__ = ()

    def describe(self) -> str:
        return "pivot into the root file system"

    def execute(self, context: Context) -> None:
        os.fchdir(context.root_fd)
        calls.pivot_root(".", ".")
        calls.umount2(".", const.MNT_DETACH)
        os.chdir("/")


def _overlay_failure(exc: OSError, op: OverlayRoot) -> RuntimeSetupError:
    hints = {
        errno.EPERM: "this kernel refuses overlayfs to users; retry with --storage=copy",
        errno.EINVAL: "the store's file system cannot hold an upper layer; retry with --storage=copy",
        errno.ESTALE: "the container's work directory belongs to other layers; remove the container",
    }
    return RuntimeSetupError(
        f"cannot {op.describe()}: {os_error_text(exc)}",
        on=op.upper,
        hint=hints.get(exc.errno or 0, "`rootless doctor` tests this storage"),
        reference="overlay",
    )
