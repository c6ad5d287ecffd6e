"""Decompression: formats, members, garbage, bombs."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from layers import decompress
from layers.decompress import PLAIN_BYTES, PlainStream
from layers.digest import Digest
from layers.errors import DigestMismatch, InvalidLayer

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = os.urandom(10_000) + bytes(3 << 20) + b"end"
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress, "none": bytes}
SKIPPABLE = bytes.fromhex("5a2a4d18") + (8).to_bytes(4, "little") + b"metadata"


def stream(data: bytes, compression: str, *, max_bytes: int | None = None) -> PlainStream:
    """Feed bytes through a pipe from a thread."""
    reading, writing = os.pipe()

    def feed() -> None:
        file = os.fdopen(writing, "wb", 0)
        with suppress(BrokenPipeError):  # the reader gave up, as it should
            file.write(data)
        file.close()

    plain = PlainStream(reading, compression, max_bytes=max_bytes)
    plain.feeder = threading.Thread(target=feed)  # type: ignore[attr-defined]
    plain.feeder.start()  # type: ignore[attr-defined]
    plain.source = reading  # type: ignore[attr-defined]
    return plain


def read(data: bytes, compression: str, *, max_bytes: int | None = None) -> bytes:
    plain = stream(data, compression, max_bytes=max_bytes)
    try:
        return b"".join(plain)
    finally:
        plain.close()
        os.close(plain.source)  # type: ignore[attr-defined]
        plain.feeder.join()  # type: ignore[attr-defined]


@pytest.mark.parametrize("compression", COMPRESS)
def test_each_format_gives_the_plain_bytes(compression: str) -> None:
    assert read(COMPRESS[compression](DATA), compression) == DATA


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_members_follow_one_another(compression: str) -> None:
    pack = COMPRESS[compression]
    assert read(pack(DATA) + pack(b"") + pack(b"more"), compression) == DATA + b"more"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_many_tiny_members_take_no_long_time(compression: str) -> None:
    assert read(COMPRESS[compression](b"x") * 20_000, compression) == b"x" * 20_000


def test_skippable_frames_are_skipped() -> None:
    assert read(SKIPPABLE + zstd.compress(DATA) + SKIPPABLE + SKIPPABLE, "zstd") == DATA


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("padding", [1, 3, 4, 600_000])
def test_zero_padding_after_the_stream_is_harmless(compression: str, padding: int) -> None:
    assert read(COMPRESS[compression](DATA) + bytes(padding), compression) == DATA


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("garbage", [b"x", b"\0x", bytes(600_000) + b"x", b"garbage"])
def test_garbage_after_the_stream_is_refused(compression: str, garbage: bytes) -> None:
    with pytest.raises(InvalidLayer, match=f"garbage follows the {compression} stream"):
        read(COMPRESS[compression](DATA) + garbage, compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("keep", [1, 10, 5_000, -1])
def test_stream_cut_off_is_refused(compression: str, keep: int) -> None:
    with pytest.raises(InvalidLayer, match="cut off"):
        read(COMPRESS[compression](DATA)[:keep], compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_empty_stream_is_refused(compression: str) -> None:
    with pytest.raises(InvalidLayer, match=f"no {compression} data"):
        read(b"", compression)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_corrupt_stream_is_refused(compression: str) -> None:
    data = bytearray(COMPRESS[compression](os.urandom(100_000) + DATA))
    data[:4] = b"oops"
    with pytest.raises(InvalidLayer, match=f"corrupt {compression} stream"):
        read(bytes(data), compression)


def test_gzip_checksum_is_checked() -> None:
    data = bytearray(gzip.compress(DATA))
    data[-8] ^= 1
    with pytest.raises(InvalidLayer, match="corrupt gzip stream"):
        read(bytes(data), "gzip")


def test_unknown_compression_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="unknown compression 'lzip'"):
        decompress.decoder_of("lzip")


def test_zstd_frame_with_a_huge_window_is_refused() -> None:
    with pytest.raises(InvalidLayer, match="corrupt zstd stream"):
        read(streamed_zstd(30), "zstd")
    assert read(streamed_zstd(27), "zstd") == b"x" * 1000


def streamed_zstd(window_log: int) -> bytes:
    """Return a frame that does not know its length, so that it needs its window."""
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_log})
    return compressor.compress(b"x" * 1000) + compressor.flush()


def test_bomb_never_gives_more_than_one_chunk_at_once() -> None:
    for compression in ("gzip", "zstd"):
        source = iter([COMPRESS[compression](bytes(64 << 20)), b""])
        chunks = decompress.decoder_of(compression)(lambda _, source=source: next(source))
        assert max(map(len, chunks)) <= PLAIN_BYTES


def test_plain_bytes_are_bounded() -> None:
    with pytest.raises(InvalidLayer, match="more than 1000 plain bytes"):
        read(gzip.compress(bytes(1001)), "gzip", max_bytes=1000)
    assert len(read(gzip.compress(bytes(1000)), "gzip", max_bytes=1000)) == 1000


def test_ratio_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "RATIO_FREE_BYTES", 1 << 20)
    with pytest.raises(InvalidLayer, match="5000 times its size"):
        read(zstd.compress(bytes(64 << 20)), "zstd")
    assert len(read(gzip.compress(bytes(64 << 20)), "gzip")) == 64 << 20  # gzip cannot reach it


def test_nested_gzip_is_opened_once() -> None:
    inner = gzip.compress(bytes(1 << 20))
    assert read(gzip.compress(inner), "gzip") == inner


def test_digest_covers_all_plain_bytes() -> None:
    plain = stream(gzip.compress(DATA), "gzip")
    for _ in plain:
        pass
    plain.finish(Digest("sha256:" + hashlib.sha256(DATA).hexdigest()))
    with pytest.raises(DigestMismatch):
        plain.finish(Digest("sha256:" + "0" * 64))
    assert plain.plain_bytes == len(DATA)
    os.close(plain.source)  # type: ignore[attr-defined]
    plain.feeder.join()  # type: ignore[attr-defined]


def test_stream_given_up_early_stops_its_threads() -> None:
    plain = stream(bytes(64 << 20), "none")
    next(iter(plain))
    plain.close()
    assert not any(thread.is_alive() for thread in plain._threads)
    os.close(plain.source)  # type: ignore[attr-defined]
    plain.feeder.join()  # type: ignore[attr-defined]


def test_source_that_cannot_be_read_raises_its_error(tmp_path: os.PathLike[str]) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(IsADirectoryError):
        list(PlainStream(fd, "none"))
    os.close(fd)
