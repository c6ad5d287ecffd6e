"""What has been added, changed and deleted between two trees: the answer of `diff`, the content of a layer.

Both trees are read through `layers.chain` at the same time. With an overlay the newer one is the older one
with a layer on top, and all that lies in that layer counts as changed; where the container has a copy of the
image, what differs in kind, size, owner, mode, time, target or attributes does. A directory counts for its
own sake alone, never because its time has changed, but stands in the answer before what has changed below it.
Ring 2.
"""

from __future__ import annotations

import os
import stat

from layers.chain import ChainDirectory, ChainEntry
from layers.whiteout import OWNER_XATTR, PREFIX, may_come_from_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from layers.chain import Chain
    from layers.pack import Packer

    Item = ChainDirectory | ChainEntry

ADDED, CHANGED, DELETED = "A", "C", "D"


class Change:
    """One difference.

    Attributes:
        path: below the root, without a slash in front.
        found: what is there now; None if it was deleted.
    """

    __slots__ = ("found", "kind", "path")

    def __init__(self, kind: str, path: bytes, found: Item | None) -> None:
        self.kind = kind
        self.path = path
        self.found = found


def find_changes(
    now: Chain, before: Chain, *, layered: bool, scaffold: Container[bytes] = ()
) -> Iterator[Change]:
    """Yield all differences, directories before their content, in the order of names.

    A change's `found` can be opened until the next one is asked for.

    Args:
        layered: `now` is `before` with one more layer on top.
        scaffold: paths that the engine makes to mount on: while they are new and empty they do not count.
    """
    if now.root is None or before.root is None:
        return
    yield from _Comparison(now, before, layered=layered, scaffold=scaffold).run()


def pack_changes(changes: Iterable[Change], now: Chain, packer: Packer) -> None:
    """Write changes as a layer: what is new, and whiteouts for what is gone. `finish` is the caller's."""
    for change in changes:
        found, path = change.found, change.path
        if path.rpartition(b"/")[2].startswith(PREFIX):
            packer.note(path, "has a name that means a deletion in layers")
        elif found is None:
            packer.add_whiteout(path)
        elif isinstance(found, ChainDirectory):
            packer.add_directory(now, found, path)
        else:
            packer.add_entry(now, found, path)


class _Frame:
    """A directory whose content is being compared; `pending` is told once something below has changed."""

    __slots__ = ("before", "now", "path", "pending", "rest")

    def __init__(
        self, now: ChainDirectory, before: ChainDirectory | None, path: bytes, pending: Change | None
    ) -> None:
        self.now = now
        self.before = before
        self.path = path
        self.pending = pending
        self.rest: Iterator[tuple[bytes, Item | None, Item | None]] = iter(())


class _Comparison:
    def __init__(self, now: Chain, before: Chain, *, layered: bool, scaffold: Container[bytes]) -> None:
        self.now = now
        self.before = before
        self.layered = layered
        self.scaffold = scaffold
        self.stack: list[_Frame] = []

    def run(self) -> Iterator[Change]:
        assert self.now.root is not None
        self._enter(self.now.root, self.before.root, b"", None)
        while self.stack:
            frame = self.stack[-1]
            item = next(frame.rest, None)
            if item is None:
                self._leave()
                continue
            name, found, old = item
            path = frame.path + b"/" + name if frame.path else name
            change = self._compare(frame, path, found, old)
            if change is not None:
                yield from self._told()
                yield change

    def _compare(self, frame: _Frame, path: bytes, found: Item | None, old: Item | None) -> Change | None:
        """Return what has changed under a name; directories are entered, and wait for what is in them."""
        if found is None:
            return Change(DELETED, path, None)
        if self.layered and old is not None and not _is_on_top(found, frame.now):
            return None
        change = Change(CHANGED if old is not None else ADDED, path, found)
        if isinstance(found, ChainEntry):
            if old is None:
                return None if path in self.scaffold and found.info.st_size == 0 else change
            if self.layered or not isinstance(old, ChainEntry):
                return change
            return None if self._is_same_entry(found, old) else change
        if isinstance(old, ChainDirectory):
            waits = self._is_same_directory(found, old)
        else:
            waits = old is None and path in self.scaffold
            old = None
        self._enter(found, old, path, change if waits else None)
        return None if waits else change

    def _told(self) -> Iterator[Change]:
        """Yield the directories on the way that have not been told yet."""
        for frame in self.stack:
            if frame.pending is not None:
                change, frame.pending = frame.pending, None
                yield change

    def _enter(
        self, now: ChainDirectory, before: ChainDirectory | None, path: bytes, pending: Change | None
    ) -> None:
        frame = _Frame(now, before, path, pending)
        frame.rest = self._pairs(frame)
        self.stack.append(frame)

    def _leave(self) -> None:
        frame = self.stack.pop()
        for chain, directory in ((self.now, frame.now), (self.before, frame.before)):
            for part in directory.parts if directory is not None else ():
                if part.parent is not None:
                    chain.forget(part)

    def _pairs(self, frame: _Frame) -> Iterator[tuple[bytes, Item | None, Item | None]]:
        """Yield (name, what is there now, what was there before)."""
        try:
            now = self.now.entries(frame.now)
        except (FileNotFoundError, NotADirectoryError):
            return  # the container has removed it since its parent was read
        before = self.before.entries(frame.before) if frame.before is not None else {}
        for name in sorted(now.keys() | before.keys()):
            yield name, now.get(name), before.get(name)

    def _is_same_directory(self, found: ChainDirectory, old: ChainDirectory) -> bool:
        try:
            fd = self.now.fd(found.parts[0])
        except (FileNotFoundError, NotADirectoryError):
            return True
        old_fd = self.before.fd(old.parts[0])
        same = _traits(os.fstat(fd)) == _traits(os.fstat(old_fd))
        return same and _xattrs(fd) == _xattrs(old_fd)

    def _is_same_entry(self, found: ChainEntry, old: ChainEntry) -> bool:
        if _traits(found.info) != _traits(old.info) or found.info.st_mtime_ns != old.info.st_mtime_ns:
            return False
        try:
            fd = self.now.fd(found.directory)
            old_fd = self.before.fd(old.directory)
            if stat.S_ISLNK(found.info.st_mode):
                return os.readlink(found.name, dir_fd=fd) == os.readlink(old.name, dir_fd=old_fd)
            return _xattrs(fd, found.name) == _xattrs(old_fd, old.name)
        except OSError:
            return False


def _is_on_top(found: Item, parent: ChainDirectory) -> bool:
    """Tell whether something lies in the topmost layer, as the directory that it is in does."""
    top = parent.parts[0]
    if isinstance(found, ChainEntry):
        return found.directory is top
    return found.parts[0].parent is top


def _traits(info: os.stat_result) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    return info.st_mode, info.st_uid, info.st_gid, info.st_rdev, size


def _xattrs(fd: int, name: bytes = b".") -> dict[bytes, bytes]:
    """Return the attributes of something in a directory, without opening it."""
    path = b"/proc/self/fd/%d/%s" % (fd, name)
    try:
        names = [os.fsencode(each) for each in os.listxattr(path, follow_symlinks=False)]
        return {
            each: os.getxattr(path, each, follow_symlinks=False)
            for each in names
            if each == OWNER_XATTR or may_come_from_image(each)
        }
    except OSError:  # a file system without them, or one that has them for root only
        return {}
