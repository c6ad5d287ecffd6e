"""Extracted layers on disk: `ROOT/KEY/<chain id>`, each the diff of one layer in overlay form.

KEY names how ids are mapped; a chain id names the layer and all below it. A snapshot that has its final name
is complete: it was made under a temporary name and renamed. Temporaries are held by a lock on the directory
itself, which the kernel drops when their maker is killed. One that the power failed upon before it was on
disk counts as absent: `layers.unsynced`. Filling one is `layers.apply`'s work. Ring 1.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from layers import unsynced
from layers.contexts import suppress
from layers.removal import remove_tree
from layers.store.files import remove_if_there, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from layers.digest import Digest

__all__ = ["Snapshots", "Temporary", "remove_tree"]

PREFIX = "tmp-"
_DRAFT_PREFIX = "draft-"
UNLOCKED_AGE_S = 24 * 3600
"""Where directories cannot be locked (NFS), a temporary is stale when nothing in its root changed for this
long."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Temporary:
    """A snapshot being made: an empty directory of mode 0700, locked until `close`. A context manager.

    Closing does not remove it: its files may belong to ids that only the user namespace can touch.

    Attributes:
        path: pass it to `layers.apply`, then to `Snapshots.commit`; or to `remove_tree`, inside the
        namespace.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __fspath__(self) -> str:
        return self.path

    def close(self) -> None:
        """Drop the lock; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Snapshots:
    """The snapshots of one id mapping.

    Args:
        root: the store's `snapshots` directory.
        key: the mapping's key; one path component.
    """

    __slots__ = ("directory",)

    def __init__(self, root: str, key: str) -> None:
        self.directory = os.path.join(root, key)

    def path(self, chain_id: Digest) -> str:
        """Return where the snapshot is, or would be."""
        return os.path.join(self.directory, chain_id.encoded)

    def has(self, chain_id: Digest) -> bool:
        """Tell whether the snapshot is there, complete."""
        return not self.missing((chain_id,))

    def lowers(self, chain_ids: Iterable[Digest]) -> list[str]:
        """Return the directories of an image's layers, in the order given: bottom first.

        Raises:
            FileNotFoundError: one is not there.
        """
        wanted = list(chain_ids)
        for missing in self.missing(wanted):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(missing))
        return [self.path(chain_id) for chain_id in wanted]

    def missing(self, chain_ids: Iterable[Digest]) -> list[Digest]:
        """Return those that must still be made, in the order given."""
        doubted = {mark.chain for mark in unsynced.doubted(self.directory)}
        return [
            chain_id
            for chain_id in chain_ids
            if chain_id.encoded in doubted or not os.path.isdir(self.path(chain_id))
        ]

    def new_temporary(self) -> Temporary:
        """Make and lock an empty directory beside the snapshots.

        It gets the name that `stale` looks for once it is locked: there is no moment at which it looks stale.
        """
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        while True:
            name = os.urandom(8).hex()
            draft, path = (os.path.join(self.directory, prefix + name) for prefix in (_DRAFT_PREFIX, PREFIX))
            os.mkdir(draft, 0o700)
            with suppress(FileNotFoundError):  # another process swept it: see drop_drafts
                fd = os.open(draft, _OPEN)
                try:
                    _lock(fd)
                    os.rename(draft, path)
                except BaseException:
                    os.close(fd)
                    raise
                return Temporary(path, fd)

    def drop_drafts(self) -> None:
        """Remove what processes left that were killed inside `new_temporary`.

        Nobody can tell such a directory from one that is about to be locked. Both are empty, so that removing
        either is harmless: a maker who lives begins again.
        """
        for name in self._names():
            if name.startswith(_DRAFT_PREFIX):
                with suppress(OSError):  # it has its name by now, or somebody else removed it
                    os.rmdir(os.path.join(self.directory, name))

    def commit(self, temporary: Temporary | str, chain_id: Digest) -> bool:
        """Give a finished temporary its final name; atomic.

        Before that the files were written to disk (the worker of `layers.apply` does it on request), or the
        snapshot was marked by `unsynced.make` and somebody will call `unsynced.settle`.

        Returns:
            False if another process was first: the temporary is as it was, the caller removes it.
        """
        path = os.fspath(temporary)
        if self.has(chain_id):
            return False
        try:
            os.rename(path, self.path(chain_id))
        except OSError as exc:
            if exc.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        return True

    def hide_doubted(self) -> None:
        """Make stale temporaries of the snapshots that a power failure may have torn.

        For one process at a time, before it makes snapshots itself.
        """
        doubted = unsynced.doubted(self.directory)
        for mark in doubted:
            hidden = os.path.join(self.directory, PREFIX + os.urandom(8).hex())
            with suppress(FileNotFoundError):  # it was not made, or its image was removed since
                os.rename(os.path.join(self.directory, mark.chain), hidden)
        if doubted:
            sync_directory(self.directory)  # before the marks go
        for mark in doubted:
            remove_if_there(mark.path)

    def stale(self) -> list[str]:
        """Return the temporaries that nobody makes any more; `remove_tree` them where ids are mapped."""
        return [
            path
            for name in self._names()
            if name.startswith(PREFIX) and _is_stale(path := os.path.join(self.directory, name))
        ]

    def chain_ids(self) -> list[str]:
        """Return the hexadecimal part of the chain ids of all snapshots, complete ones only."""
        return sorted(name for name in self._names() if len(name) == 64)

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.directory)
        except FileNotFoundError:
            return []


def _lock(fd: int) -> bool:
    """Lock a directory; False if somebody else holds it. Where locks do not exist nothing is held."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL):
            raise
    return True


def _is_stale(path: str) -> bool:
    try:
        fd = os.open(path, _OPEN)
    except PermissionError:
        return _is_old(os.lstat(path))  # its root has a foreign owner already: only age can tell
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return _is_old(os.fstat(fd))
    else:
        return True
    finally:
        os.close(fd)


def _is_old(info: os.stat_result) -> bool:
    # ctime: unlike the modification time no image can set it.
    return time.time() - info.st_ctime > UNLOCKED_AGE_S
