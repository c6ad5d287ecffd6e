"""Headers of members that ustar has no room for, as we and the standard library read them."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from layers.tarcodec import TarReader
from layers.tarencode import END, encode_member, padding
from layers.tarheader import BLOCK, CHAR, LINK, REGULAR, SYMLINK, Member


def member(name: bytes = b"f", typeflag: bytes = REGULAR, **fields: object) -> Member:
    made = Member(name, typeflag, mode=0o644, uid=0, gid=0, size=0)
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def read(header: bytes) -> Member:
    found = TarReader(iter([header])).next_member()
    assert found is not None
    return found


@pytest.mark.parametrize("size", [0, 1, 0o77777777777, 0o77777777777 + 1, 1 << 50])
def test_any_size_survives(size: int) -> None:
    assert read(encode_member(member(size=size, real_size=size))).size == size


@pytest.mark.parametrize("number", [0, 0o7777777, 0o7777777 + 1, 2**31, 2**32 - 2])
def test_any_owner_survives(number: int) -> None:
    header = encode_member(member(uid=number, gid=number))
    assert (read(header).uid, read(header).gid) == (number, number)
    with tarfile.open(fileobj=io.BytesIO(header + END)) as theirs:
        assert theirs.next().uid == number  # type: ignore[union-attr]


@pytest.mark.parametrize("time_ns", [0, 1, 10**9, -1, -(10**9), -1_500_000_001, (1 << 33) * 10**9, 2**63 - 1])
def test_any_time_survives(time_ns: int) -> None:
    assert read(encode_member(member(mtime_ns=time_ns))).mtime_ns == time_ns


@pytest.mark.parametrize("length", [1, 99, 100, 101, 255, 256, 5000])
@pytest.mark.parametrize("typeflag", [LINK, SYMLINK])
def test_any_name_and_target_survive(length: int, typeflag: bytes) -> None:
    header = encode_member(member(b"n" * length, typeflag, linkname=b"l" * length))
    found = read(header)
    assert (found.name, found.linkname, found.typeflag) == (b"n" * length, b"l" * length, typeflag)
    with tarfile.open(fileobj=io.BytesIO(header + END)) as theirs:
        info = theirs.next()
        assert info is not None
        assert (info.name, info.linkname) == ("n" * length, "l" * length)


def test_record_lengths_count_their_own_digits() -> None:
    for length in (*range(60, 120), *range(950, 1010)):
        value = b"v" * length
        assert read(encode_member(member(xattrs={b"user.x": value}))).xattrs == {b"user.x": value}


def test_attribute_whose_name_would_end_a_record_early_is_dropped() -> None:
    header = encode_member(member(xattrs={b"user.a=b": b"1", b"user.c": b"\n=\0"}))
    assert read(header).xattrs == {b"user.c": b"\n=\0"}


def test_device_numbers_are_those_of_the_device() -> None:
    header = encode_member(member(typeflag=CHAR), device=os.makedev(10, 229))
    with tarfile.open(fileobj=io.BytesIO(header + END)) as theirs:
        info = theirs.next()
        assert info is not None
        assert (info.devmajor, info.devminor, info.ischr()) == (10, 229, True)


@pytest.mark.parametrize(
    "segments", [[], [(0, 5)], [(10, 5)], [(0, 512), (1 << 40, 1)], [(n * 4096, 1) for n in range(500)]]
)
def test_maps_of_holes_survive(segments: list[tuple[int, int]]) -> None:
    data = sum(length for _, length in segments)
    header = encode_member(
        member(b"long/" * 40 + b"f", size=data, real_size=1 << 41, segments=list(segments))
    )
    found = read(header)
    assert (found.segments, found.real_size, found.size) == (segments, 1 << 41, data)
    assert found.name == b"long/" * 40 + b"f"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_padding_fills_the_block(size: int) -> None:
    assert (size + len(padding(size))) % BLOCK == 0
    assert len(padding(size)) < BLOCK
