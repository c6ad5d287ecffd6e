"""Read a container's log across its rotated files, and follow it to the end of its monitor. Ring 1.

A last line that is still being written is waited for; one that was cut off when its writer was killed is left
out by whoever parses it. The rules of the files: `engine.logfile`.
"""

from __future__ import annotations

import os
import time

from rootless.engine import logformat, records
from rootless.engine.logfile import file_names, timestamp
from rootless.engine.watch import Pause, Watch, open_monitor
from rootless.errors import RootlessError, StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.engine.logformat import Entry, Format
    from rootless.engine.records import Container
    from rootless.paths import Paths

_BLOCK_BYTES = 64 << 10
_MAX_ENTRY_BYTES = 1 << 20
"""Ten times what the longest line that we write becomes, if each of its bytes is escaped."""


class LogReader:
    """The files of one log, read in the order in which they were written; a context manager.

    A file that was opened is read to its end even when it is rotated out meanwhile.
    """

    def __init__(self, path: str, *, max_files: int) -> None:
        self._names = file_names(path, max_files)
        self._queue: list[int] = []
        """Descriptors of files that are not read to their end, the oldest first; owned."""
        self._rest = b""

    def skip_to_tail(self, lines: int) -> None:
        """Begin with the last `lines` whole lines; before anything was read."""
        self._queue = self._open_newer_than(-1)
        for number in range(len(self._queue) - 1, -1, -1):
            offset, found = find_tail(self._queue[number], lines)
            lines -= found
            if lines <= 0:
                os.lseek(self._queue[number], offset, os.SEEK_SET)
                self._drop(number)
                return

    def read(self) -> Iterator[list[bytes]]:
        """Yield all whole lines, without their newlines, that are there now and were not read yet."""
        if not self._queue:
            self._queue = self._open_newer_than(-1)
        while self._queue:
            if len(self._queue) == 1:  # looked for before reading: what it sees tells that ours is complete
                self._queue += self._open_newer_than(self._queue[0])
            yield from self._read_file(self._queue[0])
            if len(self._queue) == 1:
                return
            self._drop(1)

    def close(self) -> None:
        self._drop(len(self._queue))

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drop(self, count: int) -> None:
        """Forget the oldest files, and the line that the last of them has broken off."""
        for fd in self._queue[:count]:
            os.close(fd)
        del self._queue[:count]
        self._rest = b""

    def _read_file(self, fd: int) -> Iterator[list[bytes]]:
        if os.fstat(fd).st_size < os.lseek(fd, 0, os.SEEK_CUR):  # somebody has emptied it
            os.lseek(fd, 0, os.SEEK_SET)
            self._rest = b""
        while block := os.read(fd, _BLOCK_BYTES):
            *lines, self._rest = (self._rest + block).split(b"\n")
            if len(self._rest) > _MAX_ENTRY_BYTES:
                self._rest = b""  # no log of ours; what is left of the line is damaged
            if lines:
                yield lines

    def _open_newer_than(self, current: int) -> list[int]:
        """Return descriptors of the files that came after `current`, oldest first; all files for -1.

        Files grow older while we look: from the newest on, one may be met twice but none is missed.
        """
        known = set()
        newer: list[int] = []
        last = _identity(current) if current >= 0 else None
        for name in self._names:
            try:
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            identity = _identity(fd)
            if identity == last or identity in known:
                os.close(fd)
                if identity == last:
                    break
                continue
            known.add(identity)
            newer.insert(0, fd)
        return newer


def open_log(container: Container) -> tuple[LogReader, Format]:
    """Return the reader of a container's log, and the form of its lines.

    Raises:
        StateConflict: its log driver keeps nothing.
    """
    log = container.spec.log
    form = logformat.FORMATS.get(log.driver)
    if form is None:
        raise StateConflict(
            "configured logging driver does not support reading",
            on=f"container `{container.spec.name}`, --log-driver={log.driver}",
            hint="`rootless attach` shows what it writes from now on",
            reference="no-log",
        )
    return LogReader(container.path(form.file_name), max_files=log.max_files), form


def read_log(
    paths: Paths,
    container: Container,
    *,
    follow: bool = False,
    tail: int | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> Iterator[Entry | Pause]:
    """Yield what a container wrote between two moments; pauses only where its log is followed to the end.

    Args:
        tail: begin with so many last lines.

    Raises:
        StateConflict: its log driver keeps nothing.
    """
    reader, form = open_log(container)
    with reader:
        if tail is not None:
            reader.skip_to_tail(tail)
        blocks: Iterator[list[bytes] | Pause] = reader.read()
        if follow:
            blocks = follow_log(paths, container, reader, until_ns=until_ns)
        yield from entries(blocks, form, since_ns=since_ns, until_ns=until_ns)


def entries(
    blocks: Iterator[list[bytes] | Pause], form: Format, *, since_ns: int | None, until_ns: int | None
) -> Iterator[Entry | Pause]:
    """Yield the entries between two moments, and pauses as they come; those of a log order as text."""
    since = "" if since_ns is None else timestamp(since_ns)
    until = "~" if until_ns is None else timestamp(until_ns)
    for block in blocks:
        if isinstance(block, Pause):
            yield block
            continue
        for entry in form.parse(block):
            if entry[0] > until:
                return
            if entry[0] >= since:
                yield entry


def follow_log(
    paths: Paths, container: Container, reader: LogReader, *, until_ns: int | None = None
) -> Iterator[list[bytes] | Pause]:
    """Yield lines as they come, a pause whenever there is nothing new; ends with the container's monitor.

    The monitor writes the log and dies last, so nothing comes after its end. It lives through the restarts
    of its restart policy.

    Args:
        until_ns: also end at this time.
    """
    with Watch(container.directory) as watch:
        while (monitor := open_monitor(container)) >= 0:
            try:
                while True:
                    yield from reader.read()
                    yield watch.pause(monitor, timeout_s=_seconds_to(until_ns))
                    if watch.wait(monitor, timeout_ms=0) or _is_past(until_ns):
                        break
            finally:
                os.close(monitor)
            try:
                container = records.load(paths, container.spec.id)
            except RootlessError:
                break  # --rm
            if _is_past(until_ns):
                break
        yield from reader.read()


def find_tail(fd: int, lines: int) -> tuple[int, int]:
    """Return from where a file has `lines` whole lines, and how many it has from there.

    Reads backwards from its end; an unfinished last line is not counted.
    """
    position = os.fstat(fd).st_size
    left = lines + 1  # the newline before the first line that is wanted
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        block = os.pread(fd, position - start, start)
        count = block.count(b"\n")
        if count >= left:
            end = len(block)
            for _ in range(left):
                end = block.rindex(b"\n", 0, end)
            return start + end + 1, lines
        left -= count
        position = start
    return 0, lines + 1 - left


def _identity(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def _seconds_to(time_ns: int | None) -> float | None:
    return None if time_ns is None else max(0.0, (time_ns - time.time_ns()) / 1e9) + 0.001


def _is_past(time_ns: int | None) -> bool:
    return time_ns is not None and time.time_ns() > time_ns
