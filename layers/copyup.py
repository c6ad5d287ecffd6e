"""Copy single entries between trees of the same id mapping with all that belongs to them.

Owner, mode, times, extended attributes (recorded owners too, overlayfs's own not), holes. Data is shared with
the source where the file system can (btrfs, XFS, bcachefs: FICLONE). Ring 2.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from layers.whiteout import OWNER_XATTR, may_come_from_image

FICLONE = 0x40049409
"""linux/fs.h: _IOW(0x94, 9, int)."""
_COPY_BYTES = 1 << 24
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CANNOT_CLONE = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EBADF,
)
_CANNOT_RANGE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_CANNOT_XATTR = (errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.ENODATA)


def copy_entry(source_fd: int, source: bytes, target_fd: int, target: bytes) -> None:
    """Copy one file, link or FIFO under a new name; other kinds (sockets) are left out.

    Args:
        source_fd, target_fd: directories; stay the caller's. The umask must be 0.
    Raises:
        FileExistsError: the target exists.
    """
    info = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
    if stat.S_ISREG(info.st_mode):
        _copy_file(source_fd, source, target_fd, target)
        return
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source, dir_fd=source_fd), target, dir_fd=target_fd)
    elif stat.S_ISFIFO(info.st_mode):
        os.mkfifo(target, info.st_mode & 0o777, dir_fd=target_fd)
    else:
        return
    if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(target, info.st_uid, info.st_gid, dir_fd=target_fd, follow_symlinks=False)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target_fd, follow_symlinks=False)


def copy_metadata(source_fd: int, target_fd: int) -> None:
    """Give an open file or directory what the source has, content apart."""
    info = os.fstat(source_fd)
    for name, value in read_xattrs(source_fd).items():
        try:
            os.setxattr(target_fd, name, value)
        except OSError as exc:
            if exc.errno not in _CANNOT_XATTR:
                raise
    if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(target_fd, info.st_uid, info.st_gid)
        _restore_capabilities(source_fd, target_fd)
    os.fchmod(target_fd, stat.S_IMODE(info.st_mode))
    os.utime(target_fd, ns=(info.st_atime_ns, info.st_mtime_ns))


def read_xattrs(fd: int) -> dict[bytes, bytes]:
    """Return the extended attributes that belong to the content: overlayfs's own and the host's left out."""
    try:
        names = [os.fsencode(name) for name in os.listxattr(fd)]
    except OSError as exc:
        if exc.errno in (errno.ENOTSUP, errno.ENOSYS):
            return {}
        raise
    return {name: os.getxattr(fd, name) for name in names if name == OWNER_XATTR or may_come_from_image(name)}


def copy_data(source_fd: int, target_fd: int) -> None:
    """Copy a file's data into an empty one: by reference, else without filling its holes."""
    try:
        fcntl.ioctl(target_fd, FICLONE, source_fd)
        return
    except OSError as exc:
        if exc.errno not in _CANNOT_CLONE:
            raise
    size = os.fstat(source_fd).st_size
    position = 0
    while position < size:
        try:
            start = os.lseek(source_fd, position, os.SEEK_DATA)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        position = os.lseek(source_fd, start, os.SEEK_HOLE)
        _copy_range(source_fd, target_fd, start, position)
    os.ftruncate(target_fd, size)


def _copy_file(source_fd: int, source: bytes, target_fd: int, target: bytes) -> None:
    reading = _open_for_reading(source_fd, source)
    try:
        writing = os.open(target, _CREATE, 0o600, dir_fd=target_fd)
        try:
            copy_data(reading, writing)
            copy_metadata(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _open_for_reading(dir_fd: int, name: bytes) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=dir_fd)
    except PermissionError:
        # Our own file of mode 0 (/etc/shadow on some systems) without the capability to read it all the same.
        path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        mode = stat.S_IMODE(os.fstat(path_fd).st_mode)
        link = f"/proc/self/fd/{path_fd}"
        os.chmod(link, mode | 0o400)
        try:
            fd = os.open(name, _OPEN, dir_fd=dir_fd)
        finally:
            os.chmod(link, mode)
        return fd
    finally:
        os.close(path_fd)


def _copy_range(source_fd: int, target_fd: int, start: int, end: int) -> None:
    os.lseek(source_fd, start, os.SEEK_SET)
    os.lseek(target_fd, start, os.SEEK_SET)
    position = start
    in_kernel = True
    while position < end:
        wanted = min(end - position, _COPY_BYTES)
        if in_kernel:
            try:
                done = os.copy_file_range(source_fd, target_fd, wanted)
            except OSError as exc:
                if exc.errno not in _CANNOT_RANGE:
                    raise
                in_kernel = False
                continue
        else:
            done = _write_all(target_fd, os.read(source_fd, min(wanted, 1 << 20)))
        if done == 0:
            return  # the source was cut short meanwhile
        position += done


def _write_all(fd: int, data: bytes) -> int:
    written = 0
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
    return written


def _restore_capabilities(source_fd: int, target_fd: int) -> None:
    """Set security.capability once more: chown has removed it."""
    name = b"security.capability"
    try:
        os.setxattr(target_fd, name, os.getxattr(source_fd, name))
    except OSError as exc:
        if exc.errno not in _CANNOT_XATTR:
            raise
