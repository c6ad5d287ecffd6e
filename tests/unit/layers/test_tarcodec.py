"""The tar reader: dialects, sizes, and archives that lie about themselves."""

from __future__ import annotations

import io
import tarfile

import pytest

from layers.errors import InvalidLayer
from layers.tarcodec import MAX_HEADER_BYTES, MAX_PATH_BYTES, TarReader
from layers.tarheader import BLOCK, parse_header, parse_number, parse_records, parse_time
from tests.helpers.extraction import read_members
from tests.helpers.images import Layer

END = bytes(2 * BLOCK)


def header(name: bytes = b"f", *, kind: bytes = b"0", size: bytes = b"0", **fields: bytes) -> bytes:
    """Return a raw header block; fields: mode, uid, gid, mtime, link, magic, prefix, tail."""
    block = bytearray(BLOCK)

    def put(offset: int, value: bytes) -> None:
        block[offset : offset + len(value)] = value

    put(0, name)
    put(100, fields.get("mode", b"0000644\0"))
    put(108, fields.get("uid", b"0000000\0"))
    put(116, fields.get("gid", b"0000000\0"))
    put(124, size)
    put(136, fields.get("mtime", b"0"))
    put(156, kind)
    put(157, fields.get("link", b""))
    put(257, fields.get("magic", b"ustar\x0000"))
    put(345, fields.get("prefix", b""))
    put(508, fields.get("tail", b""))
    put(148, b" " * 8)
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def pax(*records: bytes) -> bytes:
    """Return an extended header with records "key=value"."""
    data = b""
    for record in records:
        length = len(record) + 3
        while len(b"%d" % length) + len(record) + 2 != length:
            length += 1
        data += b"%d %s\n" % (length, record)
    return header(b"x", kind=b"x", size=b"%o" % len(data)) + padded(data)


def one(content: bytes) -> tuple[bytes, bytes]:
    ((member, data),) = read_members(content + END)
    return member.name, data


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("chunk", [1, 7, 512, 1 << 20])
def test_archive_of_each_dialect_reads_alike_in_chunks_of_any_length(format: int, chunk: int) -> None:
    layer = (
        Layer(format=format).directory("d", mode=0o2755, uid=1, gid=2).file("d/f", b"x" * 1500, mode=0o4711)
    )
    layer.symlink("l", "d/f").hardlink("h", "d/f").fifo("p").file("long/" + "n" * 90 + "/" + "m" * 90, b"y")
    members = read_members(layer.bytes(), chunk=chunk)
    assert [(m.name, m.typeflag, m.linkname, len(data)) for m, data in members] == [
        (b"d/", b"5", b"", 0),
        (b"d/f", b"0", b"", 1500),
        (b"l", b"2", b"d/f", 0),
        (b"h", b"1", b"d/f", 0),
        (b"p", b"6", b"", 0),
        (b"long/" + b"n" * 90 + b"/" + b"m" * 90, b"0", b"", 1),
    ]
    directory = members[0][0]
    assert (directory.mode & 0o7777, directory.uid, directory.gid) == (0o2755, 1, 2)


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_targets_longer_than_path_max_are_read_whole(format: int) -> None:
    name, target = "/".join(["n" * 200] * 25), "t" * 4000
    (first, _), (second, _) = read_members(Layer(format=format).file(name).symlink("l", target).bytes())
    assert first.name == name.encode()
    assert second.linkname == target.encode()


def test_name_longer_than_the_bound_is_refused() -> None:
    with pytest.raises(InvalidLayer, match=f"longer than {MAX_PATH_BYTES}"):
        read_members(Layer().file("x" * (MAX_PATH_BYTES + 1)).bytes())


def test_name_bytes_are_kept_whatever_they_are() -> None:
    assert read_members(Layer().file("a\nb\udcff").bytes())[0][0].name == b"a\nb\xff"


def test_ustar_name_is_cut_at_its_nul() -> None:
    assert one(header(b"abc\0def")) == (b"abc", b"")


def test_nul_in_a_pax_path_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="NUL"):
        read_members(pax(b"path=a\0b") + header() + END)


def test_prefix_counts_in_ustar_but_not_in_gnu_headers() -> None:
    assert one(header(prefix=b"dir"))[0] == b"dir/f"
    assert one(header(prefix=b"dir", magic=b"ustar  \0"))[0] == b"f"


def test_star_times_behind_the_prefix_are_no_part_of_it() -> None:
    assert one(header(prefix=b"dir" + bytes(128) + b"00000000001 ", tail=b"tar\0"))[0] == b"dir/f"


def test_pax_path_beats_the_header_and_gnu_name_beats_pax() -> None:
    assert one(pax(b"path=pax") + header(b"ustar"))[0] == b"pax"
    long_name = header(b"x", kind=b"L", size=b"4") + padded(b"gnu\0")
    assert one(pax(b"path=pax") + long_name + header(b"ustar"))[0] == b"gnu"
    assert one(long_name + pax(b"path=pax") + header(b"ustar"))[0] == b"gnu"


