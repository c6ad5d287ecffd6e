"""Turn a layer's compressed bytes into plain ones, with bounded memory, in threads of its own.

Formats: gzip, bzip2 and xz (any number of members), zstd (any number of frames, skippable ones too), none.
After the end of a compressed stream only another member or zero bytes may follow. Ring 2; zlib-ng
decompresses four times as fast as the standard library's zlib and is imported only when a gzip layer comes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading

from layers.digest import Digest
from layers.errors import DigestMismatch, InvalidLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    Chunks = queue.Queue[bytes | Exception | None]
    """Ends with None, or with what went wrong."""

    class Decoder(Protocol):
        """One member or frame being decoded."""

        @property
        def eof(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes: ...


READ_BYTES = 1 << 18
PLAIN_BYTES = 1 << 20
"""Longest chunk that a decoder may return at once: what a bomb gets of memory, times the queue's length."""
QUEUE_LENGTH = 4
MAX_WINDOW_LOG = 27
"""128 MiB, the bound of the zstd program itself; frames that want more need more memory than a layer
deserves."""
MAX_XZ_BYTES = 128 << 20
"""What a decoder of xz may take; `xz -9` needs 65 MiB."""
MAX_RATIO = 5000
"""gzip cannot exceed 1032; zstd can reach 40,000 with zeros, for which nobody builds a layer."""
RATIO_FREE_BYTES = 1 << 30
"""Below this much plain data no ratio is held against a layer."""
_FIRST_STEP = 1 << 12


class PlainStream:
    """Iterate over the plain bytes of a layer; threads read, decompress and hash ahead of the consumer.

    decompress ──queue──▶ hash ──queue──▶ consumer. In one thread the two would take longer than making the
    files, and hold that up.

    Args:
        source_fd: compressed bytes up to end of file; stays the caller's.
        compression: "gzip", "zstd" or "none".
        max_bytes: most plain bytes, None for no bound of its own.

    Raises, from the iteration:
        InvalidLayer: corrupt, truncated, followed by garbage, or a bomb.
        OSError: the source cannot be read.
    """

    def __init__(self, source_fd: int, compression: str, *, max_bytes: int | None = None) -> None:
        self._meter = _Meter(source_fd, max_bytes=max_bytes)
        self._hash = hashlib.sha256()
        self._plain: Chunks = queue.Queue(QUEUE_LENGTH)
        self._hashed: Chunks = queue.Queue(QUEUE_LENGTH)
        self._decode = decoder_of(compression)
        self._closed = False
        _keep_freed_memory()
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._decompress_all, self._hash_all)
        ]
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._hashed.get()) is not None:
            if isinstance(item, Exception):
                self._closed = True
                raise item
            yield item
        self._closed = True

    @property
    def plain_bytes(self) -> int:
        """Plain bytes so far."""
        return self._meter.plain_bytes

    @property
    def digest(self) -> Digest:
        """Digest of the whole stream, which must have been consumed."""
        assert self._closed, "the stream has not been consumed"
        return Digest("sha256:" + self._hash.hexdigest())

    def finish(self, diff_id: Digest) -> None:
        """Hold the whole stream, which must have been consumed, to its digest.

        Raises:
            DigestMismatch: it is another layer.
        """
        actual = self.digest
        if actual != diff_id:
            raise DigestMismatch(expected=diff_id, actual=actual, on=diff_id)

    def close(self) -> None:
        """Stop the threads; needed when the consumer gives up early, harmless otherwise."""
        self._meter.stopped = True
        while any(thread.is_alive() for thread in self._threads):
            try:
                self._hashed.get(timeout=0.01)  # makes room: the threads may be waiting for it
            except queue.Empty:
                continue

    def _decompress_all(self) -> None:
        end: Exception | None = None
        try:
            for chunk in self._decode(self._meter.read):
                self._meter.count(chunk)
                self._plain.put(chunk)
        except Exception as exc:  # a bug, too, must reach the consumer, who waits at the queue
            end = exc
        self._plain.put(end)

    def _hash_all(self) -> None:
        while isinstance(item := self._plain.get(), bytes):
            self._hash.update(item)
            self._hashed.put(item)
        self._hashed.put(item)


def decoder_of(compression: str) -> Callable[[Callable[[int], bytes]], Iterator[bytes]]:
    """Return a generator function: from read(size) to plain chunks of at most PLAIN_BYTES.

    Raises:
        InvalidLayer: unknown compression, or no decoder for it is installed.
    """
    if compression == "none":
        return _copy
    if compression not in _FORMATS:
        raise InvalidLayer(f"cannot decompress layer: unknown compression {compression!r}")
    new, error, magic = _FORMATS[compression]()
    return lambda read: _decode(read, new, error=error, magic=magic, format_name=compression)


def detect(start: bytes) -> str:
    """Return the compression of a tar archive from its first bytes: a word for `decoder_of`.

    Args:
        start: a whole block of 512 bytes where there are as many: a member's name can begin like a format.
    """
    if start[257:262] == b"ustar":
        return "none"
    for compression, magic in _MAGIC.items():
        if start.startswith(magic):
            return compression
    return "none"


