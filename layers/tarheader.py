"""One 512-byte tar header, and the records of PAX headers, into values. Pure.

The dialects are ustar, PAX, GNU, star and V7. Where they contradict each other this follows Go's archive/tar,
which every other container engine reads layers with: a layer that two engines read differently is an attack.
Use `layers.tarcodec` for a whole archive. Ring 2.
"""

from __future__ import annotations

import struct

from layers.errors import InvalidLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.sparse import Segments

BLOCK = 512
REGULAR, LINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
CONTIGUOUS, V7_REGULAR, GNU_SPARSE = b"7", b"\0", b"S"
PAX, PAX_GLOBAL, GNU_LONG_NAME, GNU_LONG_LINK = b"x", b"g", b"L", b"K"

_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s6s82s155s12s")
_CHECKSUM = slice(148, 156)
_MIN_NS, _MAX_NS = -(1 << 63), (1 << 63) - 1
"""Times are kept to what 64-bit nanoseconds hold (1677 to 2262); the file system narrows them further."""
_TEXT_KEYS = frozenset((b"path", b"linkpath", b"uname", b"gname"))
_SPARSE_PAIR = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")


class Member:
    """One entry of an archive.

    Attributes:
        name: bytes as archived: may be absolute, hold `..`, newlines, any byte but NUL.
        typeflag: one byte; REGULAR, LINK, … above, or one that nobody knows.
        mode: the lowest 12 bits count.
        uid, gid: any integer; negative and huge ones are for the receiver to refuse.
        size: bytes that follow in the archive (0 for kinds that have none).
        real_size: length of the file once unpacked; differs from size if sparse.
        linkname: target of LINK (a member name) or SYMLINK (verbatim).
        xattrs: names and values from PAX records; None if there are none.
        segments: data runs of a sparse file, None if it has no holes.
    """

    __slots__ = (
        "gid",
        "linkname",
        "mode",
        "mtime_ns",
        "name",
        "real_size",
        "segments",
        "size",
        "typeflag",
        "uid",
        "xattrs",
    )

    def __init__(self, name: bytes, typeflag: bytes, *, mode: int, uid: int, gid: int, size: int) -> None:
        self.name = name
        self.typeflag = typeflag
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.real_size = size
        self.mtime_ns = 0
        self.linkname = b""
        self.xattrs: dict[bytes, bytes] | None = None
        self.segments: Segments | None = None


def parse_header(block: bytes) -> Member:
    """Parse a header block; long names and PAX records are not yet in it.

    Raises:
        InvalidLayer: wrong checksum or malformed number.
    """
    name, mode, uid, gid, size, mtime, checksum, typeflag, link, magic, _, prefix, pad = _FIELDS.unpack(block)
    name = name.partition(b"\0")[0]
    _check_sum(block, checksum, name)
    if magic == b"ustar\0":
        if pad[8:] == b"tar\0":  # star keeps times where ustar has the rest of the prefix
            prefix = prefix[:131]
        prefix = prefix.partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    try:
        member = Member(
            name,
            typeflag,
            mode=parse_number(mode),
            uid=parse_number(uid),
            gid=parse_number(gid),
            size=parse_number(size),
        )
        member.mtime_ns = clamp_time(parse_number(mtime) * 1_000_000_000)
    except ValueError as exc:
        raise InvalidLayer(f"cannot read tar header: {exc}", entry=name) from exc
    if member.size < 0:
        raise InvalidLayer("cannot read tar header: its size is negative", entry=name)
    member.linkname = link.partition(b"\0")[0]
    return member