def test_pax_size_beats_the_header() -> None:
    assert one(pax(b"size=5") + header(size=b"0") + padded(b"hello")) == (b"f", b"hello")


def test_empty_pax_value_leaves_the_header_alone() -> None:
    assert one(pax(b"path=") + header(b"kept"))[0] == b"kept"


def test_pax_records_hold_for_one_member_only() -> None:
    members = read_members(pax(b"path=first", b"uid=7") + header() + header(b"second") + END)
    assert [(m.name, m.uid) for m, _ in members] == [(b"first", 7), (b"second", 0)]


def test_global_header_is_skipped() -> None:
    data = b"19 path=everywhere\n"
    content = header(b"g", kind=b"g", size=b"%o" % len(data)) + padded(data) + header(b"own") + END
    assert [m.name for m, _ in read_members(content)] == [b"own"]


def test_size_of_a_link_or_directory_has_no_data_behind_it() -> None:
    content = (
        header(b"l", kind=b"1", size=b"1000", link=b"f") + header(b"d", kind=b"5", size=b"1000") + header()
    )
    assert [m.name for m, _ in read_members(content + END)] == [b"l", b"d", b"f"]


def test_regular_v7_member_with_a_slash_is_a_directory() -> None:
    ((member, _),) = read_members(header(b"d/", kind=b"\0") + END)
    assert member.typeflag == b"5"


def test_numbers_octal_and_base_256() -> None:
    assert parse_number(b"0000644\0") == 0o644
    assert parse_number(b"   644 \0") == 0o644
    assert parse_number(bytes(8)) == 0
    assert parse_number(b"\x80" + bytes(6) + b"\x07") == 7
    assert parse_number(b"\x80" + bytes(3) + b"\x01" + bytes(7)) == 1 << 56
    assert parse_number(b"\xff" * 12) == -1


@pytest.mark.parametrize("field", [b"0x10\0", b"-1\0", b"+1\0", b"1_0\0", b"8\0", b"1 1\0"])
def test_malformed_number_is_refused(field: bytes) -> None:
    with pytest.raises(InvalidLayer, match="cannot read tar header"):
        read_members(header(mode=field.ljust(8, b"\0")) + END)


def test_negative_size_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="size is negative"):
        read_members(header(size=b"\xff" * 12) + END)


@pytest.mark.parametrize("record", [b"size=-1", b"size=x", b"uid=1e3", b"mtime=now", b"size=" + b"9" * 5000])
def test_malformed_number_in_a_pax_record_is_refused(record: bytes) -> None:
    with pytest.raises(InvalidLayer, match="cannot read PAX header"):
        read_members(pax(record) + header() + END)


@pytest.mark.parametrize(
    "data",
    [b"x path=a\n", b"99 path=a\n", b"5 a=\n\n", b"4 a\n", b"6 =aa\n", b"0 \n", b"9 path=ab\n", b"-3 a=b\n"],
)
def test_malformed_pax_record_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidLayer, match="cannot read PAX header"):
        parse_records(data)


def test_huge_size_ends_as_a_cut_off_archive() -> None:
    with pytest.raises(InvalidLayer, match="cut off"):
        read_members(header(size=b"77777777777") + b"data")


def test_huge_extended_header_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidLayer, match=str(MAX_HEADER_BYTES)):
        read_members(header(kind=b"x", size=b"77777777777"))


def test_wrong_checksum_is_refused_and_a_signed_one_accepted() -> None:
    block = bytearray(header())
    block[0] = ord("g")
    with pytest.raises(InvalidLayer, match="checksum"):
        parse_header(bytes(block))
    block = bytearray(header(b"\xff\xfe"))
    total = sum(b - 256 if b > 127 else b for b in block[:148] + block[156:]) + 8 * 32
    block[148:156] = b"%06o\0 " % total
    assert parse_header(bytes(block)).name == b"\xff\xfe"


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1023])
def test_archive_cut_off_within_a_member_is_refused(cut: int) -> None:
    content = header(size=b"1000") + bytes(1000)
    with pytest.raises(InvalidLayer, match="cut off"):
        read_members(content[:cut] if cut < 512 else content[:512] + bytes(cut - 512))


def test_archive_that_ends_after_an_extended_header_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="ends after an extended header"):
        read_members(pax(b"path=a") + END)


def test_archive_may_end_without_zero_blocks_and_go_on_after_them() -> None:
    assert [m.name for m, _ in read_members(header())] == [b"f"]
    assert [m.name for m, _ in read_members(header() + END + header(b"after the end"))] == [b"f"]


def test_single_zero_block_between_members_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="zero block"):
        read_members(header() + bytes(BLOCK) + header() + END)


def test_number_of_entries_is_bounded() -> None:
    reader = TarReader(iter([header() * 3 + END]), max_entries=2)
    with pytest.raises(InvalidLayer, match="more than 2 entries"):
        list(reader)


