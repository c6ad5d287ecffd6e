"""The layers below, seen as one tree: what overlayfs shows, read without mounting anything.

Rules (kernel: Documentation/filesystems/overlayfs.rst): the topmost entry of a name counts; directories merge
down to the first that is opaque, or to a whiteout, or to something that is no directory. Both forms of
whiteouts are read (`layers.whiteout`). Read only; must run where the files' ids are mapped. Ring 2.
"""

from __future__ import annotations

import errno
import os
import stat

from layers.handles import Handle, OpenHandles
from layers.whiteout import OPAQUE_NAME, OPAQUE_VALUE, OPAQUE_XATTR, PREFIX, is_whiteout_device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


class ChainDirectory:
    """A merged directory: where it lies in each layer that has a part in it, topmost first; never empty."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Handle]) -> None:
        self.parts = parts


class ChainEntry:
    """Something that is no directory: the directory of the layer that has it, and its lstat."""

    __slots__ = ("directory", "info", "name")

    def __init__(self, directory: Handle, name: bytes, info: os.stat_result) -> None:
        self.directory = directory
        self.name = name
        self.info = info


class Chain(OpenHandles):
    """The merged tree of layers. A context manager that owns its descriptors.

    Args:
        layers: paths of the layers' directories, topmost first; may be none.
        plain_names: in the topmost one, a name that begins with `.wh.` is a name like any other: a container
            wrote it through the kernel's overlay, which knows the other form alone.
    """

    __slots__ = ("_literal", "root")

    def __init__(self, layers: Sequence[str | bytes], *, plain_names: bool = False) -> None:
        super().__init__()
        roots: list[Handle] = []
        self._literal: Handle | None = None
        self.root: ChainDirectory | None = None
        try:
            for path in layers:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
                roots.append(Handle(b"", None, fd=os.open(path, flags)))
        except OSError:
            for handle in roots:
                os.close(handle.fd)
            raise
        if roots:
            self.root = ChainDirectory(roots)
            self._literal = roots[0] if plain_names else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        for handle in self.root.parts if self.root is not None else ():
            os.close(handle.fd)
        self.root = None

    def lookup(self, directory: ChainDirectory, name: bytes) -> ChainDirectory | ChainEntry | None:
        """Return what the merged directory shows under a name."""
        parts: list[Handle] = []
        for above in directory.parts:
            fd = self.fd(above)
            info = _lstat(fd, name)
            if info is not None:
                if is_whiteout_device(info):
                    break
                if not stat.S_ISDIR(info.st_mode):
                    if not parts:
                        return ChainEntry(above, name, info)
                    break
                part = Handle(name, above)
                parts.append(part)
                if self.is_opaque(part):
                    break
            if not self._is_literal(above) and _lstat(self.fd(above), PREFIX + name) is not None:
                break
        return ChainDirectory(parts) if parts else None

    def entries(self, directory: ChainDirectory) -> dict[bytes, ChainDirectory | ChainEntry]:
        """Return all that the merged directory shows."""
        found: dict[bytes, ChainDirectory | ChainEntry] = {}
        closed: set[bytes] = set()  # names of which lower layers have no say
        for above in directory.parts:
            hidden: list[bytes] = []
            literal = self._is_literal(above)
            with os.scandir(self.fd(above)) as listing:
                for entry in listing:
                    name = os.fsencode(entry.name)
                    if name.startswith(PREFIX) and not literal:
                        hidden.append(name[len(PREFIX) :])
                    elif name not in closed:
                        self._merge(found, closed, above, name, entry)
            closed.update(hidden)
        return found

    def is_opaque(self, directory: Handle) -> bool:
        """Tell whether a layer's directory hides the ones below it."""
        fd = self.fd(directory)
        try:
            if os.getxattr(fd, OPAQUE_XATTR) == OPAQUE_VALUE:
                return True
        except OSError as exc:
            if exc.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
        return not self._is_literal(directory) and _lstat(fd, OPAQUE_NAME) is not None

    def _is_literal(self, directory: Handle) -> bool:
        """Tell whether a directory lies in the layer whose names are all plain."""
        if self._literal is None:
            return False
        while directory.parent is not None:
            directory = directory.parent
        return directory is self._literal

    def _merge(
        self,
        found: dict[bytes, ChainDirectory | ChainEntry],
        closed: set[bytes],
        above: Handle,
        name: bytes,
        entry: os.DirEntry[str],
    ) -> None:
        if not entry.is_dir(follow_symlinks=False):
            closed.add(name)
            info = _lstat(self.fd(above), name)
            if info is not None and name not in found and not is_whiteout_device(info):
                found[name] = ChainEntry(above, name, info)
            return
        part = Handle(name, above)
        try:
            opaque = self.is_opaque(part)
        except (FileNotFoundError, NotADirectoryError):
            return  # a container has removed it since the listing
        upper = found.setdefault(name, ChainDirectory([]))
        assert isinstance(upper, ChainDirectory)
        upper.parts.append(part)
        if opaque:
            closed.add(name)


class PlainTree(Chain):
    """One directory as it is, through the same interface: nothing in it is a whiteout."""

    __slots__ = ()

    def __init__(self, path: str | bytes) -> None:
        super().__init__([path])

    def entries(self, directory: ChainDirectory) -> dict[bytes, ChainDirectory | ChainEntry]:
        (above,) = directory.parts
        found: dict[bytes, ChainDirectory | ChainEntry] = {}
        with os.scandir(self.fd(above)) as listing:
            for entry in listing:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    found[name] = ChainDirectory([Handle(name, above)])
                elif (info := _lstat(self.fd(above), name)) is not None:
                    found[name] = ChainEntry(above, name, info)
        return found


def _lstat(dir_fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:  # a whiteout's prefix before a name of 252 bytes or more
            return None
        raise
