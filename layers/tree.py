"""The directories of the layer that is being extracted: resolves member names to them, makes missing ones.

Only directories are kept in memory; links are read from the file system when a name passes through one. All
resolution happens here, in the manner of a chroot: absolute links start at the root, `..` stops there, so
that there is no path that the kernel could resolve to something outside (CVE-2021-29136, CVE-2020-10696 and
their kin). Ring 2.
"""

from __future__ import annotations

import errno
import os
import stat

from layers.errors import InvalidLayer
from layers.handles import Handle, OpenHandles
from layers.removal import remove_entry
from layers.whiteout import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.chain import ChainDirectory

MAX_LINKS = 255
"""Symbolic links followed for one name (umoci's bound; the kernel's is 40)."""
MAX_DEPTH = 2048
"""Levels of directories: as many as PATH_MAX has room for; images in use stay below 50."""
MAX_DIRECTORIES = 2_000_000
"""Each costs memory until the layer is done (about 600 bytes)."""
_MAX_CACHED = 512


class Metadata:
    """What a directory gets when the layer is done."""

    __slots__ = ("gid", "mode", "mtime_ns", "uid", "xattrs")

    def __init__(
        self, mode: int, uid: int, gid: int, *, mtime_ns: int, xattrs: dict[bytes, bytes] | None = None
    ) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.xattrs = xattrs


class Directory(Handle):
    """A directory of the layer.

    Attributes:
        metadata: from its member; None while it is only implied by names below it.
        real: a member lies in it or is it; else it was made for a whiteout or on the way through `..`.
        fresh: what the layers below have under this name was deleted or replaced before it was made.
        opaque: the content of the layers below is hidden.
        covered: so is that of a directory above it.
        whiteouts: names deleted in it; written to disk when the layers below are known.
        deferred: hard links, name to target, whose targets are not in this layer; not on disk yet.
        unsettled: it, or a directory below it, needs the layers below to be finished.
        lower: its counterpart in the layers below, once asked for.
    """

    __slots__ = (
        "children",
        "covered",
        "deferred",
        "depth",
        "fresh",
        "lower",
        "lower_known",
        "metadata",
        "opaque",
        "real",
        "unsettled",
        "whiteouts",
    )

    def __init__(self, name: bytes, parent: Directory | None, *, fd: int = -1) -> None:
        super().__init__(name, parent, fd=fd)
        self.children: dict[bytes, Directory] = {}
        self.whiteouts: set[bytes] | None = None
        self.deferred: dict[bytes, bytes] | None = None
        self.metadata: Metadata | None = None
        self.real = self.fresh = self.opaque = self.covered = False
        self.unsettled = self.lower_known = False
        self.lower: ChainDirectory | None = None
        self.depth: int = 0 if parent is None else parent.depth + 1

    def mark_real(self) -> None:
        """Note that a member lies here, and so in every directory above."""
        directory: Directory | None = self
        while directory is not None and not directory.real:
            directory.real = True
            directory = directory.parent

    def mark_unsettled(self) -> None:
        """Note that the layers below are needed to finish this directory."""
        directory: Directory | None = self
        while directory is not None and not directory.unsettled:
            directory.unsettled = True
            directory = directory.parent


