"""Read a tar archive from chunks of bytes, one member at a time, without ever holding a file in memory.

Knows the format alone: names are not checked, nothing touches a file system (see `layers.extract`). GNU long
names beat PAX paths, PAX beats ustar, and global PAX headers are skipped: what Go's archive/tar and the
engines above it do. Ring 2.
"""

from __future__ import annotations

from layers.errors import InvalidLayer
from layers.sparse import old_gnu_map, pax_map
from layers.tarheader import (
    BLOCK,
    CONTIGUOUS,
    DIRECTORY,
    GNU_LONG_LINK,
    GNU_LONG_NAME,
    GNU_SPARSE,
    PAX,
    PAX_GLOBAL,
    REGULAR,
    V7_REGULAR,
    Member,
    apply_records,
    parse_header,
    parse_records,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_HEADER_BYTES = 1 << 20
"""Longest PAX or long-name header (the bound of Go's archive/tar)."""
MAX_PATH_BYTES = 64 << 10
"""Longest member name or link name: 16 times PATH_MAX, for trees that are walked a component at a time."""
MAX_ENTRIES = 10_000_000
"""Most headers of a layer; the largest published images have under a million files."""

_ZERO = bytes(BLOCK)
_WITH_DATA = frozenset((REGULAR, V7_REGULAR, CONTIGUOUS, GNU_SPARSE))


class TarReader:
    """Iterate over the members; the data of the current one is read with `read_some` while `left` is not 0.

    Data that was not read is skipped when the next member is asked for.

    Args:
        chunks: the archive's bytes in pieces of any length; consumed to the end by `drain`.
        max_entries: most headers that are accepted.

    Attributes:
        left: bytes of the current member that are still to come.
        entries: members seen so far.
    """

    __slots__ = (
        "_chunk",
        "_chunks",
        "_headers",
        "_padding",
        "_position",
        "_view",
        "entries",
        "left",
        "max_entries",
    )

    def __init__(self, chunks: Iterator[bytes], *, max_entries: int = MAX_ENTRIES) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._view = memoryview(b"")
        self._position = 0
        self._padding = 0
        self._headers = 0
        self.left = 0
        self.entries = 0
        self.max_entries = max_entries

    def __iter__(self) -> Iterator[Member]:
        while (member := self.next_member()) is not None:
            yield member

    def next_member(self) -> Member | None:
        """Return the next member, or None at the end of the archive.

        Raises:
            InvalidLayer: malformed, truncated, or more than max_entries headers.
        """
        records: dict[bytes, bytes] = {}
        long_name = long_link = b""
        extended = False
        while True:
            self._skip(self.left + self._padding, spare=self._padding)
            self.left = self._padding = 0
            block = self._read_header()
            if block is None:
                if extended:
                    raise InvalidLayer("cannot read archive: it ends after an extended header")
                return None
            member = parse_header(block)
            typeflag = member.typeflag
            if typeflag not in (PAX, PAX_GLOBAL, GNU_LONG_NAME, GNU_LONG_LINK):
                break
            extended = True
            data = self._read_extension(member)
            if typeflag == PAX:
                records = parse_records(data)
            elif typeflag == GNU_LONG_NAME:
                long_name = data.partition(b"\0")[0]
            elif typeflag == GNU_LONG_LINK:
                long_link = data.partition(b"\0")[0]
        if extended:
            apply_records(member, records)
            member.name = long_name or member.name
            member.linkname = long_link or member.linkname
        self._begin(member, records, block)
        return member

    def read_some(self, limit: int | None = None) -> memoryview:
        """Return the next bytes of the current member, as many as lie at hand; call only while left > 0."""
        if self._position == len(self._chunk) and not self._advance():
            raise _truncated()
        position = self._position
        wanted = self.left if limit is None else min(self.left, limit)
        end = min(position + wanted, len(self._chunk))
        self._position = end
        self.left -= end - position
        return self._view[position:end]

    def drain(self) -> None:
        """Consume what follows the archive's end: padding as a rule, meaningless but part of the digest."""
        self._chunk, self._view, self._position = b"", memoryview(b""), 0
        for _ in self._chunks:
            pass

    def _begin(self, member: Member, records: dict[bytes, bytes], block: bytes) -> None:
        self.entries += 1
        typeflag = member.typeflag
        if typeflag not in _WITH_DATA:
            member.size = member.real_size = 0  # links may repeat their target's size: no data follows
        else:
            self._padding = -member.size % BLOCK
            if typeflag == GNU_SPARSE:
                old_gnu_map(member, block, self._read_block)
            elif records:
                pax_map(member, records, self._read_block)
            # V7 archives mark a directory by the slash alone.
            v7_directory = typeflag == V7_REGULAR and member.name.endswith(b"/")
            member.typeflag = DIRECTORY if v7_directory else REGULAR
            self.left = member.size
        if len(member.name) > MAX_PATH_BYTES or len(member.linkname) > MAX_PATH_BYTES:
            raise InvalidLayer(
                f"cannot read archive: a name is longer than {MAX_PATH_BYTES} bytes", entry=member.name[:200]
            )

    def _read_header(self) -> bytes | None:
        """Return the next header block; None at the end: a zero block, or no more bytes."""
        position = self._position
        block = self._chunk[position : position + BLOCK]
        if len(block) == BLOCK:
            self._position = position + BLOCK
        elif not block and not self._advance():
            return None
        else:
            block = self._read_exactly(BLOCK)
        self._headers += 1
        if self._headers > self.max_entries:
            raise InvalidLayer(f"cannot read archive: it has more than {self.max_entries} entries")
        if block[0] == 0 and block == _ZERO:
            self._check_end()
            return None
        return block

    def _check_end(self) -> None:
        """Check that a zero block is the end: another one follows, or nothing."""
        if self._position == len(self._chunk) and not self._advance():
            return
        if self._read_exactly(BLOCK) != _ZERO:
            raise InvalidLayer("cannot read archive: a zero block stands between members")

    def _read_extension(self, member: Member) -> bytes:
        if member.size > MAX_HEADER_BYTES:
            raise InvalidLayer(
                f"cannot read archive: an extended header is longer than {MAX_HEADER_BYTES} bytes"
            )
        data = self._read_exactly(member.size)
        self._skip(-member.size % BLOCK)
        return data

    def _read_block(self) -> bytes:
        return self._read_exactly(BLOCK)

    def _read_exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            if self._position == len(self._chunk) and not self._advance():
                raise _truncated()
            part = self._chunk[self._position : self._position + size]
            self._position += len(part)
            size -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _skip(self, size: int, *, spare: int = 0) -> None:
        """Pass over bytes; the last `spare` ones may be missing at the end of the stream.

        So may the padding of the last member: umoci and others leave it out, and Go does not miss it.
        """
        while size:
            at_hand = len(self._chunk) - self._position
            if size <= at_hand:
                self._position += size
                return
            size -= at_hand
            if not self._advance():
                if size <= spare:
                    return
                raise _truncated()

    def _advance(self) -> bool:
        """Move to the next chunk that is not empty; False at the end of the stream."""
        for chunk in self._chunks:
            if chunk:
                self._chunk, self._view, self._position = chunk, memoryview(chunk), 0
                return True
        self._chunk, self._view, self._position = b"", memoryview(b""), 0
        return False


def _truncated() -> InvalidLayer:
    return InvalidLayer("cannot read archive: it is cut off")
