"""Hard links of a layer to files of the layers below.

The file is copied into this layer under its own name, as overlayfs does when a container makes such a link,
and under all other names that the layers below have for it, so that they stay one file. Ring 2.
"""

from __future__ import annotations

import os

from layers.chain import ChainEntry
from layers.copyup import copy_entry
from layers.effects import make_hard_link
from layers.errors import InvalidLayer
from layers.tree import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.chain import Chain, ChainDirectory
    from layers.relocate import Relocator
    from layers.tree import Directory, Tree


class CrossLinker:
    """Makes the links that the extractor deferred.

    Args:
        relocator: has run; resolves names in the merged view.
    """

    def __init__(self, tree: Tree, chain: Chain, relocator: Relocator) -> None:
        self.tree = tree
        self.chain = chain
        self.relocator = relocator

    def link(self, directory: Directory, name: bytes) -> None:
        """Make one deferred link, unless a later member has replaced it.

        A member of this layer under the target's name counts before the file below, though it came after the
        link.

        Raises:
            InvalidLayer: the target does not exist, or is a directory.
        """
        target = directory.deferred.pop(name, None) if directory.deferred else None
        if target is None:
            return
        components = clean(target)
        last = components.pop()
        parent = self.relocator.resolve(self.tree.root, b"/".join(components))
        if not self.tree.exists(parent, last):
            below = self.relocator.below(parent, last)
            if not isinstance(below, ChainEntry):
                raise _bad_link(
                    directory, name, target, "does not exist" if below is None else "is a directory"
                )
            self._copy_up(parent, last, below)
        elif last in parent.children:
            raise _bad_link(directory, name, target, "is a directory")
        if not self.tree.exists(directory, name):  # it does if the target is itself, by way of a link
            make_hard_link(self.tree.fd(parent), last, self.tree.fd(directory), name)

    def _copy_up(self, parent: Directory, name: bytes, below: ChainEntry) -> None:
        parent.mark_real()
        copy_entry(self.chain.fd(below.directory), below.name, self.tree.fd(parent), name)
        if below.info.st_nlink == 1:
            return
        for components in list(self._names_below(below)):
            last = components.pop()
            if self._shows(components, last):
                other = self.relocator.resolve(self.tree.root, b"/".join(components))
                other.mark_real()
                make_hard_link(self.tree.fd(parent), name, self.tree.fd(other), last)

    def _names_below(self, wanted: ChainEntry) -> Iterator[list[bytes]]:
        """Yield the paths of all names that the layers below have for a file. Cost: reads all directories."""
        assert self.chain.root is not None
        todo: list[tuple[ChainDirectory, list[bytes]]] = [(self.chain.root, [])]
        while todo:
            directory, path = todo.pop()
            for name, found in self.chain.entries(directory).items():
                if not isinstance(found, ChainEntry):
                    todo.append((found, [*path, name]))
                elif os.path.samestat(found.info, wanted.info):
                    yield [*path, name]

    def _shows(self, components: list[bytes], last: bytes) -> bool:
        """Tell whether a file of the layers below is still to be seen, this layer on top."""
        directory = self.tree.root
        for part in components:
            if directory.opaque or (directory.whiteouts and part in directory.whiteouts):
                return False
            child = directory.children.get(part)
            if child is None:
                return not self.tree.exists(directory, part)
            if child.fresh:
                return False
            directory = child
        if directory.opaque or last in (directory.whiteouts or ()) or last in (directory.deferred or ()):
            return False
        return not self.tree.exists(directory, last)


def _bad_link(directory: Directory, name: bytes, target: bytes, reason: str) -> InvalidLayer:
    return InvalidLayer(
        f"cannot extract hard link: its target {os.fsdecode(target)!r} {reason}",
        entry=directory.path() + b"/" + name,
    )
