"""One member as the blocks of a tar header: ustar, with PAX records where ustar has no room. Pure.

The same member gives the same bytes at any time and place. Written so that GNU tar, bsdtar, Go's archive/tar
and `layers.tarcodec` read the same of it: raw bytes in names, PAX records in alphabetical order, holes in
GNU's sparse format 1.0 (the one that readers without it still unpack as a file). Ring 2.
"""

from __future__ import annotations

import os
import struct

from layers.tarheader import BLOCK, BLOCK_DEVICE, CHAR, PAX, Member

END = bytes(2 * BLOCK)
"""Two zero blocks end an archive."""

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_NAME_BYTES = 100
_MAX_ID = 0o7777777
_MAX_SIZE = _MAX_TIME = 0o77777777777
_SECOND_NS = 1_000_000_000


def encode_member(member: Member, *, device: int = 0) -> bytes:
    """Return all header blocks of a member, the map of a sparse file included; its data comes next.

    Args:
        member: `size` is that of the data that follows, without the map.
        device: st_rdev of CHAR and BLOCK_DEVICE.
    """
    records = _records(member)
    sparse_map = b"" if member.segments is None else _sparse_map(member)
    name = member.name
    if member.segments is not None:
        records[b"GNU.sparse.name"] = name
        name = _sparse_name(name)
    size = member.size + len(sparse_map)
    if size > _MAX_SIZE:
        records[b"size"] = b"%d" % size
    extended = _encode_records(records)
    header = _header(member, name, size=size, device=device)
    if not extended:
        return header + sparse_map
    return _extension(extended) + header + sparse_map


def padding(size: int) -> bytes:
    """Return the zero bytes that follow `size` bytes of data."""
    return bytes(-size % BLOCK)


def _records(member: Member) -> dict[bytes, bytes]:
    """Return what ustar cannot say of a member."""
    records: dict[bytes, bytes] = {}
    if len(member.name) > _NAME_BYTES:
        records[b"path"] = member.name
    if len(member.linkname) > _NAME_BYTES:
        records[b"linkpath"] = member.linkname
    if not 0 <= member.uid <= _MAX_ID:
        records[b"uid"] = b"%d" % member.uid
    if not 0 <= member.gid <= _MAX_ID:
        records[b"gid"] = b"%d" % member.gid
    if member.mtime_ns % _SECOND_NS or not 0 <= member.mtime_ns <= _MAX_TIME * _SECOND_NS:
        records[b"mtime"] = _time(member.mtime_ns)
    for name, value in (member.xattrs or {}).items():
        if b"=" not in name:  # a record's key ends there
            records[b"SCHILY.xattr." + name] = value
    if member.segments is not None:
        records.pop(b"path", None)
        records[b"GNU.sparse.major"] = b"1"
        records[b"GNU.sparse.minor"] = b"0"
        records[b"GNU.sparse.realsize"] = b"%d" % member.real_size
    return records


def _header(member: Member, name: bytes, *, size: int, device: int) -> bytes:
    is_device = member.typeflag in (CHAR, BLOCK_DEVICE)
    major, minor = (os.major(device), os.minor(device)) if is_device else (0, 0)
    seconds = member.mtime_ns // _SECOND_NS
    block = _FIELDS.pack(
        name[:_NAME_BYTES],
        b"%07o\0" % (member.mode & 0o7777),
        b"%07o\0" % _fit(member.uid, _MAX_ID),
        b"%07o\0" % _fit(member.gid, _MAX_ID),
        b"%011o\0" % _fit(size, _MAX_SIZE),
        b"%011o\0" % _fit(seconds, _MAX_TIME),
        b" " * 8,
        member.typeflag,
        member.linkname[:_NAME_BYTES],
        b"ustar\0",
        b"00",
        b"",
        b"",
        b"%07o\0" % major,
        b"%07o\0" % minor,
        b"",
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _extension(data: bytes) -> bytes:
    """Return the PAX header that says something of the member after it."""
    member = Member(b"././@PaxHeader", PAX, mode=0o644, uid=0, gid=0, size=len(data))
    return _header(member, member.name, size=len(data), device=0) + data + padding(len(data))


def _encode_records(records: dict[bytes, bytes]) -> bytes:
    return b"".join(_encode_record(key, records[key]) for key in sorted(records))


def _encode_record(key: bytes, value: bytes) -> bytes:
    """Return "LENGTH KEY=VALUE\\n", where the length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(b"%d" % length):
        length = len(rest) + len(b"%d" % length)
    return b"%d" % length + rest


def _sparse_map(member: Member) -> bytes:
    """Return the map of format 1.0: a count, then offset and length of each run, padded to whole blocks."""
    assert member.segments is not None
    segments = list(member.segments)
    if not segments or sum(segments[-1]) < member.real_size:
        segments.append((member.real_size, 0))  # as GNU tar marks a hole at the end
    lines = [b"%d\n" % len(segments), *(b"%d\n%d\n" % segment for segment in segments)]
    text = b"".join(lines)
    return text + padding(len(text))


def _sparse_name(name: bytes) -> bytes:
    """Return the name under which a reader that knows no sparse files unpacks one."""
    directory, slash, last = name.rpartition(b"/")
    return directory + slash + b"GNUSparseFile.0/" + last


def _time(time_ns: int) -> bytes:
    seconds, fraction = divmod(abs(time_ns), _SECOND_NS)
    sign = b"-" if time_ns < 0 else b""
    digits = b"%09d" % fraction
    return sign + b"%d" % seconds + (b"." + digits.rstrip(b"0") if fraction else b"")


def _fit(number: int, largest: int) -> int:
    """Return a number that the field can hold: a PAX record has the true one."""
    return number if 0 <= number <= largest else 0
