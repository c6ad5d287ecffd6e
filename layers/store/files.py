"""Writing files so that a crash at any moment leaves the old content or the new. Ring 1."""

from __future__ import annotations

import errno
import os

from layers.errors import StoreError

RESERVE_BYTES = 64 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of data at an offset; pwrite may take less than it was given."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def replace_file(path: str, data: bytes, *, scratch: str, mode: int = 0o644) -> None:
    """Replace a file's content in one step, durably.

    Args:
        scratch: a directory on the same file system, where the temporary is made.

    Raises:
        StoreError: the disk is full; the old content stands.
    """
    temporary = _write_temporary(data, scratch=scratch, mode=mode, on=path)
    try:
        os.rename(temporary, path)
    except BaseException:
        remove_if_there(temporary)
        raise
    sync_directory(os.path.dirname(path))


def create_file(path: str, data: bytes, *, scratch: str, mode: int = 0o644) -> bool:
    """Make a file with its content in one step; return False if it exists already and leave it alone."""
    temporary = _write_temporary(data, scratch=scratch, mode=mode, on=path)
    try:
        os.link(temporary, path)  # unlike rename, never replaces what another process made
    except FileExistsError:
        return False
    finally:
        remove_if_there(temporary)
    sync_directory(os.path.dirname(path))
    return True


def keep_reserve(path: str) -> None:
    """Occupy a little space, which `remove_if_there` gives back when the disk is full; best effort."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # it is there, or the store cannot be written
    try:
        write_all(fd, os.urandom(RESERVE_BYTES), 0)  # random: a file system may store zeros in no space
    except OSError:
        remove_if_there(path)  # full already: better no reserve than one that is empty
    finally:
        os.close(fd)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return  # somebody else was first


def disk_full(exc: OSError, *, on: str) -> StoreError | None:
    """Return the error to raise for "no space" and "over quota", None for every other cause."""
    if exc.errno not in _FULL:
        return None
    return StoreError(
        f"cannot write to the store: {os.strerror(exc.errno)}",
        on=on,
        hint="free space there, for instance by removing images, and try again",
    )


def _write_temporary(data: bytes, *, scratch: str, mode: int, on: str) -> str:
    """Write and sync a new file; it gets its name only then: a kill during the sync leaves nothing."""
    path = os.path.join(scratch, os.urandom(8).hex() + ".tmp")
    fd, is_named = _open_new(path, scratch=scratch, mode=mode)
    try:
        write_all(fd, data, 0)
        os.fsync(fd)
        if not is_named:
            _give_name(fd, path)
    except BaseException as exc:
        remove_if_there(path)
        full = disk_full(exc, on=on) if isinstance(exc, OSError) else None
        if full:
            raise full from exc
        raise
    finally:
        os.close(fd)
    return path


def _open_new(path: str, *, scratch: str, mode: int) -> tuple[int, bool]:
    """Open a new file for writing; returns (descriptor, whether it has its name already)."""
    if os.access("/proc/self/fd", os.X_OK):  # without it an unnamed file could not be given a name
        try:
            return os.open(scratch, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode), False
        except OSError as exc:
            if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):  # NFS and others
                raise
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), True


def _give_name(fd: int, path: str) -> None:
    """Link an unnamed file into its directory (man 2 open, O_TMPFILE)."""
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Without a descriptor of a directory CPython calls link(2), which does not follow the link in /proc.
        os.link(f"/proc/self/fd/{fd}", os.path.basename(path), dst_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)
