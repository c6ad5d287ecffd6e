"""The tar reader on archives of all dialects, and on any bytes at all."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidLayer
from layers.tarheader import parse_number, parse_records
from tests.helpers.extraction import read_members
from tests.helpers.images import Layer

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=40).filter(
    lambda text: text not in (".", "..")
)
NAMES = st.lists(TEXT, min_size=1, max_size=6).map("/".join)
FORMATS = st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
FILES = st.lists(
    st.tuples(
        NAMES, st.binary(max_size=1500), st.integers(0, 0o7777), st.integers(0, 2**33), st.integers(0, 2**34)
    ),
    max_size=5,
)


@given(files=FILES, format=FORMATS, chunk=st.integers(1, 3000))
def test_files_survive_the_round_trip_in_chunks_of_any_length(files: list, format: int, chunk: int) -> None:
    layer = Layer(format=format)
    for name, data, mode, uid, mtime in files:
        layer.file(name, data, mode=mode, uid=uid, gid=uid // 2, mtime=mtime)
    read = read_members(layer.bytes(), chunk=chunk)
    assert [(m.name, data, m.mode, m.uid, m.gid, m.mtime_ns) for m, data in read] == [
        (name.encode(), data, mode, uid, uid // 2, min(mtime * 10**9, 2**63 - 1))
        for name, data, mode, uid, mtime in files
    ]


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_an_invalid_layer(content: bytes) -> None:
    with suppress(InvalidLayer):
        read_members(content)


@given(
    files=FILES,
    format=FORMATS,
    changes=st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 255)), max_size=8),
    cut=st.integers(0, 1 << 14),
)
def test_damaged_archives_are_read_or_refused(files: list, format: int, changes: list, cut: int) -> None:
    layer = Layer(format=format)
    for name, data, mode, uid, mtime in files:
        layer.file(name, data, mode=mode, uid=uid, mtime=mtime)
    content = bytearray(layer.bytes())
    for position, value in changes:
        content[position % len(content)] = value
    for damaged in (bytes(content), bytes(content[:cut])):
        with suppress(InvalidLayer):
            read_members(damaged)


@given(
    st.dictionaries(
        TEXT.filter(lambda key: "=" not in key and not key.startswith("GNU.sparse")), TEXT, max_size=5
    )
)
def test_pax_records_survive_the_round_trip(records: dict[str, str]) -> None:
    data = tarfile.TarInfo._create_pax_generic_header(records, tarfile.XHDTYPE, "utf-8")
    size = int(data[124:135], 8)
    expected = {key.encode(): value.encode() for key, value in records.items()}
    assert parse_records(data[512 : 512 + size]) == expected


@given(st.binary(max_size=200))
def test_any_bytes_are_pax_records_or_an_invalid_layer(data: bytes) -> None:
    with suppress(InvalidLayer):
        parse_records(data)


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_read_as_the_standard_library_writes_them(number: int) -> None:
    written = tarfile.itn(number, 12, tarfile.GNU_FORMAT)
    assert parse_number(written) == number


@given(FILES)
def test_members_are_those_that_the_standard_library_reads(files: list) -> None:
    layer = Layer()
    for name, data, *_ in files:
        layer.file(name, data)
    with tarfile.open(fileobj=io.BytesIO(layer.bytes())) as archive:
        theirs = [(info.name.encode(), info.size) for info in archive]
    assert [(member.name, len(data)) for member, data in read_members(layer.bytes())] == theirs
