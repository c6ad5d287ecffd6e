"""`rootless logs`: print what a container wrote, and follow it to the container's end. Ring 1.

The log is Docker's json-file form (`engine.logfile`). A last line that is still being written, or that was
cut off when the writer was killed, is waited for or left out.
"""

from __future__ import annotations

import json
import os
import re
import select
import sys
import time

from rootless.cli.args import BOOL, Command, Option, bad_value
from rootless.engine import records
from rootless.engine.logfile import timestamp
from rootless.linux import procfs
from rootless.model import lifecycle
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.records import Container

_BLOCK_BYTES = 64 << 10
_POLL_MS = 100
"""How stale a followed log may be; polling also sees writers on other hosts of a network file system."""
_ENTRY_START = b'{"log":'
_NOT_FOR_TERMINALS = re.compile(r"\x1b\[[0-9;:]*m|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Colours pass; other escape sequences could move the cursor, set the title or answer on stdin."""

TABLE = Command(
    "logs",
    "[OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    options=(
        Option("--details", kind=BOOL, help="Show extra details provided to logs (there are none)"),
        Option("--follow", "-f", kind=BOOL, help="Follow log output"),
        Option(
            "--since",
            help='Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 '
            "minutes)",
        ),
        Option("--tail", "-n", default="all", help="Number of lines to show from the end of the logs"),
        Option("--timestamps", "-t", kind=BOOL, help="Show timestamps"),
        Option(
            "--until",
            help='Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for '
            "42 minutes)",
        ),
    ),
    min_positionals=1,
    max_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the log of one container: its stdout to stdout, its stderr to stderr."""
    parsed = TABLE.parse(argv)
    window = _window(parsed, now_ns=time.time_ns())
    tail = _tail(parsed.text("tail"))
    container = records.find(find_paths(options.root), parsed.positionals[0])
    sink = _Sink(timestamps=parsed.flag("timestamps"))
    try:
        fd = os.open(container.path("log.json"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0  # it never wrote anything
    try:
        if tail is not None:
            os.lseek(fd, find_tail(fd, tail), os.SEEK_SET)
        blocks = _follow(fd, container) if parsed.flag("follow") else _read_once(fd)
        _print(blocks, sink, since=window[0], until=window[1])
    finally:
        os.close(fd)
    return 0


def find_tail(fd: int, lines: int) -> int:
    """Return the offset from which a file has `lines` whole lines; reads backwards from its end.

    An unfinished last line is not counted.
    """
    position = os.fstat(fd).st_size
    wanted = lines + 1  # the newline before the first line that is wanted
    while position > 0:
        start = max(0, position - _BLOCK_BYTES)
        block = os.pread(fd, position - start, start)
        count = block.count(b"\n")
        if count >= wanted:
            end = len(block)
            for _ in range(wanted):
                end = block.rindex(b"\n", 0, end)
            return start + end + 1
        wanted -= count
        position = start
    return 0


def parse_entry(line: bytes) -> tuple[str, str, str] | None:
    """Return (time, stream, text) of a line of the log; None for one that is damaged."""
    try:
        entry = json.loads(line)
        return str(entry["time"]), str(entry["stream"]), str(entry["log"])
    except (ValueError, KeyError, TypeError, RecursionError):
        # A killed writer leaves half an entry; the next writer's follows on the same line. Quotes inside
        # of entries are escaped, so the last unescaped start is a real one.
        again = line.rfind(_ENTRY_START)
        return parse_entry(line[again:]) if again > 0 else None


def safe_for_terminal(text: str) -> str:
    """Escape what could drive a terminal (attack: escape sequences in output); colours stay."""
    return _NOT_FOR_TERMINALS.sub(lambda m: m[0] if len(m[0]) > 1 else repr(m[0])[1:-1], text)


class _Sink:
    """Writes entries to stdout and stderr in their order."""

    def __init__(self, *, timestamps: bool) -> None:
        self._timestamps = timestamps
        self._streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._terminals = {
            name for name, stream in self._streams.items() if stream is not None and stream.isatty()
        }
        self._last = "stdout"

    def write(self, time_text: str, name: str, text: str) -> None:
        stream = self._streams.get(name)
        if stream is None:  # its descriptor was closed by our caller
            return
        if name != self._last:
            self.flush()
            self._last = name
        text = f"{time_text} {text}" if self._timestamps else text
        data = safe_for_terminal(text) if name in self._terminals else text
        stream.buffer.write(data.encode("utf-8", "surrogateescape"))

    def flush(self) -> None:
        stream = self._streams.get(self._last)
        if stream is not None:
            stream.flush()


def _window(parsed: Parsed, *, now_ns: int) -> tuple[str, str]:
    """Return the bounds as log timestamps, which order as text; "" and "~" do not bound."""
    bounds = []
    for option, default in (("since", ""), ("until", "~")):
        text = parsed.text(option)
        if text:
            from rootless.cli.moments import parse_moment

            default = timestamp(max(0, parse_moment(text, option=f"--{option}", now_ns=now_ns)))
        bounds.append(default)
    return bounds[0], bounds[1]


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    raise bad_value("--tail", text, "not a number", hint='write a number of lines, or "all"')


def _print(blocks: Iterator[bytes], sink: _Sink, *, since: str, until: str) -> None:
    partial = b""
    for block in blocks:
        if not block:  # the reader has caught up
            sink.flush()
            continue
        *lines, partial = (partial + block).split(b"\n")
        for line in lines:
            entry = parse_entry(line)
            if entry is None or entry[0] < since:
                continue
            if entry[0] > until:
                sink.flush()
                return
            sink.write(*entry)
    sink.flush()


def _read_once(fd: int) -> Iterator[bytes]:
    while block := os.read(fd, _BLOCK_BYTES):
        yield block


def _follow(fd: int, container: Container) -> Iterator[bytes]:
    """Yield the file's blocks as they come, b"" whenever there is nothing new; ends with the monitor.

    The monitor writes the log and dies last, so nothing comes after its end.
    """
    monitor = _open_monitor(container)
    try:
        while True:
            ended = monitor < 0 or _has_ended(monitor)  # before reading: what was written then is read
            yield from _read_once(fd)
            yield b""
            if ended:
                return
            _wait(monitor)
    finally:
        if monitor >= 0:
            os.close(monitor)


def _open_monitor(container: Container) -> int:
    state = container.state
    if state.status not in (lifecycle.CREATED, lifecycle.RUNNING):
        return -1
    try:
        fd = os.pidfd_open(state.monitor_pid)
    except OSError:
        return -1
    if state.boot_id == procfs.boot_id() and procfs.is_alive(state.monitor_pid, state.monitor_start):
        return fd
    os.close(fd)
    return -1


def _has_ended(pidfd: int) -> bool:
    return bool(_poll(pidfd, 0))


def _wait(pidfd: int) -> None:
    _poll(pidfd, _POLL_MS)


def _poll(pidfd: int, timeout_ms: int) -> list[tuple[int, int]]:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return poller.poll(timeout_ms)