def test_data_that_was_not_read_is_skipped() -> None:
    reader = TarReader(iter([Layer().file("a", b"x" * 2000).file("b", b"y").bytes()]))
    assert [m.name for m in reader] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"-1.5", -1_500_000_000),
        (b"1.123456789999", 1_123_456_789),
        (b"99999999999999999999", (1 << 63) - 1),
        (b"-99999999999999999999", -(1 << 63)),
    ],
)
def test_time_is_read_to_the_nanosecond_and_clamped(text: bytes, expected: int) -> None:
    assert parse_time(text) == expected


def test_xattrs_of_both_writers_are_read() -> None:
    content = pax(
        b"SCHILY.xattr.user.a=1=\n2", b"LIBARCHIVE.xattr.user.b%3D=Yg", b"LIBARCHIVE.xattr.user.a=WA=="
    )
    ((member, _),) = read_members(content + header() + END)
    assert member.xattrs == {b"user.a": b"1=\n2", b"user.b=": b"b"}


SPARSE_DATA = b"AB" * 256


@pytest.mark.parametrize(
    "records",
    [
        [
            b"GNU.sparse.size=5000",
            b"GNU.sparse.numblocks=1",
            b"GNU.sparse.offset=1000",
            b"GNU.sparse.numbytes=512",
        ],
        [b"GNU.sparse.size=5000", b"GNU.sparse.map=1000,512", b"GNU.sparse.name=real"],
        [
            b"GNU.sparse.major=0",
            b"GNU.sparse.minor=1",
            b"GNU.sparse.size=5000",
            b"GNU.sparse.map=1000,512,5000,0",
        ],
    ],
)
def test_sparse_map_in_pax_records_is_read(records: list[bytes]) -> None:
    ((member, data),) = read_members(pax(*records) + header(size=b"1000") + SPARSE_DATA + END)
    assert (member.real_size, member.segments, data) == (5000, [(1000, 512)], SPARSE_DATA)


def test_sparse_map_before_the_data_is_read() -> None:
    numbers = [n for i in range(100) for n in (i * 1000, 5)]
    table = padded(b"100\n" + b"".join(b"%d\n" % n for n in numbers))
    data = b"x" * 500
    content = pax(
        b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.name=real", b"GNU.sparse.realsize=99999"
    )
    content += header(b"GNUSparseFile/f", size=b"%o" % (len(table) + len(data))) + table + padded(data) + END
    ((member, read),) = read_members(content)
    assert (member.name, member.real_size, read) == (b"real", 99999, data)
    assert member.segments == [(i * 1000, 5) for i in range(100)]


def test_old_gnu_sparse_map_is_read_with_its_extension_blocks() -> None:
    block = bytearray(header(kind=b"S", size=b"%o" % 50, magic=b"ustar  \0"))
    pairs = [b"%011o\0%011o\0" % (i * 1000, 2) for i in range(25)]
    block[386 : 386 + 96] = b"".join(pairs[:4])
    block[482] = 1
    block[483:495] = b"%011o\0" % 30000
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    extension = b"".join(pairs[4:]) + bytes(8)
    ((member, data),) = read_members(bytes(block) + extension + padded(b"z" * 50) + END)
    assert (member.real_size, data) == (30000, b"z" * 50)
    assert member.segments == [(i * 1000, 2) for i in range(25)]


@pytest.mark.parametrize(
    "table",
    [b"1000,512,900,0", b"4999,512", b"1000,511", b"1000", b"1000,-512", b"1,x", b"18446744073709551616,512"],
)
def test_sparse_map_that_does_not_fit_its_file_is_refused(table: bytes) -> None:
    content = (
        pax(b"GNU.sparse.size=5000", b"GNU.sparse.map=" + table) + header(size=b"1000") + SPARSE_DATA + END
    )
    with pytest.raises(InvalidLayer, match="cannot read sparse file"):
        read_members(content)


@pytest.mark.parametrize("left", [0, 1, 23])
def test_padding_of_the_last_member_may_be_missing(left: int) -> None:
    """As umoci's `insert` writes a layer; Go's archive/tar reads it."""
    ((_, data),) = read_members(header(size=b"1750") + b"d" * 1000 + bytes(left))
    assert data == b"d" * 1000


def test_sparse_map_cut_off_in_the_data_is_refused() -> None:
    content = pax(b"GNU.sparse.major=1", b"GNU.sparse.minor=0", b"GNU.sparse.realsize=9")
    content += header(size=b"1000") + padded(b"999\n1\n") + END
    with pytest.raises(InvalidLayer, match="cut off"):
        read_members(content)


def test_members_equal_those_of_the_standard_library() -> None:
    layer = Layer(format=tarfile.GNU_FORMAT)
    for n in range(50):
        layer.file(f"{'d' * n * 5}/{n}", bytes(n * 37), mode=n, uid=n * 70000, mtime=n)
    ours = read_members(layer.bytes())
    with tarfile.open(fileobj=io.BytesIO(layer.bytes())) as archive:
        theirs = [(i.name.encode(), i.mode, i.uid, i.mtime * 10**9, i.size) for i in archive]
    assert [(m.name, m.mode, m.uid, m.mtime_ns, len(data)) for m, data in ours] == theirs
