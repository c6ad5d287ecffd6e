"""Finish a layer once the layers below it are known.

The merged tree becomes the one that unpacking the layers one after the other into a single directory would
give (what umoci and Docker's vfs driver do).

    implied directories   take over what the directory below has; if there is a link below, what was put under
    the
                          name moves to where the link points
    deferred hard links   are made to a copy of the file below ("copy-up"), as overlayfs itself would
    whiteouts             are written where they hide something; overlayfs shows the others as broken entries
    directory metadata    last of all, deepest first

Ring 2.
"""

from __future__ import annotations

import errno
import os
import stat

from layers.copyup import read_xattrs
from layers.crosslink import CrossLinker
from layers.effects import finish_directory
from layers.errors import InvalidLayer
from layers.relocate import Relocator
from layers.tree import Directory, Metadata, walk
from layers.whiteout import (
    FILES,
    OPAQUE_NAME,
    OPAQUE_VALUE,
    OPAQUE_XATTR,
    OVERLAY,
    OWNER_XATTR,
    PREFIX,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.chain import Chain, ChainDirectory
    from layers.effects import Owners
    from layers.extract import Extractor

_CONTRADICTIONS = (errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY, errno.EISDIR, errno.ELOOP, errno.EMLINK)
_NO_OVERLAY_FORM = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)


def needs_parents(extractor: Extractor) -> bool:
    """Tell whether the layers below have a say in this layer's tree."""
    root = extractor.tree.root
    return root.unsettled or root.metadata is None


class Finalizer:
    """Finishes one layer.

    Args:
        extractor: has run.
        chain: the layers below; stays the caller's.

    Attributes:
        form: how deletions were written: OVERLAY, or FILES if the file system refused the former.
    """

    def __init__(self, extractor: Extractor, chain: Chain) -> None:
        self.tree = extractor.tree
        self.owners: Owners = extractor.owners
        self.chain = chain
        self.form = OVERLAY
        self._deferred = extractor.deferred
        self._relocator = Relocator(self.tree, chain)

    def run(self) -> None:
        """Finish the tree.

        Raises:
            InvalidLayer: the layer does not fit onto the layers below.
            OSError: the disk's fault.
        """
        try:
            self._run()
        except OSError as exc:
            if exc.errno not in _CONTRADICTIONS:
                raise
            entry = exc.filename if isinstance(exc.filename, bytes) else b""
            raise InvalidLayer(
                f"cannot extract layer: its entries contradict those below it: {exc.strerror}",
                entry=entry,
            ) from exc

    def _run(self) -> None:
        self.tree.drop_cache()
        self._relocator.run()
        linker = CrossLinker(self.tree, self.chain, self._relocator)
        for directory, name in self._deferred + self._relocator.deferred:
            linker.link(directory, name)
        for directory in walk(self.tree.root):
            if directory.unsettled or directory.parent is None:
                self._settle(directory)
        for directory in reversed(list(walk(self.tree.root))):
            self._finish(directory)

    def _settle(self, directory: Directory) -> None:
        parent = directory.parent
        if parent is not None and parent.whiteouts and directory.name in parent.whiteouts:
            directory.opaque = True
        directory.covered = parent is not None and (parent.covered or parent.opaque)
        lower = self._relocator.lower(directory)
        if directory.metadata is None:
            if lower is not None:
                directory.metadata = self._inherit(lower)
            elif directory.real:
                directory.metadata = Metadata(0o755, 0, 0, mtime_ns=0)
            else:  # made for a whiteout of something that is not there
                assert parent is not None
                self.tree.clear(parent, directory.name)
                directory.children.clear()
                return
        self._write_whiteouts(directory, lower)

    def _write_whiteouts(self, directory: Directory, lower: ChainDirectory | None) -> None:
        names: set[bytes] = set()
        if directory.parent is None and directory.opaque and lower is not None:
            # overlayfs ignores an opaque root directory: all that lies in it is hidden one by one instead.
            names.update(self.chain.entries(lower))
            for child in directory.children.values():
                child.opaque = True
        elif directory.whiteouts and lower is not None and not (directory.opaque or directory.covered):
            names = {name for name in directory.whiteouts if self.chain.lookup(lower, name) is not None}
        for name in directory.whiteouts or ():
            if name in directory.children:
                directory.children[name].opaque = True
        for name in sorted(names):
            empty = directory.children.get(name)
            if empty is not None and not empty.real:  # made for whiteouts of what is hidden as a whole
                self.tree.clear(directory, name)
            if not self.tree.exists(directory, name):
                self._write_whiteout(self.tree.fd(directory), name)

    def _write_whiteout(self, dir_fd: int, name: bytes) -> None:
        if self.form == OVERLAY:
            try:
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)
                return
            except OSError as exc:
                if exc.errno not in _NO_OVERLAY_FORM:
                    raise
                self.form = FILES
        _touch(dir_fd, PREFIX + name)

    def _finish(self, directory: Directory) -> None:
        fd = self.tree.fd(directory)
        if directory.opaque and self.chain.root is not None and directory.parent is not None:
            try:
                os.setxattr(fd, OPAQUE_XATTR, OPAQUE_VALUE)
            except OSError as exc:
                if exc.errno not in _NO_OVERLAY_FORM:
                    raise
                self.form = FILES
                _touch(fd, OPAQUE_NAME)
        assert directory.metadata is not None
        try:
            finish_directory(fd, directory.metadata, owners=self.owners)
        except InvalidLayer as exc:
            exc.entry = directory.path()
            raise
        self.tree.forget(directory)

    def _inherit(self, lower: ChainDirectory) -> Metadata:
        """Return the metadata of the directory that the layers below show."""
        fd = self.chain.fd(lower.parts[0])
        info = os.fstat(fd)
        xattrs = read_xattrs(fd)
        uid, gid = self.owners.read(info, xattrs.pop(OWNER_XATTR, b""))
        return Metadata(stat.S_IMODE(info.st_mode), uid, gid, mtime_ns=info.st_mtime_ns, xattrs=xattrs)


def _touch(dir_fd: int, name: bytes) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=dir_fd))
