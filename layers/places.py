"""The directories of a tree that exists already and that others may change: paths, resolved by ourselves.

One component at a time, below a descriptor, never through a link: a link either leads on inside the root, as
in a chroot, or is refused. So a container that swaps a directory for a link at the right moment can make a
step fail, but never lead it out of the root. `layers.tree` is the same for a tree that nobody else knows of.
Ring 2.
"""

from __future__ import annotations

import errno
import os
import stat

from layers.errors import LayersError
from layers.handles import Handle, OpenHandles
from layers.tree import MAX_DEPTH, MAX_DIRECTORIES, MAX_LINKS, link_components, read_link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.tree import Metadata


class Place(Handle):
    """A directory below the root.

    Attributes:
        made: it was not there before.
        metadata: what it gets in the end; None leaves it as it is.
    """

    __slots__ = ("children", "depth", "made", "metadata")

    def __init__(self, name: bytes, parent: Place | None, *, fd: int = -1) -> None:
        super().__init__(name, parent, fd=fd)
        self.children: dict[bytes, Place] = {}
        self.made = False
        self.metadata: Metadata | None = None
        self.depth: int = 0 if parent is None else parent.depth + 1


class Found:
    """Where a path leads: a name in a directory, and what is there; `name` is b"" for the root itself.

    Attributes:
        info: lstat of it; None where nothing is.
    """

    __slots__ = ("directory", "info", "name")

    def __init__(self, directory: Place, name: bytes, info: os.stat_result | None) -> None:
        self.directory = directory
        self.name = name
        self.info = info

    @property
    def is_directory(self) -> bool:
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)


class Places(OpenHandles):
    """Directories that have been walked through; `close` when done.

    Args:
        root_fd: stays the caller's.
        follow: links on the way lead on inside the root; else they are no directories.
    """

    __slots__ = ("_count", "_follow", "root")

    def __init__(self, root_fd: int, *, follow: bool) -> None:
        super().__init__()
        self.root = Place(b"", None, fd=root_fd)
        self._follow = follow
        self._count = 0

    def find(self, path: bytes, *, follow: bool = True) -> Found:
        """Follow a path from the root to its end.

        Args:
            follow: if its end is a link, go on; else that link is what is found.
        Raises:
            OSError: ENOENT or ENOTDIR on the way to the last component, ELOOP.
        """
        components = link_components(path)
        for _ in range(MAX_LINKS):
            if not components or components[-1] == b"..":
                return self._found(self.resolve(components, start=self.root, make=False))
            *way, name = components
            directory = self.resolve(way, start=self.root, make=False)
            info = lstat(self.fd(directory), name)
            if info is None or not follow or not stat.S_ISLNK(info.st_mode):
                return Found(directory, name, info)
            target = os.readlink(name, dir_fd=self.fd(directory))
            here = [] if target.startswith(b"/") else link_components(directory.path())
            components = here + link_components(target)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def enter(self, found: Found) -> Place:
        """Return the directory that was found.

        Raises:
            NotADirectoryError: it is none.
        """
        if not found.name:
            return found.directory
        step = self._step(found.directory, found.name, make=False)
        if isinstance(step, Place):
            return step
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), found.name)

    def resolve(self, components: list[bytes], *, start: Place, make: bool) -> Place:
        """Walk down from a directory, with `make` making what is missing."""
        directory = start
        todo = components[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if name == b"..":
                directory = directory.parent or directory
                continue
            step = self._step(directory, name, make=make)
            if isinstance(step, Place):
                directory = step
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            if step.startswith(b"/"):
                directory = self.root
            todo += link_components(step)[::-1]
        return directory

    def child(self, directory: Place, name: bytes) -> Place:
        """Return a directory below another, which need not exist yet.

        Raises:
            LayersError: the tree is too deep or too large to be held.
        """
        found = directory.children.get(name)
        if found is not None:
            return found
        self._count += 1
        if directory.depth >= MAX_DEPTH or self._count > MAX_DIRECTORIES:
            raise LayersError(
                f"cannot unpack: more than {MAX_DEPTH} levels of directories, or {MAX_DIRECTORIES} in all",
                on=os.fsdecode(directory.path()[:200]),
            )
        return Place(name, directory)

    def _step(self, directory: Place, name: bytes, *, make: bool) -> Place | bytes:
        """Return a directory below another, or the target of the link in its place where links lead on."""
        child = self.child(directory, name)
        try:
            self.fd(child)
        except NotADirectoryError:
            target = read_link(self.fd(directory), name) if self._follow else None
            if target is None:
                raise
            return target
        except FileNotFoundError:
            if not make:
                raise
            os.mkdir(name, 0o755, dir_fd=self.fd(directory))
            child.made = True
        directory.children[name] = child
        return child

    def _found(self, directory: Place) -> Found:
        info = os.fstat(self.fd(directory))
        parent = directory.parent
        return Found(directory, b"", info) if parent is None else Found(parent, directory.name, info)


def lstat(dir_fd: int, name: bytes) -> os.stat_result | None:
    """Return what is under a name, None for nothing."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
