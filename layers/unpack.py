"""Unpack an archive onto a tree that exists already, and that others may change meanwhile: what `cp` does.

For the empty tree of a layer use `layers.extract`, which knows whiteouts. Here a file replaces a file of the
same name, never a directory, and a directory never a file. Names are resolved by `layers.places`: neither an
archive nor a container that is at work in the tree can make anything appear outside of the root. Ring 2.
"""

from __future__ import annotations

import errno
import os
import stat

from layers.copyup import copy_entry
from layers.effects import finish_directory, make_fifo, make_file, make_hard_link, make_link, write_data
from layers.errors import InvalidLayer, LayersError
from layers.places import lstat
from layers.tarheader import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK
from layers.tree import Metadata, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layers.effects import Owners
    from layers.places import Place, Places
    from layers.tarcodec import TarReader
    from layers.tarheader import Member

MAX_NOTES = 20
_SET_IDS = 0o6000
_NO_LINKS_HERE = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


class Unpacker:
    """Unpacks one archive below a root. The umask must be 0.

    Args:
        places: of the root; stays the caller's.
        top: the directory that members' names start from.
        owners: how owners are given.
        rename: member name → name below `top`; used for the targets of hard links as well.
        archive: owners are those of the archive, also for directories that were there before; else all that
            is new belongs to 0:0 and old directories stay as they are.
        set_ids: set-user-id and set-group-id bits are kept.

    Attributes:
        notes: what was left out, one line each.
    """

    def __init__(
        self,
        places: Places,
        top: Place,
        *,
        owners: Owners,
        archive: bool = False,
        set_ids: bool = True,
        rename: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.notes: list[str] = []
        self._places = places
        self._top = top
        self._owners = owners
        self._archive = archive
        self._mode_mask = 0o7777 if set_ids else 0o7777 & ~_SET_IDS
        self._rename = rename
        self._order: list[Place] = []

    def run(self, reader: TarReader) -> None:
        """Unpack all members, then give directories their modes and times.

        Raises:
            LayersError: a member is malformed, or something is in its way; `on` names it.
            OSError: the file system refuses; filename is the member's name.
        """
        while (member := reader.next_member()) is not None:
            try:
                self._unpack(member, reader)
            except OSError as exc:
                exc.filename = member.name
                raise
            except InvalidLayer as exc:
                exc.entry = exc.entry or member.name
                raise
        for place in reversed(self._order):
            self._finish(place)

    def _unpack(self, member: Member, reader: TarReader) -> None:
        components = clean(self._rename(member.name))
        if not components:
            if member.typeflag != DIRECTORY:
                raise LayersError("cannot unpack entry: it has no name", on=_shown(member.name))
            return  # the destination itself stays as it is
        name = components.pop()
        directory = self._places.resolve(components, start=self._top, make=True)
        member.mode &= self._mode_mask
        if not self._archive:
            member.uid = member.gid = 0
        if member.typeflag == DIRECTORY:
            self._directory(directory, name, member)
        elif member.typeflag in (CHAR, BLOCK_DEVICE):
            self._note(f"left out: {_shown(member.name)} is a device")
        elif self._in_the_way(directory, name, member):
            self._overwrite(directory, name, member, reader)
        else:
            self._create(directory, name, member, reader)

    def _create(self, directory: Place, name: bytes, member: Member, reader: TarReader) -> None:
        typeflag = member.typeflag
        dir_fd = self._places.fd(directory)
        if typeflag == REGULAR:
            make_file(dir_fd, name, member, reader, owners=self._owners)
        elif typeflag == SYMLINK:
            make_link(dir_fd, name, member, owners=self._owners)
        elif typeflag == FIFO:
            make_fifo(dir_fd, name, member, owners=self._owners)
        elif typeflag == LINK:
            self._hard_link(directory, name, member)
        else:
            raise InvalidLayer(f"cannot unpack entry: unknown type {typeflag!r}")

    def _in_the_way(self, directory: Place, name: bytes, member: Member) -> bool:
        """Remove a file of the member's name; True if it is a mount point, and must be written in place."""
        dir_fd = self._places.fd(directory)
        info = lstat(dir_fd, name)
        if info is None or (member.typeflag == LINK and self._is_itself(directory, name, member)):
            return False
        if stat.S_ISDIR(info.st_mode):
            raise _obstacle("a directory with a file", member)
        try:
            os.unlink(name, dir_fd=dir_fd)
        except FileNotFoundError:
            return False
        except OSError as exc:
            if exc.errno != errno.EBUSY or member.typeflag != REGULAR:
                raise
            return True
        return False

    def _overwrite(self, directory: Place, name: bytes, member: Member, reader: TarReader) -> None:
        """Replace the data of a file that is mounted there, such as /etc/hosts of a running container."""
        path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._places.fd(directory))
        try:
            if not stat.S_ISREG(os.fstat(path_fd).st_mode):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
            fd = os.open(f"/proc/self/fd/{path_fd}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        finally:
            os.close(path_fd)
        try:
            write_data(fd, member, reader)
        finally:
            os.close(fd)

    def _directory(self, directory: Place, name: bytes, member: Member) -> None:
        child = self._places.child(directory, name)
        if name not in directory.children:
            try:
                os.mkdir(name, 0o700, dir_fd=self._places.fd(directory))
                child.made = True
            except FileExistsError:
                try:
                    self._places.fd(child)
                except NotADirectoryError:
                    raise _obstacle("a file with a directory", member) from None
            directory.children[name] = child
        if not (child.made or self._archive):
            return
        if child.metadata is None:
            self._order.append(child)
        child.metadata = Metadata(
            member.mode, member.uid, member.gid, mtime_ns=member.mtime_ns, xattrs=member.xattrs
        )

    def _hard_link(self, directory: Place, name: bytes, member: Member) -> None:
        components = clean(self._rename(member.linkname))
        if not components:
            raise InvalidLayer("cannot unpack hard link: its target is a directory")
        last = components.pop()
        try:
            source = self._places.resolve(components, start=self._top, make=False)
            source_fd, target_fd = self._places.fd(source), self._places.fd(directory)
            if source is directory and last == name:
                return
            try:
                make_hard_link(source_fd, last, target_fd, name)
            except OSError as exc:
                if exc.errno not in _NO_LINKS_HERE:
                    raise
                copy_entry(source_fd, last, target_fd, name)
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise InvalidLayer("cannot unpack hard link: its target does not exist") from exc

    def _is_itself(self, directory: Place, name: bytes, member: Member) -> bool:
        """Tell whether a hard link's target is the very name that it would replace."""
        *way, last = clean(self._rename(member.linkname)) or [b""]
        try:
            return last == name and self._places.resolve(way, start=self._top, make=False) is directory
        except OSError:
            return False

    def _finish(self, place: Place) -> None:
        assert place.metadata is not None
        try:
            fd = self._places.fd(place)
        except (FileNotFoundError, NotADirectoryError):
            return  # a container has removed it meanwhile
        finish_directory(fd, place.metadata, owners=self._owners)
        self._places.forget(place)

    def _note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES:
            self.notes.append(text)


def replace_top(new: bytes) -> Callable[[bytes], bytes]:
    """Return a function that gives the archive's one top-level entry another name; b"" leaves its content."""

    def rename(name: bytes) -> bytes:
        return new + b"/" + name.partition(b"/")[2]

    return rename


def _obstacle(what: str, member: Member) -> LayersError:
    return LayersError(f"cannot overwrite {what}", on=_shown(member.name))


def _shown(name: bytes) -> str:
    text = os.fsdecode(name)
    return text if len(text) <= 200 else text[:197] + "..."
