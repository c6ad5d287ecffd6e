"""Unpack the members of one layer into an empty directory, in overlay form.

First of two steps: all that can be done without the layers below. What depends on them (directories implied
by names, hard links to their files, whiteouts) waits in the tree for `layers.finalize`. The order of members
counts as in umoci: a later one replaces an earlier one of the same name; a whiteout never hides an entry of
its own layer. Ring 2.
"""

from __future__ import annotations

import contextlib
import errno
import os

from layers.effects import make_fifo, make_file, make_hard_link, make_link, prepare_root
from layers.errors import InvalidLayer
from layers.tarheader import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    FIFO,
    LINK,
    REGULAR,
    SYMLINK,
)
from layers.tree import Directory, Metadata, Tree, clean
from layers.whiteout import PREFIX, parse_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.effects import Owners
    from layers.tarcodec import TarReader
    from layers.tarheader import Member

_ENTRY_FAULTS = {
    errno.ENAMETOOLONG: "a name or link target is too long",
    errno.ENOENT: "an empty name or link target, or another process removed its directory",
    errno.ENOTDIR: "its parent is not a directory",
    errno.ELOOP: "its parent is not a directory",
    errno.EFBIG: "it is larger than the file system allows",
    errno.EILSEQ: "the file system refuses its name",
    errno.EMLINK: "it has more hard links than the file system allows",
}


class Extractor:
    """Extracts one layer.

    Args:
        root_fd: an empty directory; stays the caller's. The umask must be 0.
        owners: how owners are given.
    """

    def __init__(self, root_fd: int, *, owners: Owners) -> None:
        prepare_root(root_fd)
        self.tree = Tree(root_fd)
        self.owners = owners
        self.deferred: list[tuple[Directory, bytes]] = []

    def run(self, reader: TarReader) -> None:
        """Extract all members.

        Raises:
            InvalidLayer: a member is malformed or impossible; `entry` names it.
            OSError: the disk's fault (ENOSPC, EDQUOT, EIO…).
        """
        while (member := reader.next_member()) is not None:
            try:
                self.extract(member, reader)
            except InvalidLayer as exc:
                exc.entry = member.name
                raise
            except OSError as exc:
                reason = _ENTRY_FAULTS.get(exc.errno or 0)
                if reason is None:
                    raise
                raise InvalidLayer(f"cannot extract entry: {reason}", entry=member.name) from exc

    def extract(self, member: Member, reader: TarReader) -> None:
        """Extract one member; its data is what the reader gives next."""
        typeflag = member.typeflag
        name = member.name
        if typeflag == DIRECTORY or name.endswith(b"/"):
            name = name.rstrip(b"/")
        try:
            directory, last = self.tree.locate(name)
        except NotADirectoryError:
            if name.rpartition(b"/")[2].startswith(PREFIX):
                return  # a whiteout of what this layer itself replaced
            raise
        if not last:
            self._root(member)
        elif last.startswith(PREFIX):
            self._whiteout(directory, last)
        elif typeflag == DIRECTORY:
            self._directory(directory, last, member)
        else:
            if not directory.real:
                directory.mark_real()
            if directory.deferred:
                directory.deferred.pop(last, None)
            try:
                self._create(directory, last, member, reader)
            except FileExistsError:
                self.tree.clear(directory, last)
                self._create(directory, last, member, reader)

    def _create(self, directory: Directory, name: bytes, member: Member, reader: TarReader) -> None:
        typeflag = member.typeflag
        dir_fd = self.tree.fd(directory)
        if typeflag in (REGULAR, CHAR, BLOCK_DEVICE):
            # A device becomes an empty file, as with umoci --rootless: never a node, were it 0:0 (a
            # whiteout).
            make_file(dir_fd, name, member, reader, owners=self.owners)
        elif typeflag == SYMLINK:
            make_link(dir_fd, name, member, owners=self.owners)
        elif typeflag == LINK:
            self._hard_link(directory, name, member.linkname)
        elif typeflag == FIFO:
            make_fifo(dir_fd, name, member, owners=self.owners)
        else:
            raise InvalidLayer(f"cannot extract entry: unknown type {typeflag!r}")

    def _root(self, member: Member) -> None:
        if member.typeflag != DIRECTORY:
            # CVE-2021-29136: a link in the root's place would lead all that follows out of it.
            raise InvalidLayer("cannot extract entry: it would replace the root directory")
        self.tree.root.metadata = _metadata(member)

    def _directory(self, directory: Directory, name: bytes, member: Member) -> None:
        child = directory.children.get(name)
        if child is None:
            child = self.tree.make(directory, name)
        if child is None:  # something that is no directory has the name, and replaced what lay below
            self.tree.clear(directory, name)
            child = self.tree.make(directory, name)
            assert child is not None, "another process writes into the layer"
            child.fresh = child.opaque = True
        child.metadata = _metadata(member)
        child.mark_real()

    def _whiteout(self, directory: Directory, name: bytes) -> None:
        whiteout = parse_whiteout(name)
        if whiteout is None:
            return
        directory.mark_unsettled()
        if not whiteout.name:
            directory.opaque = True
        elif directory.whiteouts is None:
            directory.whiteouts = {whiteout.name}
        else:
            directory.whiteouts.add(whiteout.name)

    def _hard_link(self, directory: Directory, name: bytes, target: bytes) -> None:
        """Link to an entry of this layer, or put it off until the layers below are known."""
        components = clean(target)
        if not components:
            raise InvalidLayer("cannot extract hard link: its target is the root directory")
        last = components.pop()
        parent = self.tree.find(components)
        if parent is not None:
            if parent is directory and last == name:
                raise InvalidLayer("cannot extract hard link: it is its own target")
            child = parent.children.get(last)
            if child is None:
                with contextlib.suppress(FileNotFoundError):  # not in this layer, then
                    make_hard_link(self.tree.fd(parent), last, self.tree.fd(directory), name)
                    return
            elif child.metadata is not None:
                raise InvalidLayer("cannot extract hard link: its target is a directory")
            # A directory that is only implied may be a link in the layers below.
        if self.tree.exists(directory, name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        if directory.deferred is None:
            directory.deferred = {}
        directory.deferred[name] = target
        directory.mark_unsettled()
        self.deferred.append((directory, name))


def _metadata(member: Member) -> Metadata:
    return Metadata(
        member.mode & 0o7777, member.uid, member.gid, mtime_ns=member.mtime_ns, xattrs=member.xattrs
    )
