"""Named volumes: filled from the image on first use, then bound. Ring 1; imported where there is one.

Filling runs inside the user namespace, where the ids of the image's files can be given to the copies. The
copy is made beside the volume's directory and renamed over it: rename(2) replaces a directory only while
that is empty, so that of two first users one wins, and a killed one leaves nothing half-filled.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import RuntimeSetupError, os_error_text
from rootless.linux import calls, const
from rootless.runtime import mounting
from rootless.runtime.ops import Context, Op
from rootless.runtime.rootfs import ensure_directory, open_in_root, refuse_proc

_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPY_BYTES = 1 << 30


class Volume(Op):
    """A volume's directory at a path of the container."""

    __slots__ = ("copy", "data", "read_only", "target")

    def __init__(self, data: str, target: str, *, read_only: bool, copy: bool) -> None:
        self.data = data
        self.target = target
        self.read_only = read_only
        self.copy = copy

    def describe(self) -> str:
        filled = ", filled from the image when empty" if self.copy else ""
        return f"bind volume {self.data} on {self.target} ({'ro' if self.read_only else 'rw'}{filled})"

    def execute(self, context: Context) -> None:
        if self.copy:
            self._fill(context)
        target = ensure_directory(context.root_fd, self.target)
        refuse_proc(target, self.target)
        source = os.open(self.data, const.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        tree = mounting.copy_tree(source)
        mounting.attach(tree, target)
        if self.read_only:
            mounting.set_attributes(tree, const.MOUNT_ATTR_RDONLY)
        for fd in (source, target, tree):
            os.close(fd)

    def _fill(self, context: Context) -> None:
        if os.path.basename(self.data) != "_data" or os.listdir(self.data):
            return  # another name of a directory of the host, which is not ours to fill; or filled already
        try:
            source = open_in_root(context.root_fd, self.target, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return  # the image has nothing there
        refuse_proc(source, self.target)
        draft = f"{self.data}.fill-{os.urandom(8).hex()}"
        try:
            os.mkdir(draft, 0o700)
            target = os.open(draft, _READ_DIRECTORY)
            copy_directory(source, target)
            os.close(target)
            os.rename(draft, self.data)
        except OSError as exc:
            from layers.removal import remove_tree  # preloaded: see runtime.plan

            remove_tree(draft)
            if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return  # another container filled it first
            raise RuntimeSetupError(
                f"cannot fill the volume from the image: {os_error_text(exc)}",
                on=f"{self.target} to {self.data}",
                hint="the option nocopy starts with an empty volume",
                reference="volume-fill",
            ) from exc
        finally:
            os.close(source)


def copy_directory(source_fd: int, target_fd: int) -> None:
    """Copy all that is in a directory, and the directory's own owner, mode, times and attributes.

    No link is followed and nothing is opened by more than one name at a time. Device nodes cannot be made
    in a user namespace and are left out, as are sockets. Holds two descriptors per level.

    Raises:
        OSError: EMFILE for trees of several hundred levels, ENOSPC, …
    """
    _copy_entries(source_fd, target_fd, {}, target_fd)


def _copy_entries(source_fd: int, target_fd: int, linked: dict[tuple[int, int], str], top_fd: int) -> None:
    with os.scandir(source_fd) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        info = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target_fd)
            below_source = os.open(name, _READ_DIRECTORY, dir_fd=source_fd)
            below_target = os.open(name, _READ_DIRECTORY, dir_fd=target_fd)
            _copy_entries(below_source, below_target, linked, top_fd)
            os.close(below_source)
            os.close(below_target)
        elif kind == stat.S_IFREG:
            _copy_file(name, info, source_fd=source_fd, target_fd=target_fd, linked=linked)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
            _chown(name, info, target_fd)
            _set_times(name, info, target_fd)
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, 0o600, dir_fd=target_fd)
            _chown(name, info, target_fd)
    info = os.fstat(source_fd)
    _copy_metadata(source_fd, target_fd, info)


def _copy_file(
    name: str,
    info: os.stat_result,
    *,
    source_fd: int,
    target_fd: int,
    linked: dict[tuple[int, int], str],
) -> None:
    """Copy a regular file, or link it to the copy that was made under its other name."""
    inode = (info.st_dev, info.st_ino)
    if inode in linked:
        os.link(linked[inode], name, dst_dir_fd=target_fd, follow_symlinks=True)
        return
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source_fd)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    target = os.open(name, flags, 0o600, dir_fd=target_fd)
    _copy_bytes(source, target)
    _copy_metadata(source, target, os.fstat(source))
    os.close(source)
    if info.st_nlink > 1:
        # /proc/self/fd names the copy wherever its directory is; the descriptor stays open until the end
        linked[inode] = f"/proc/self/fd/{target}"
    else:
        os.close(target)


def _copy_bytes(source: int, target: int) -> None:
    try:
        calls.ficlone(source, target)
        return
    except OSError:
        pass  # another file system, or one that cannot share blocks
    while True:
        try:
            if not os.copy_file_range(source, target, _COPY_BYTES):
                return
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            if not os.sendfile(target, source, None, _COPY_BYTES):
                return


def _copy_metadata(source: int, target: int, info: os.stat_result) -> None:
    try:
        os.fchown(target, info.st_uid, info.st_gid)
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EINVAL):  # `single` mode: there is one id to give
            raise
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source):
        if name.startswith("user.overlay."):
            continue  # the overlay's own notes must not come from a merged view
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError:
            continue  # security.* and the like, where this namespace may not set them
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _chown(name: str, info: os.stat_result, dir_fd: int) -> None:
    try:
        os.chown(name, info.st_uid, info.st_gid, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EINVAL):
            raise


def _set_times(name: str, info: os.stat_result, dir_fd: int) -> None:
    os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=dir_fd, follow_symlinks=False)
