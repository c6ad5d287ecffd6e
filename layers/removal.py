"""Remove trees whatever is in them: unreadable directories, 10^5 levels, 10^6 files.

Never follows a link, never builds a path, recursion replaced by moving deep directories up to the top. Where
files belong to mapped ids it must run inside the user namespace. Ring 1.
"""

from __future__ import annotations

import os
import stat

from layers.contexts import suppress

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 64
"""Deeper directories are moved up first: bounds the open descriptors."""
_MOVED = b".removing-%d-%d"


def remove_tree(path: str | bytes | os.PathLike[str]) -> None:
    """Remove a file or a directory with all that is in it; idempotent, also beside another process that does.

    The last component of the path is not followed if it is a link.

    Raises:
        OSError: something cannot be removed (it belongs to somebody else, the file system is read-only).
    """
    raw = os.fsencode(path).rstrip(b"/")
    parent, _, name = raw.rpartition(b"/")
    start = parent or (b"/" if raw.startswith(b"/") else b".")
    try:
        parent_fd = os.open(start, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_entry(parent_fd, name)
    finally:
        os.close(parent_fd)


def remove_entry(parent_fd: int, name: bytes) -> None:
    """Remove one entry of a directory, be it a whole tree; idempotent.

    Raises:
        OSError: as `remove_tree`.
    """
    try:
        os.unlink(name, dir_fd=parent_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # EPERM is what POSIX wants for directories
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                raise
    with suppress(FileNotFoundError):
        top_fd = _open_directory(parent_fd, name)
        try:
            _Emptier(top_fd).run()
        finally:
            os.close(top_fd)
        os.rmdir(name, dir_fd=parent_fd)


class _Emptier:
    """Empties one directory; the stack holds (descriptor, names of directories still to enter)."""

    def __init__(self, top_fd: int) -> None:
        self.top_fd = top_fd
        self.moved = 0
        self.stack: list[tuple[int, bytes, list[bytes]]] = []

    def run(self) -> None:
        todo = self._unlink_files(self.top_fd)
        try:
            while todo:
                self._remove(self.top_fd, todo.pop())
                if not todo:
                    todo = self._unlink_files(self.top_fd)  # what was moved up meanwhile
        finally:
            for fd, _, _ in self.stack:
                os.close(fd)

    def _remove(self, parent_fd: int, name: bytes) -> None:
        """Remove the directory `name`, depth first."""
        self._push(parent_fd, name)
        while self.stack:
            fd, own_name, names = self.stack[-1]
            if names:
                child = names.pop()
                if len(self.stack) < _MAX_DEPTH:
                    self._push(fd, child)
                else:
                    self._move_up(fd, child)
                continue
            names += self._unlink_files(fd)  # network file systems skip entries while others are removed
            if names:
                continue
            self.stack.pop()
            os.close(fd)
            above = self.stack[-1][0] if self.stack else parent_fd
            with suppress(FileNotFoundError):
                os.rmdir(own_name, dir_fd=above)

    def _push(self, parent_fd: int, name: bytes) -> None:
        try:
            fd = _open_directory(parent_fd, name)
        except FileNotFoundError:
            return  # another process removes the same tree
        self.stack.append((fd, name, []))
        self.stack[-1][2].extend(self._unlink_files(fd))

    def _move_up(self, fd: int, name: bytes) -> None:
        """Move a deep directory to the top, where it is found again later."""
        self.moved += 1
        target = _MOVED % (os.getpid(), self.moved)
        try:
            os.rename(name, target, src_dir_fd=fd, dst_dir_fd=self.top_fd)
        except FileNotFoundError:
            return
        except PermissionError:  # moving changes the directory's own `..`: it must be writable
            _unlock(fd, name)
            os.rename(name, target, src_dir_fd=fd, dst_dir_fd=self.top_fd)

    def _unlink_files(self, fd: int) -> list[bytes]:
        """Unlink what is no directory and return the names of the directories."""
        directories: list[bytes] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    directories.append(name)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=fd)
        return directories


def _open_directory(parent_fd: int, name: bytes) -> int:
    """Open a directory for emptying, giving its owner the rights to it first if they are missing."""
    try:
        fd = os.open(name, _OPEN, dir_fd=parent_fd)
    except PermissionError:
        _unlock(parent_fd, name)
        return os.open(name, _OPEN, dir_fd=parent_fd)
    mode = os.fstat(fd).st_mode
    if mode & 0o300 != 0o300:
        # Somebody else's: with capabilities it works all the same, else unlink will say why not.
        with suppress(PermissionError):
            os.fchmod(fd, stat.S_IMODE(mode) | 0o700)
    return fd


def _unlock(parent_fd: int, name: bytes) -> None:
    """chmod u+rwx without following a link: another process may have put one there."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
    finally:
        os.close(fd)
