"""Write trees as a tar archive: owners, attributes, links, holes, in an order that depends on names alone.

Reads through `layers.chain`: a directory as it is (PlainTree) or layers merged (Chain). The tree may belong
to a container that changes it meanwhile, in the hope to lead us elsewhere: every name is opened below its
directory's descriptor without following links, a file is opened for reading only once a descriptor says that
it is a regular one (no FIFO that blocks, no device), and what has vanished or changed its kind is left out
with a note. Memory is bounded by the longest directory and the number of hard links. Ring 2.
"""

from __future__ import annotations

import errno
import os
import stat

from layers.chain import ChainDirectory, ChainEntry
from layers.copyup import read_xattrs
from layers.errors import LayersError
from layers.tarcodec import MAX_PATH_BYTES
from layers.tarencode import END, encode_member, padding
from layers.tarheader import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, LINK, REGULAR, SYMLINK, Member
from layers.whiteout import OWNER_XATTR, PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from layers.chain import Chain
    from layers.handles import OpenHandles
    from layers.sparse import Segments

    class OwnerReader(Protocol):
        """How a file's owner is known: `effects.DirectOwners` or `effects.RecordedOwners`."""

        def read(self, info: os.stat_result, recorded: bytes) -> tuple[int, int]: ...


MAX_NOTES = 20
"""More of them help nobody; a container could make millions."""
MAX_RUNS = 1 << 16
"""Runs of data of one sparse file: what comes after is written with its holes as zeros."""
_READ_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 18
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ESTALE)
_KINDS = {
    stat.S_IFREG: REGULAR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK_DEVICE,
}