class _Meter:
    """The source with what is counted on the way: bytes in, bytes out."""

    def __init__(self, source_fd: int, *, max_bytes: int | None) -> None:
        self.fd = source_fd
        self.max_bytes = max_bytes
        self.compressed_bytes = 0
        self.plain_bytes = 0
        self.stopped = False
        _widen_pipe(source_fd)

    def read(self, size: int) -> bytes:
        if self.stopped:
            return b""
        data = os.read(self.fd, size)
        self.compressed_bytes += len(data)
        return data

    def count(self, chunk: bytes) -> None:
        self.plain_bytes += len(chunk)
        if self.max_bytes is not None and self.plain_bytes > self.max_bytes:
            raise InvalidLayer(f"cannot accept layer: it has more than {self.max_bytes} plain bytes")
        if self.plain_bytes > RATIO_FREE_BYTES and self.plain_bytes > MAX_RATIO * self.compressed_bytes:
            raise InvalidLayer(f"cannot accept layer: it expands to more than {MAX_RATIO} times its size")


def _copy(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while data := read(READ_BYTES):
        yield data


def _decode(
    read: Callable[[int], bytes],
    new: Callable[[], Decoder],
    *,
    error: type[Exception],
    magic: tuple[bytes, ...],
    format_name: str,
) -> Iterator[bytes]:
    """Decode members one after the other; zero bytes may follow the last."""
    pending = memoryview(read(READ_BYTES))
    if not pending:
        raise InvalidLayer(f"cannot decompress layer: no {format_name} data")
    while pending:
        decoder = new()
        step = _FIRST_STEP  # grows: a decoder copies what lies behind its member, fatal for 10^6 tiny members
        try:
            while not decoder.eof:
                if not pending:
                    pending = memoryview(read(READ_BYTES))
                    if not pending:
                        raise InvalidLayer(f"cannot decompress layer: the {format_name} stream is cut off")
                part = pending[:step]
                yield from _decode_part(decoder, part)
                pending = pending[len(part) - len(decoder.unused_data) :]
                step = min(step * 4, READ_BYTES)
        except error as exc:
            raise InvalidLayer(f"cannot decompress layer: corrupt {format_name} stream: {exc}") from exc
        pending = _next_member(read, pending, magic=magic, format_name=format_name)


def _decode_part(decoder: Decoder, part: memoryview) -> Iterator[bytes]:
    """Feed one piece of input and yield all that comes of it, a bounded chunk at a time."""
    data: bytes | memoryview = part
    while True:
        plain = decoder.decompress(data, PLAIN_BYTES)
        if plain:
            yield plain
        # zlib hands back what it did not take; zstd keeps it and says that it needs no input.
        data = getattr(decoder, "unconsumed_tail", b"")
        if decoder.eof or (not data and getattr(decoder, "needs_input", len(plain) < PLAIN_BYTES)):
            return


def _next_member(
    read: Callable[[int], bytes], pending: memoryview, *, magic: tuple[bytes, ...], format_name: str
) -> memoryview:
    """Return the bytes from the next member on, none at the end of the stream."""
    while len(pending) < 4:
        more = read(READ_BYTES)
        if not more:
            break
        pending = memoryview(bytes(pending) + more)
    if bytes(pending[:4]).startswith(magic):
        return pending
    while pending:
        if any(pending):
            raise InvalidLayer(f"cannot decompress layer: garbage follows the {format_name} stream")
        pending = memoryview(read(READ_BYTES))
    return pending


def _gzip() -> tuple[Callable[[], Decoder], type[Exception], tuple[bytes, ...]]:
    try:
        from zlib_ng import zlib_ng as zlib
    except ImportError:  # slower, not wrong
        import zlib  # type: ignore[no-redef]
    error: type[Exception] = zlib.error  # type: ignore[assignment]  # zlib-ng declares an instance
    return (lambda: zlib.decompressobj(wbits=31)), error, (b"\x1f\x8b",)


def _zstd() -> tuple[Callable[[], Decoder], type[Exception], tuple[bytes, ...]]:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14 and newer
    except ImportError:
        try:
            from backports import zstd  # type: ignore[no-redef,unused-ignore]
        except ImportError as exc:
            raise InvalidLayer(
                "cannot decompress layer: no zstd decoder is installed", hint="pip install backports.zstd"
            ) from exc
    options = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
    skippable = tuple(bytes((0x50 + n, 0x2A, 0x4D, 0x18)) for n in range(16))
    return (lambda: zstd.ZstdDecompressor(options=options)), zstd.ZstdError, (b"\x28\xb5\x2f\xfd", *skippable)


def _bzip2() -> tuple[Callable[[], Decoder], type[Exception], tuple[bytes, ...]]:
    import bz2

    return bz2.BZ2Decompressor, OSError, (b"BZh",)


def _xz() -> tuple[Callable[[], Decoder], type[Exception], tuple[bytes, ...]]:
    import lzma

    return (lambda: lzma.LZMADecompressor(memlimit=MAX_XZ_BYTES)), lzma.LZMAError, (b"\xfd7zX",)


_FORMATS = {"gzip": _gzip, "zstd": _zstd, "bzip2": _bzip2, "xz": _xz}
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0"}


def _keep_freed_memory() -> None:
    """Let the C library use the memory of freed chunks again, rather than give it back and fault it in anew.

    glibc's thresholds for that follow the greatest block that was freed, up to this one (man 3 mallopt,
    M_MMAP_THRESHOLD). It is never touched, and so takes no memory itself.
    """
    bytes((32 << 20) - (1 << 13))


def _widen_pipe(fd: int) -> None:
    """Let the sender run ahead: a pipe holds 64 KiB by default, which costs a switch of processes each."""
    import fcntl

    with contextlib.suppress(OSError):  # a file or socket, or the user's pipe quota is used up: only slower
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 1 << 20)
