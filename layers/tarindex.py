"""Find the files of a tar archive that lies in a file, without unpacking it: names, offsets, sizes.

For archives of images, whose entries are read by name in any order. Nothing of an archive becomes a path of
this host: a name is a key, and a link leads to another key (attack: B19). Two entries of one name are
refused, for one program would read the first and another the last. Ring 2.
"""

from __future__ import annotations

import os
import posixpath

from layers.errors import InvalidArchive, InvalidLayer
from layers.tarcodec import TarReader
from layers.tarheader import BLOCK, DIRECTORY, LINK, REGULAR, SYMLINK, Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES = 100_000
"""Most entries of an archive of images: a hundred images of a thousand layers."""
MAX_NAME = 4096
_READ_BYTES = 8 * BLOCK
"""Headers stand alone between data that is passed over: little is read ahead."""


class TarIndex:
    """The files of one archive.

    Args:
        fd: a regular file, which stays the caller's; its position is neither used nor moved.

    Raises:
        InvalidArchive: malformed, cut off, too many entries, a name twice, or one that leads out of it.
    """

    __slots__ = ("_files", "_links")

    def __init__(self, fd: int) -> None:
        self._files: dict[str, tuple[int, int] | None] = {}
        self._links: dict[str, str] = {}
        reader = _FileReader(fd)
        try:
            for member in reader:
                self._add(member, reader.offset)
        except InvalidLayer as exc:
            entry = exc.entry.decode("utf-8", "backslashreplace")
            raise InvalidArchive(exc.message, on=entry[:160]) from exc

    def __contains__(self, name: str) -> bool:
        return name in self._files or name in self._links

    def find(self, name: str) -> tuple[int, int] | None:
        """Return (offset, size) of a file's data; None if the archive has no such entry.

        Raises:
            InvalidArchive: the entry is no file, and no link to one.
        """
        key = _normalized(name)
        key = self._links.get(key, key)
        if key not in self._files:
            if key in self._links:
                raise InvalidArchive("invalid archive: a link leads to another link", on=name[:160])
            return None
        place = self._files[key]
        if place is None:
            raise InvalidArchive("invalid archive: an entry is no plain file", on=name[:160])
        return place

    def _add(self, member: Member, offset: int) -> None:
        name = _normalized(member.name.decode("utf-8", "surrogateescape"))
        if member.typeflag == DIRECTORY:
            return  # a directory may be named any number of times
        if name in self:
            raise InvalidArchive("invalid archive: two of its entries have the same name", on=name[:160])
        if member.typeflag in (LINK, SYMLINK):
            target = member.linkname.decode("utf-8", "surrogateescape")
            if member.typeflag == SYMLINK:
                target = posixpath.join(posixpath.dirname(name), target)
            self._links[name] = _normalized(posixpath.normpath(target))
        else:
            plain = member.typeflag == REGULAR and member.segments is None
            self._files[name] = (offset, member.size) if plain else None


class _FileReader(TarReader):
    """Reads the headers of an archive in a file and passes over the data.

    Attributes:
        offset: where in the file the reader stands.
    """

    __slots__ = ("_end", "_fd", "_size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._end = 0
        super().__init__(self._read_ahead(), max_entries=MAX_ENTRIES)

    @property
    def offset(self) -> int:
        return self._end - (len(self._chunk) - self._position)

    def _read_ahead(self) -> Iterator[bytes]:
        while data := os.pread(self._fd, _READ_BYTES, self._end):
            self._end += len(data)
            yield data

    def _skip(self, size: int, *, spare: int = 0) -> None:
        target = self.offset + size
        if target - spare > self._size:
            raise InvalidLayer("cannot read archive: it is cut off")
        if target <= self._end:
            self._position += size
        else:
            self._end = target
            self._chunk, self._view, self._position = b"", memoryview(b""), 0


def _normalized(name: str) -> str:
    """Return a name without what only varies its spelling.

    Raises:
        InvalidArchive: it is absolute, or leads out of the archive, or is too long.
    """
    if len(name) > MAX_NAME:
        raise InvalidArchive(f"invalid archive: a name is longer than {MAX_NAME} characters", on=name[:160])
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise InvalidArchive("invalid archive: a name leads out of it", on=name[:160])
    return "/".join(parts)