class Packer:
    """Writes one archive.

    Args:
        fd: where to; stays the caller's. A reader that goes away raises BrokenPipeError.
        owners: how owners are read.
        sparse: keep holes; else they are written as zeros, and the archive does not depend on them.

    Attributes:
        notes: what was left out, one line each.
        written: bytes so far.
    """

    def __init__(self, fd: int, *, owners: OwnerReader, sparse: bool = True) -> None:
        self.notes: list[str] = []
        self.written = 0
        self._fd = fd
        self._owners = owners
        self._sparse = sparse
        self._buffer = bytearray()
        self._links: dict[tuple[int, int], bytes] = {}

    def add_tree(self, source: Chain, top: ChainDirectory, name: bytes) -> bool:
        """Write a directory and all below it, parents first, in the order of names; False if it has vanished.

        Args:
            name: of the directory in the archive; b"" writes what is in it, and not the directory itself.
        """
        if name and not self.add_directory(source, top, name):
            return False
        stack = [(top, name, self._listing(source, top, name))]
        while stack:
            directory, prefix, listing = stack[-1]
            item = next(listing, None)
            if item is None:
                stack.pop()
                for part in directory.parts:
                    if part.parent is not None:
                        source.forget(part)
                continue
            path = prefix + b"/" + item[0] if prefix else item[0]
            if isinstance(item[1], ChainEntry):
                self.add_entry(source, item[1], path)
            elif self.add_directory(source, item[1], path):
                stack.append((item[1], path, self._listing(source, item[1], path)))
        return True

    def add_directory(self, source: Chain, directory: ChainDirectory, name: bytes) -> bool:
        """Write a directory without its content; False if it has vanished."""
        try:
            fd = source.fd(directory.parts[0])
        except OSError as exc:
            return self._vanished(exc, name)
        member = self._describe(os.fstat(fd), name + b"/", DIRECTORY, fd=fd)
        self._put(encode_member(member))
        return True

    def add_entry(self, source: OpenHandles, entry: ChainEntry, name: bytes) -> bool:
        """Write anything that is no directory; False if it was left out."""
        info = entry.info
        typeflag = _KINDS.get(stat.S_IFMT(info.st_mode))
        if typeflag is None:
            return self.note(name, "is a socket, which archives cannot hold")
        fd, target = -1, b""
        try:
            dir_fd = source.fd(entry.directory)
            if typeflag == REGULAR:
                fd = _open_regular(dir_fd, entry.name)
            elif typeflag == SYMLINK:
                target = os.readlink(entry.name, dir_fd=dir_fd)
        except OSError as exc:
            return self._vanished(exc, name)
        if fd >= 0:
            self._add_file(fd, name)
        elif typeflag == REGULAR:
            return self.note(name, "has become another kind of file meanwhile")
        elif not self._is_known_link(info, name):
            member = self._describe(info, name, typeflag)
            member.linkname = target
            self._put(encode_member(member, device=info.st_rdev))
            self._remember_link(info, name)
        return True

    def add_whiteout(self, name: bytes) -> None:
        """Write that a name of the layers below is gone (image-spec layer.md §Whiteouts)."""
        directory, slash, last = name.rpartition(b"/")
        member = Member(directory + slash + PREFIX + last, REGULAR, mode=0, uid=0, gid=0, size=0)
        self._put(encode_member(member))

    def finish(self) -> None:
        """Write the end of the archive and all that is buffered."""
        self._put(END)
        self._flush()

    def note(self, name: bytes, text: str) -> bool:
        """Note that something was left out; always False, for those who leave it out."""
        if len(self.notes) < MAX_NOTES:
            self.notes.append(f"left out: {_shown(name)} {text}")
        return False

    def _listing(
        self, source: Chain, directory: ChainDirectory, name: bytes
    ) -> Iterator[tuple[bytes, ChainDirectory | ChainEntry]]:
        try:
            found = source.entries(directory)
        except OSError as exc:
            self._vanished(exc, name)
            return
        for each in sorted(found):
            yield each, found.pop(each)

    def _add_file(self, fd: int, name: bytes) -> None:
        """Write a regular file, and close it."""
        try:
            info = os.fstat(fd)
            if self._is_known_link(info, name):
                return
            member = self._describe(info, name, REGULAR, fd=fd)
            member.size = member.real_size = info.st_size
            runs = [(0, info.st_size)]
            if self._sparse and (segments := _find_runs(fd, info)) is not None:
                member.segments = runs = segments
                member.size = sum(length for _, length in runs)
            self._put(encode_member(member))
            missing = sum(self._copy(fd, offset, length) for offset, length in runs)
            self._put(padding(member.size))
            self._remember_link(info, name)
        finally:
            os.close(fd)
        if missing:
            self.note(name, f"in part: it lost {missing} bytes while it was read")

    def _describe(self, info: os.stat_result, name: bytes, typeflag: bytes, *, fd: int = -1) -> Member:
        if len(name) > MAX_PATH_BYTES:
            raise LayersError(
                f"cannot write archive: a path is longer than {MAX_PATH_BYTES} bytes",
                on=_shown(name),
            )
        xattrs = read_xattrs(fd) if fd >= 0 else {}
        recorded = xattrs.pop(OWNER_XATTR, b"")
        try:
            uid, gid = self._owners.read(info, recorded)
        except ValueError:  # a program of the container wrote the record
            uid = gid = 0
        member = Member(name, typeflag, mode=stat.S_IMODE(info.st_mode), uid=uid, gid=gid, size=0)
        member.mtime_ns = info.st_mtime_ns
        member.xattrs = xattrs or None
        return member

    def _is_known_link(self, info: os.stat_result, name: bytes) -> bool:
        """Write a further name of a file whose first name is in the archive already."""
        first = self._links.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
        if first is None or stat.S_ISDIR(info.st_mode):
            return False
        member = Member(name, LINK, mode=stat.S_IMODE(info.st_mode), uid=0, gid=0, size=0)
        member.linkname = first
        member.mtime_ns = info.st_mtime_ns
        self._put(encode_member(member))
        return True

    def _remember_link(self, info: os.stat_result, name: bytes) -> None:
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            self._links[info.st_dev, info.st_ino] = name

    def _copy(self, fd: int, offset: int, length: int) -> int:
        """Write a run of a file's data; returns how many bytes it lacked, for which zeros are written."""
        end = offset + length
        while offset < end:
            data = os.pread(fd, min(_READ_BYTES, end - offset), offset)
            if not data:
                break
            self._put(data)
            offset += len(data)
        missing = end - offset
        for start in range(0, missing, _READ_BYTES):
            self._put(bytes(min(_READ_BYTES, missing - start)))
        return missing

    def _vanished(self, exc: OSError, name: bytes) -> bool:
        """Leave out what has gone while its directory was read; other failures stay failures."""
        if exc.errno not in _GONE:
            if exc.filename is None or isinstance(exc.filename, int):
                exc.filename = name
            raise exc
        return self.note(name, "has vanished meanwhile")

    def _put(self, data: bytes) -> None:
        self.written += len(data)
        if len(self._buffer) + len(data) <= _BUFFER_BYTES:
            self._buffer += data
            return
        self._flush()
        if len(data) > _BUFFER_BYTES:
            _write_all(self._fd, data)
        else:
            self._buffer += data

    def _flush(self) -> None:
        _write_all(self._fd, self._buffer)
        self._buffer = bytearray()


def _open_regular(dir_fd: int, name: bytes) -> int:
    """Open a file for reading, -1 if it is no regular one: then nothing of it was touched.

    A FIFO would block, a device may do anything at all when it is opened; between a stat and an open one
    could take the file's place.
    """
    path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(path_fd).st_mode):
            return -1
        try:
            return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            exc.filename = name
            raise
    finally:
        os.close(path_fd)


def _find_runs(fd: int, info: os.stat_result) -> Segments | None:
    """Return the runs of data of a file with holes; None for one that has none."""
    size = info.st_size
    if info.st_blocks * 512 >= size:
        return None
    runs: Segments = []
    position = 0
    try:
        while position < size:
            start = os.lseek(fd, position, os.SEEK_DATA)
            position = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            if start >= size:
                break
            if len(runs) == MAX_RUNS - 1:
                position = size
            runs.append((start, position - start))
    except OSError as exc:
        if exc.errno != errno.ENXIO:  # the rest is a hole
            raise
    return None if runs == [(0, size)] else runs


def _shown(name: bytes) -> str:
    text = os.fsdecode(name)
    return text if len(text) <= 200 else text[:197] + "..."


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
