"""Write a container's output to its log, and rotate that. Ring 1.

    log.json      the newest: what is written goes there
    log.json.1    older by one, and so on up to max-file

Rules:
- Files are shifted by renames, the oldest first, and only up to the first gap: a writer that is killed
  between two of them leaves a gap that readers pass over and the next rotation closes. Nothing is copied,
  so no line is lost or there twice. With one file to keep, its content goes, as with Docker.
- The next file appears only after the last write to the one before: a reader that sees it has an old file
  that is complete.
- A full disk loses lines but never stops the container: what could not be written is counted.

What stands in the files: `engine.logformat`. Who reads them: `engine.logreader`.
"""

from __future__ import annotations

import os
import time

from layers.contexts import suppress
from rootless.engine import logformat
from rootless.engine.logattrs import log_attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.logformat import Format
    from rootless.model.spec import ContainerSpec

MAX_LINE_BYTES = 16 << 10
"""A longer line becomes several entries, as Docker's copier does."""


class Log:
    """What takes a container's output. This one keeps nothing: the driver "none".

    Attributes:
        lost_bytes: of the log, those that could not be written.
    """

    __slots__ = ("lost_bytes",)

    def __init__(self) -> None:
        self.lost_bytes = 0

    def write(self, stream: str, data: bytes) -> None:
        """Take output of "stdout" or "stderr"."""

    def close(self) -> None:
        """Finish the log; idempotent."""


class LogWriter(Log):
    """Appends output to a log, which appears with the first line; owns the descriptor. One writer at a time.

    Args:
        max_size_bytes: a file that has reached this is rotated, 0 never.
        max_files: so many are kept, the one that is written to included.
    """

    __slots__ = (
        "_attributes",
        "_fd",
        "_format",
        "_max_files",
        "_max_size",
        "_path",
        "_rest",
        "_second",
        "_size",
        "_stamp",
        "_torn",
    )

    def __init__(
        self,
        path: str,
        *,
        form: Format = logformat.FORMATS["json-file"],
        attributes: bytes = b"",
        max_size_bytes: int = 0,
        max_files: int = 1,
    ) -> None:
        super().__init__()
        self._path = path
        self._format = form
        self._attributes = attributes
        self._max_size = max_size_bytes
        self._max_files = max_files
        self._rest = {"stdout": b"", "stderr": b""}
        self._second = -1
        self._stamp = b""
        self._fd = -1
        self._size = 0
        self._torn = False

    def write(self, stream: str, data: bytes) -> None:
        """Take output; an unfinished line waits for its end."""
        text = self._rest[stream] + data if self._rest[stream] else data
        begin = position = 0
        while len(text) - position >= MAX_LINE_BYTES:
            line_end = text.rfind(b"\n", position, position + MAX_LINE_BYTES) + 1
            position = line_end or position + MAX_LINE_BYTES
            if not line_end:
                self._append(stream, text[begin:position])
                begin = position
        end = max(begin, text.rfind(b"\n", begin) + 1)
        if end > begin:
            self._append(stream, text[begin:end])
        self._rest[stream] = text[end:]

    def close(self) -> None:
        """Write unfinished lines and close; idempotent."""
        for stream, rest in self._rest.items():
            if rest:
                self._append(stream, rest)
                self._rest[stream] = b""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, stream: str, text: bytes) -> None:
        """Write entries; each goes to a file that has not reached its full size."""
        entries = self._format.encode(text, stream, self._now(), self._attributes)
        if self._fd < 0 and not self._open():
            self.lost_bytes += len(entries)
            return
        start = 0
        while start < len(entries):
            if self._max_size and self._size >= self._max_size:
                self._rotate()
            end = len(entries)
            if self._max_size > self._size:
                end = entries.find(b"\n", start + self._max_size - self._size - 1) + 1 or end
            self._write(entries[start:end])
            start = end

    def _write(self, entries: bytes) -> None:
        if self._torn:  # what a killed writer or a full disk has cut off stays a line of its own
            entries = b"\n" + entries
        try:
            written = os.write(self._fd, entries)
        except OSError:
            written = 0
        if written:
            self._torn = not entries.endswith(b"\n", 0, written)
            self._size += written
        self.lost_bytes += len(entries) - written

    def _open(self) -> bool:
        """Open the log; False when that is not possible now."""
        try:
            self._fd = _open(self._path)
            self._size = os.fstat(self._fd).st_size
            self._torn = bool(self._size) and not _ends_a_line(self._path, self._size)
        except OSError:
            return False
        return True

    def _rotate(self) -> None:
        """Go on in a new file; where that cannot be made, in the old one."""
        with suppress(OSError):
            _shift(self._path, self._max_files)
            fd = _open(self._path)
            os.close(self._fd)
            self._fd, self._size, self._torn = fd, 0, False

    def _now(self) -> bytes:
        """Return the time as entries have it; formats the date once a second."""
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._stamp = timestamp(second * 1_000_000_000)[:20].encode()
        return self._stamp + b"%09dZ" % nanoseconds


def open_writer(directory: str, spec: ContainerSpec) -> Log:
    """Return the log of a container for writing; a restarted container continues it.

    Args:
        directory: the container's.
    """
    log = spec.log
    form = logformat.FORMATS.get(log.driver)
    if form is None:
        return Log()
    return LogWriter(
        os.path.join(directory, form.file_name),
        form=form,
        attributes=logformat.encode_attributes(log_attributes(spec)),
        max_size_bytes=log.max_size_bytes,
        max_files=log.max_files,
    )


def file_names(path: str, max_files: int) -> list[str]:
    """Return the files that a log may consist of, the newest first."""
    return [path, *(f"{path}.{number}" for number in range(1, max_files))]


def timestamp(time_ns: int) -> str:
    """Return RFC 3339 with nanoseconds in UTC: "2026-01-02T03:04:05.000000006Z"."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09d}Z"


def _shift(path: str, max_files: int) -> None:
    """Make `path` free: each file up to the first gap becomes the next older one, the oldest goes."""
    names = file_names(path, max_files)
    gap = next((n for n, name in enumerate(names) if not os.path.lexists(name)), len(names))
    if gap == len(names):
        gap -= 1
        os.unlink(names[gap])
    for number in range(gap, 0, -1):
        os.rename(names[number - 1], names[number])


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _ends_a_line(path: str, size: int) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, 1, size - 1) == b"\n"
    finally:
        os.close(fd)
