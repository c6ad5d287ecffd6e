"""Locks between processes: flock(2) on small files in a node-local directory.

The kernel drops a lock with its last descriptor, so that a killed process blocks nobody. flock is not
trusted across hosts (NFS): what is written under a lock must also be safe without one (write-temporary,
rename, link). Ring 1.
"""

from __future__ import annotations

import fcntl
import os
import time

from layers.errors import LockTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

DEFAULT_WAIT_S = 30.0
"""Locks are held for milliseconds; whoever waits this long has found a stopped process."""
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05


class FileLock:
    """One lock, taken at most once at a time; a context manager that waits at most `wait_s`.

    Owns a descriptor while it is held. Other FileLocks of the same name exclude it, whether they are of
    another process, another thread, or this one. A forked child inherits a held lock, and its exit does not
    release it; `release` in either of them does.

    Args:
        directory: made if missing, private to the user.
        name: file name; must not come from outside unchecked.
        shared: allow other shared holders, exclude exclusive ones.
        wait_s: how long `acquire` and `with` wait; 0 means one attempt.
        unlink: remove the file on release, for names that are used once (`blob-<hex>.lock`). Every user of
            the name must say so, or none.
    """

    __slots__ = ("_fd", "_shared", "_unlink", "path", "wait_s")

    def __init__(
        self,
        directory: str,
        name: str,
        *,
        shared: bool = False,
        wait_s: float = DEFAULT_WAIT_S,
        unlink: bool = False,
    ) -> None:
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            raise ValueError(f"not a file name: {name!r}")
        self.path = os.path.join(directory, name)
        self.wait_s = wait_s
        self._shared = shared
        self._unlink = unlink and not shared
        self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0

    def try_acquire(self) -> bool:
        """Take the lock if that needs no waiting; for callers that wait in their own way (trio)."""
        if self.held:
            raise RuntimeError(f"already held: {self.path}")
        while True:
            fd = _open(self.path)
            try:
                fcntl.flock(fd, (fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except BaseException:
                os.close(fd)
                raise
            if _is_current(fd, self.path):
                self._fd = fd
                return True
            os.close(fd)  # its last holder removed the file between our open and our flock

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockTimeout: somebody else held it all the time.
        """
        deadline = time.monotonic() + self.wait_s
        pause = _FIRST_PAUSE_S
        while not self.try_acquire():
            left = deadline - time.monotonic()
            if left <= 0:
                raise LockTimeout(
                    f"cannot take lock: another process held it for {self.wait_s:g} s",
                    on=self.path,
                    hint=f"`fuser -v {self.path}` names the process",
                )
            # flock has no timeout, and an alarm signal would not be ours to use: poll, ever more slowly.
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if self._unlink:
                os.unlink(self.path)  # still ours: nobody else can remove or replace it meanwhile
        except FileNotFoundError:
            pass  # the whole directory went away (a cleaned /run or /tmp)
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # closing alone would leave it with a forked child
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _is_current(fd: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(fd)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
