"""A container's log in Docker's json-file form: one object a line, byte-exact. Ring 1.

A line that is not UTF-8 keeps its bytes as lone surrogates (\\udc80 to \\udcff, as PEP 383), which other
readers show as replacement characters.
"""

from __future__ import annotations

import os
import time
from _json import encode_basestring_ascii  # json.encoder's own, without the package's other imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 16 << 10
"""A longer line becomes several entries, as Docker's copier does."""


class LogWriter:
    """Appends output to a log file; owns the descriptor.

    A full disk loses log lines but never stops the container: what could not be written is counted.
    """

    __slots__ = ("_fd", "_partial", "lost_bytes")

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._partial = {"stdout": b"", "stderr": b""}
        self.lost_bytes = 0

    def write(self, stream: str, data: bytes) -> None:
        """Log output of "stdout" or "stderr"; an unfinished line waits for its end."""
        text = self._partial[stream] + data
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        pieces = list(_pieces(text[:end])) if end else []
        while len(rest) >= MAX_LINE_BYTES:
            pieces.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        self._partial[stream] = rest
        if pieces:
            self._append(stream, pieces)

    def close(self) -> None:
        """Write unfinished lines and close; idempotent."""
        if self._fd < 0:
            return
        for stream, rest in self._partial.items():
            if rest:
                self._append(stream, [rest])
        os.close(self._fd)
        self._fd = -1

    def _append(self, stream: str, pieces: list[bytes]) -> None:
        tail = f',"stream":"{stream}","time":"{timestamp(time.time_ns())}"}}\n'
        text = "".join(
            f'{{"log":{encode_basestring_ascii(piece.decode("utf-8", "surrogateescape"))}{tail}'
            for piece in pieces
        )
        block = text.encode()
        try:
            written = os.write(self._fd, block)
        except OSError:
            written = 0
        self.lost_bytes += len(block) - written


def timestamp(time_ns: int) -> str:
    """Return RFC 3339 with nanoseconds in UTC: "2026-01-02T03:04:05.000000006Z"."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def _pieces(text: bytes) -> Iterator[bytes]:
    """Split whole lines, newline kept, no piece longer than MAX_LINE_BYTES."""
    start = 0
    while start < len(text):
        end = text.index(b"\n", start) + 1
        while end - start > MAX_LINE_BYTES:
            yield text[start : start + MAX_LINE_BYTES]
            start += MAX_LINE_BYTES
        yield text[start:end]
        start = end
