"""`rootless logs`: print what a container wrote, and follow it to the container's end. Ring 1.

Where the lines come from: `engine.logreader`.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import suppress

from rootless.cli.args import BOOL, Command, Option, bad_value
from rootless.engine import logreader, records
from rootless.engine.watch import Pause
from rootless.errors import NotFound
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.logformat import Entry
    from rootless.engine.records import Container
    from rootless.paths import Paths

_NOT_FOR_TERMINALS = re.compile(r"\x1b\[[0-9;:]*m|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Colours pass; other escape sequences could move the cursor, set the title or answer on stdin."""

TABLE = Command(
    "logs",
    "[OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    options=(
        Option("--details", kind=BOOL, help="Show extra details provided to logs"),
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
    since_ns, until_ns = (_moment(parsed, option, now_ns=time.time_ns()) for option in ("since", "until"))
    tail = _tail(parsed.text("tail"))
    paths = find_paths(options.root)
    container = records.find(paths, parsed.positionals[0])
    sink = _Sink(timestamps=parsed.flag("timestamps"), details=parsed.flag("details"))
    follow = parsed.flag("follow")
    _print(
        logreader.read_log(paths, container, follow=follow, tail=tail, since_ns=since_ns, until_ns=until_ns),
        sink,
    )
    _tell_losses(paths, container)
    return 0


def safe_for_terminal(text: str) -> str:
    """Escape what could drive a terminal (attack: escape sequences in output); colours stay."""
    return _NOT_FOR_TERMINALS.sub(lambda m: m[0] if len(m[0]) > 1 else repr(m[0])[1:-1], text)


def _tell_losses(paths: Paths, container: Container) -> None:
    """Say how much of the log is missing, as known at the end of the last run."""
    with suppress(NotFound):  # removed while we read
        container = records.load(paths, container.spec.id)
    lost = container.state.log_lost_bytes
    if lost:
        print(f"notice: {lost} bytes of this log are lost: the disk was full", file=sys.stderr, flush=True)


class _Sink:
    """Writes entries to stdout and stderr in their order."""

    def __init__(self, *, timestamps: bool, details: bool) -> None:
        self._timestamps = timestamps
        self._details = details
        self._streams = {"stdout": sys.stdout, "stderr": sys.stderr}
        self._terminals = {
            name for name, stream in self._streams.items() if stream is not None and stream.isatty()
        }
        self._last = "stdout"

    def write(self, time_text: str, name: str, text: bytes, attributes: Mapping[str, str]) -> None:
        stream = self._streams.get(name)
        if stream is None:  # its descriptor was closed by our caller
            return
        if name != self._last:
            self.flush()
            self._last = name
        if self._details:
            text = _details(attributes) + b" " + text
        if self._timestamps:
            text = time_text.encode("utf-8", "replace") + b" " + text
        if name in self._terminals:
            shown = safe_for_terminal(text.decode("utf-8", "surrogateescape"))
            text = shown.encode("utf-8", "surrogateescape")
        stream.buffer.write(text)

    def flush(self) -> None:
        stream = self._streams.get(self._last)
        if stream is not None:
            stream.flush()


def _details(attributes: Mapping[str, str]) -> bytes:
    """Return "name=value,…" in Docker's form: sorted, and quoted as in a URL's query."""
    from urllib.parse import quote_plus  # only for --details

    words = ([quote_plus(str(word), errors="replace") for word in pair] for pair in attributes.items())
    return ",".join(sorted(map("=".join, words))).encode()


def _moment(parsed: Parsed, option: str, *, now_ns: int) -> int | None:
    text = parsed.text(option)
    if not text:
        return None
    from rootless.cli.moments import parse_moment  # only for those who name one

    return max(0, parse_moment(text, option=f"--{option}", now_ns=now_ns))


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    raise bad_value("--tail", text, "not a number", hint='write a number of lines, or "all"')


def _print(entries: Iterator[Entry | Pause], sink: _Sink) -> None:
    for entry in entries:
        if isinstance(entry, Pause):
            sink.flush()
            entry.wait()
        else:
            sink.write(*entry)
    sink.flush()
