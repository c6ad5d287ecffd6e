"""Directories that a layer only implies, where the layers below have a symbolic link under their name.

`/lib` is a link to `usr/lib` in the lowest layer, a layer above has the member `lib/x` and none for `lib`:
unpacked into one directory after the other, `x` lands in `usr/lib`. The worker makes a directory `lib`, for
it may not know the layers below yet; here its content moves to where the link points, before the directory
could hide the link. Where content meets content of that place, the moved one stays. Ring 2.
"""

from __future__ import annotations

import os
import stat

from layers.chain import ChainDirectory, ChainEntry
from layers.errors import InvalidLayer
from layers.tree import MAX_LINKS, link_components, read_link, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.chain import Chain
    from layers.tree import Directory, Tree

MAX_PASSES = 64
"""A pass moves all that is found; the next one is for links below what was moved."""


class Relocator:
    """Resolves names in the merged view of this layer's tree and the layers below it.

    Attributes:
        deferred: hard links of directories that were moved, in their new places.
    """

    def __init__(self, tree: Tree, chain: Chain) -> None:
        self.tree = tree
        self.chain = chain
        self.deferred: list[tuple[Directory, bytes]] = []

    def run(self) -> None:
        """Move what must be moved.

        Raises:
            InvalidLayer: the links lead nowhere, or something below is neither directory nor link.
        """
        if self.chain.root is None:
            return
        for _ in range(MAX_PASSES):
            if not self._pass():
                return
        raise InvalidLayer("cannot extract layer: too many symbolic links below its directories")

    def lower(self, directory: Directory) -> ChainDirectory | None:
        """Return the directory of the layers below that this one merges with or replaces, None if none."""
        unknown: list[Directory] = []
        each: Directory | None = directory
        while each is not None and not each.lower_known:
            unknown.append(each)
            each = each.parent
        for each in reversed(unknown):
            if each.parent is None:
                each.lower = self.chain.root
            else:
                found = None if each.fresh else self.below(each.parent, each.name)
                each.lower = found if isinstance(found, ChainDirectory) else None
            each.lower_known = True
        return directory.lower

    def below(self, directory: Directory, name: bytes) -> ChainDirectory | ChainEntry | None:
        """Return what the layers below show under a name, whiteouts of this layer's directory disregarded."""
        lower = self.lower(directory)
        if lower is None or directory.opaque:
            return None
        return self.chain.lookup(lower, name)

    def resolve(self, start: Directory, target: bytes) -> Directory:
        """Walk to a directory in the merged view, following links, making it in this layer if missing."""
        directory = self.tree.root if target.startswith(b"/") else start
        todo = link_components(target)[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                directory = directory.parent or directory
                continue
            step = self._step(directory, part)
            if isinstance(step, bytes):
                links += 1
                if links > MAX_LINKS:
                    raise InvalidLayer("cannot extract entry: too many symbolic links on the way", entry=step)
                if step.startswith(b"/"):
                    directory = self.tree.root
                todo += link_components(step)[::-1]
            else:
                directory = step
        return directory

    def _step(self, directory: Directory, name: bytes) -> Directory | bytes:
        """Return the child directory, made if missing, or the target of the link in its place."""
        child = directory.children.get(name)
        if child is not None and (child.metadata is not None or child.fresh):
            return child
        if child is None:
            target = read_link(self.tree.fd(directory), name)
            if target is not None:
                return target
        hidden = directory.whiteouts is not None and name in directory.whiteouts
        found = None if hidden else self.below(directory, name)
        if isinstance(found, ChainEntry):
            return self._link_target(found)
        if child is not None:
            return child
        try:
            return self.tree.enter(directory, name)
        except NotADirectoryError as exc:
            raise InvalidLayer(
                "cannot extract entry: a link on its way leads through something that is no directory",
                entry=directory.path() + b"/" + name,
            ) from exc

    def _link_target(self, entry: ChainEntry) -> bytes:
        if not stat.S_ISLNK(entry.info.st_mode):
            raise InvalidLayer(
                "cannot extract entry: its parent is not a directory in the layers below", entry=entry.name
            )
        return os.readlink(entry.name, dir_fd=self.chain.fd(entry.directory))

    def _pass(self) -> bool:
        """Look at all implied directories once; True if something was moved."""
        moved = False
        for directory in walk(self.tree.root):
            if not directory.unsettled:
                continue
            for child in list(directory.children.values()):
                if child.metadata is not None or child.fresh:
                    continue
                found = self.below(directory, child.name)
                if not isinstance(found, ChainEntry):
                    continue
                if not child.real and not stat.S_ISLNK(found.info.st_mode):
                    self.tree.clear(directory, child.name)  # a whiteout below something without entries
                    continue
                target = self.resolve(directory, self._link_target(found))
                self._move(child, target)
                moved = True
        return moved

    def _move(self, source: Directory, target: Directory) -> None:
        pairs = [(source, target)]
        emptied: list[Directory] = []
        moved: dict[Directory, Directory] = {}
        while pairs:
            old, new = pairs.pop()
            moved[old] = new
            self._move_notes(old, new)
            for name in list(map(os.fsencode, os.listdir(self.tree.fd(old)))):
                child, other = old.children.get(name), new.children.get(name)
                if child is not None and other is not None:
                    other = moved.get(other, other)  # the link may lead to a directory that it lies in
                    other.metadata = child.metadata or other.metadata
                    pairs.append((child, other))
                else:
                    self._move_entry(old, new, name)
            emptied.append(old)
        for directory in reversed(emptied):
            assert directory.parent is not None
            self.tree.forget(directory)
            del directory.parent.children[directory.name]
            os.rmdir(directory.name, dir_fd=self.tree.fd(directory.parent))
            self.tree.count -= 1

    def _move_notes(self, old: Directory, new: Directory) -> None:
        new.opaque = new.opaque or old.opaque
        new.mark_unsettled()
        if old.real:
            new.mark_real()
        if old.whiteouts:
            new.whiteouts = (new.whiteouts or set()) | old.whiteouts
        if old.deferred:
            new.deferred = (new.deferred or {}) | old.deferred
            self.deferred += [(new, name) for name in old.deferred]
            old.deferred = None

    def _move_entry(self, old: Directory, new: Directory, name: bytes) -> None:
        child = old.children.get(name)
        old_fd, new_fd = self.tree.fd(old), self.tree.fd(new)
        if _is_within(old, new.children.get(name)) or _is_within(new, child):
            raise InvalidLayer(
                "cannot extract entry: it would replace a directory that its own way leads through",
                entry=new.path() + b"/" + name,
            )
        if name in new.children or (child is not None and self.tree.exists(new, name)):
            self.tree.clear(new, name)
            new_fd = self.tree.fd(new)
            if child is not None:
                child.fresh = child.opaque = True
        os.rename(name, name, src_dir_fd=old_fd, dst_dir_fd=new_fd)
        if child is None:
            return
        del old.children[name]
        new.children[name] = child
        child.parent = new
        for directory in walk(child):
            directory.lower_known = False


def _is_within(directory: Directory, top: Directory | None) -> bool:
    """Tell whether a directory is `top` or lies below it."""
    each: Directory | None = directory if top is not None else None
    while each is not None and each is not top:
        each = each.parent
    return each is not None
