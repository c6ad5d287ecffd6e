"""Maps of sparse files in tar archives: GNU's old format and PAX formats 0.0, 0.1 and 1.0. Pure.

Ring 2.
"""

from __future__ import annotations

from layers.errors import InvalidLayer
from layers.tarheader import BLOCK, parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layers.tarheader import Member

    Segments = list[tuple[int, int]]
    """Runs of data, (offset, length), in order, without overlap, within the file."""

MAX_SEGMENTS = 1 << 20
"""Bounds the memory that one member can claim (16 bytes of archive each in the densest format)."""


def old_gnu_map(member: Member, block: bytes, read_block: Callable[[], bytes]) -> None:
    """Set real_size and segments of a typeflag "S" member from its header and the blocks after it.

    Args:
        block: the header itself.
        read_block: returns the next 512 bytes of the archive.
    """
    try:
        member.real_size = parse_number(block[483:495])
        segments = _pairs(block, 386, 4)
        more = block[482]
        while more:
            block = read_block()
            segments += _pairs(block, 0, 21)
            more = block[504]
            if len(segments) > MAX_SEGMENTS:
                raise ValueError("too many segments")
        member.segments = check_segments(segments, member)
    except ValueError as exc:
        raise InvalidLayer(f"cannot read sparse file: {exc}", entry=member.name) from exc


def pax_map(member: Member, records: dict[bytes, bytes], read_block: Callable[[], bytes]) -> None:
    """Set name, real_size and segments if the PAX records say that the member is sparse.

    In format 1.0 the map stands before the data: it is read here, and member.size shrinks to the data's.
    """
    major, minor = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    in_data = (major, minor) == (b"1", b"0")
    if not in_data and (b"GNU.sparse.map" not in records or major not in (None, b"0")):
        return
    member.name = records.get(b"GNU.sparse.name") or member.name
    real_size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize") or b""
    try:
        if not real_size.isdigit():
            raise ValueError("its length is missing")
        member.real_size = int(real_size)
        numbers = _read_numbers(member, read_block) if in_data else _split(records[b"GNU.sparse.map"])
        if len(numbers) % 2 or len(numbers) > 2 * MAX_SEGMENTS:
            raise ValueError("malformed map")
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        member.segments = check_segments(pairs, member)
    except ValueError as exc:
        raise InvalidLayer(f"cannot read sparse file: {exc}", entry=member.name) from exc


def check_segments(segments: Segments, member: Member) -> Segments:
    """Return the segments that hold data, once they fit the member.

    Raises:
        ValueError: out of order, overlapping, beyond the end, or not as long as the data.
    """
    end = total = 0
    for offset, length in segments:
        if offset < end or length < 0 or offset + length > member.real_size:
            raise ValueError("its segments overlap or lie outside of it")
        end = offset + length
        total += length
    if total != member.size:
        raise ValueError("its segments are not as long as its data")
    return [(offset, length) for offset, length in segments if length]


def _pairs(block: bytes, start: int, count: int) -> Segments:
    found: Segments = []
    for position in range(start, start + 24 * count, 24):
        if block[position] == 0:
            break
        found.append(
            (
                parse_number(block[position : position + 12]),
                parse_number(block[position + 12 : position + 24]),
            )
        )
    return found


def _read_numbers(member: Member, read_block: Callable[[], bytes]) -> list[int]:
    """Read "COUNT\\nOFFSET\\nLENGTH\\n…", padded to whole blocks, from the front of the data."""
    text = _take_block(member, read_block)
    lines = text.split(b"\n")
    wanted = 2 * _count(lines[0]) + 1 if len(lines) > 1 else 2
    parts = [text]
    newlines = text.count(b"\n")
    while newlines < wanted:
        block = _take_block(member, read_block)
        newlines += block.count(b"\n")
        parts.append(block)
    return [_decimal(number) for number in b"".join(parts).split(b"\n")[1:wanted]]


def _take_block(member: Member, read_block: Callable[[], bytes]) -> bytes:
    if member.size < BLOCK:
        raise ValueError("its map is cut off")
    member.size -= BLOCK
    return read_block()


def _count(text: bytes) -> int:
    count = _decimal(text)
    if count > MAX_SEGMENTS:
        raise ValueError("too many segments")
    return count


def _split(text: bytes) -> list[int]:
    if text.count(b",") > 2 * MAX_SEGMENTS:
        raise ValueError("too many segments")
    return [_decimal(number) for number in text.split(b",")] if text else []


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ValueError(f"malformed number {text[:20]!r}")
    return int(text)