def parse_number(field: bytes) -> int:
    """Read octal digits padded with spaces or NULs, or GNU's base-256 where the highest bit is set.

    Raises:
        ValueError: it is neither.
    """
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = len(field) * 8
        if field[0] & 0x40:
            return value - (1 << bits)
        return value - (1 << (bits - 1))
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if not digits.isdigit():  # int() would take signs, underscores and prefixes too
        raise ValueError(f"malformed number {digits!r}")
    return int(digits, 8)


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """Read PAX records, "LENGTH KEY=VALUE\\n"; a later one of the same key wins.

    GNU's sparse format 0.0 repeats its keys: the values are gathered under `GNU.sparse.map`, as format 0.1
    has them.

    Raises:
        InvalidLayer: malformed.
    """
    records: dict[bytes, bytes] = {}
    runs: list[bytes] = []
    position = 0
    while position < len(data):
        digits, _, _ = data[position : position + 20].partition(b" ")
        if not digits.isdigit():
            raise InvalidLayer("cannot read PAX header: malformed record length")
        end = position + int(digits)
        key, equals, value = data[position + len(digits) + 1 : end].partition(b"=")
        if end > len(data) or not key or not equals or value[-1:] != b"\n":
            raise InvalidLayer("cannot read PAX header: malformed record")
        value = value[:-1]
        if b"\0" in (value if key in _TEXT_KEYS else key):
            raise InvalidLayer("cannot read PAX header: NUL in a name")
        if key in _SPARSE_PAIR:
            if key != _SPARSE_PAIR[len(runs) % 2] or b"," in value:
                raise InvalidLayer("cannot read PAX header: malformed sparse map")
            runs.append(value)
        else:
            records[key] = value
        position = end
    if runs:
        records[b"GNU.sparse.map"] = b",".join(runs)
    return records


def apply_records(member: Member, records: dict[bytes, bytes]) -> None:
    """Let PAX records override the header; an empty value leaves the header's own.

    Raises:
        InvalidLayer: a number is malformed or negative where that means nothing.
    """
    try:
        for key, value in records.items():
            if key.startswith((b"SCHILY.xattr.", b"LIBARCHIVE.xattr.")):
                _add_xattr(member, key, value)
            elif not value:
                continue
            elif key == b"path":
                member.name = value
            elif key == b"linkpath":
                member.linkname = value
            elif key == b"size":
                member.size = member.real_size = _decimal(value)
            elif key == b"uid":
                member.uid = _decimal(value)
            elif key == b"gid":
                member.gid = _decimal(value)
            elif key == b"mtime":
                member.mtime_ns = parse_time(value)
    except ValueError as exc:
        raise InvalidLayer(f"cannot read PAX header: {exc}", entry=member.name) from exc


def parse_time(text: bytes) -> int:
    """Read decimal seconds with any fraction into nanoseconds, within what a file system may hold.

    Raises:
        ValueError: malformed.
    """
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    seconds = _decimal(whole.removeprefix(b"-"))
    nanoseconds = _decimal(fraction[:9].ljust(9, b"0")) if fraction else 0
    total = seconds * 1_000_000_000 + nanoseconds
    return clamp_time(-total if negative else total)


def clamp_time(time_ns: int) -> int:
    """Keep a time within 64 bits of nanoseconds."""
    return min(max(time_ns, _MIN_NS), _MAX_NS)


def _check_sum(block: bytes, field: bytes, name: bytes) -> None:
    try:
        expected = parse_number(field)
    except ValueError as exc:
        raise InvalidLayer(f"cannot read tar header: {exc}", entry=name) from exc
    actual = sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20
    if actual == expected:
        return
    # Some old writers summed signed bytes (GNU tar and Go accept both).
    if actual - 256 * sum(b > 127 for b in block[:148] + block[156:]) != expected:
        raise InvalidLayer("cannot read tar header: wrong checksum", entry=name)


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 40:
        raise ValueError(f"malformed number {text[:40]!r}")
    return int(text)


def _add_xattr(member: Member, key: bytes, value: bytes) -> None:
    if member.xattrs is None:
        member.xattrs = {}
    if key.startswith(b"SCHILY.xattr."):
        member.xattrs[key[len(b"SCHILY.xattr.") :]] = value
        return
    from base64 import b64decode  # libarchive's form is rare
    from urllib.parse import unquote_to_bytes

    name = unquote_to_bytes(key[len(b"LIBARCHIVE.xattr.") :])
    if b"\0" in name:
        raise ValueError("NUL in the name of an extended attribute")
    member.xattrs.setdefault(name, b64decode(value + b"=" * (-len(value) % 4)))