class Tree(OpenHandles):
    """The layer's directories.

    Args:
        root_fd: an empty directory that nobody else uses; stays the caller's.
    """

    __slots__ = ("_cache", "count", "root")

    def __init__(self, root_fd: int) -> None:
        super().__init__()
        self.root = Directory(b"", None, fd=root_fd)
        self.root.real = True
        self.count = 1
        self._cache: dict[bytes, Directory] = {}

    def locate(self, name: bytes) -> tuple[Directory, bytes]:
        """Split a member's name into its directory, made if missing, and its last component.

        Links on the way are followed inside the root, the last component is not. `..` in the name itself is
        taken lexically first, as umoci and Docker do.

        Returns:
            (root, b"") for the root itself.
        Raises:
            NotADirectoryError: the way leads through something that is neither directory nor link.
            InvalidLayer: it leads through too many links.
        """
        parent, _, last = name.rpartition(b"/")
        if last in (b"", b".", b".."):
            components = clean(name)
            if not components:
                return self.root, b""
            last = components.pop()
            return self.resolve(components), last
        directory = self._cache.get(parent)
        if directory is None:
            directory = self.resolve(clean(parent))
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[parent] = directory
        return directory, last

    def resolve(self, components: list[bytes]) -> Directory:
        """Walk from the root, following links, making directories that are missing."""
        directory = self.root
        todo = components[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                directory = directory.parent or directory
                continue
            child = directory.children.get(part)
            if child is None:
                target = self.enter(directory, part)
                if isinstance(target, bytes):
                    links += 1
                    if links > MAX_LINKS:
                        raise InvalidLayer(
                            "cannot extract entry: too many symbolic links on the way", entry=target
                        )
                    if target.startswith(b"/"):
                        directory = self.root
                    todo += link_components(target)[::-1]
                    continue
                child = target
            directory = child
        return directory

    def find(self, components: list[bytes]) -> Directory | None:
        """Walk as `resolve` does, but return None where that would make a directory or fail."""
        directory = self.root
        todo = components[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                directory = directory.parent or directory
                continue
            child = directory.children.get(part)
            if child is None:
                target = read_link(self.fd(directory), part)
                links += 1
                if target is None or links > MAX_LINKS:
                    return None
                if target.startswith(b"/"):
                    directory = self.root
                todo += link_components(target)[::-1]
                continue
            directory = child
        return directory

    def enter(self, directory: Directory, name: bytes) -> Directory | bytes:
        """Make a missing directory on the way to a member, or return the target of the link in its place.

        Raises:
            NotADirectoryError: something else is in its place.
        """
        if name.startswith(PREFIX):
            raise InvalidLayer(
                "cannot extract entry: a whiteout stands in the place of a directory", entry=name
            )
        if directory.deferred and name in directory.deferred:
            raise InvalidLayer("cannot extract entry: its parent is a hard link", entry=name)
        child = self.make(directory, name)
        if child is not None:
            child.mark_unsettled()
            return child
        target = read_link(self.fd(directory), name)
        if target is None:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        return target

    def make(self, directory: Directory, name: bytes) -> Directory | None:
        """Make a directory, open to its owner alone until the layer is done; None if the name is taken."""
        if directory.depth >= MAX_DEPTH:
            raise InvalidLayer(
                f"cannot extract entry: more than {MAX_DEPTH} levels of directories", entry=name
            )
        if self.count >= MAX_DIRECTORIES:
            raise InvalidLayer(f"cannot extract layer: more than {MAX_DIRECTORIES} directories")
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd(directory))
        except FileExistsError:
            return None
        self.count += 1
        child = Directory(name, directory)
        child.fresh = child.opaque = directory.whiteouts is not None and name in directory.whiteouts
        if directory.deferred and directory.deferred.pop(name, None) is not None:
            child.fresh = child.opaque = True
        directory.children[name] = child
        return child

    def exists(self, directory: Directory, name: bytes) -> bool:
        """Tell whether this layer itself has an entry of that name."""
        if name in directory.children:
            return True
        try:
            os.stat(name, dir_fd=self.fd(directory), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def clear(self, directory: Directory, name: bytes) -> None:
        """Remove what an earlier member of this layer put under a name, be it a whole tree."""
        self._cache.clear()
        child = directory.children.pop(name, None)
        if child is None:
            os.unlink(name, dir_fd=self.fd(directory))
            return
        self.detach(child)
        remove_entry(self.fd(directory), name)

    def detach(self, top: Directory) -> None:
        """Forget a directory and all below it, which have gone or are about to go from the disk."""
        for directory in list(walk(top)):
            self.forget(directory)
            if directory.deferred is not None:
                directory.deferred.clear()
            self.count -= 1

    def drop_cache(self) -> None:
        """Forget resolved names; needed after a change that can lead names elsewhere."""
        self._cache.clear()


def walk(top: Directory) -> Iterator[Directory]:
    """Yield a directory and all below it, parents first; children are looked up after their parent's turn."""
    todo = [top]
    while todo:
        directory = todo.pop()
        yield directory
        todo += directory.children.values()


def clean(name: bytes) -> list[bytes]:
    """Return the components of a member's name, taken lexically and relative to the root."""
    components: list[bytes] = []
    for part in name.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            components.append(part)
        elif components:
            components.pop()
    return components


def link_components(target: bytes) -> list[bytes]:
    """Return the components of a link's target; `..` stays, for links may stand before it."""
    return [part for part in target.split(b"/") if part not in (b"", b".")]


def read_link(dir_fd: int, name: bytes) -> bytes | None:
    """Return the target of a symbolic link; None if there is none under that name."""
    try:
        info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return os.readlink(name, dir_fd=dir_fd) if stat.S_ISLNK(info.st_mode) else None
