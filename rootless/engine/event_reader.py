"""Read the journal of events (`engine.events`), and follow it. Ring 1.

A reader keeps one block in memory and opens one file at a time. The kernel wakes it when something is
written; writers on other hosts of a shared file system are noticed within POLL_S.
"""

from __future__ import annotations

import json
import os
import time

from rootless.engine import events
from rootless.engine.watch import Pause, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rootless.paths import Paths

    Event = dict[str, Any]

POLL_S = 1.0
_BLOCK_BYTES = 1 << 16
_MAX_LINE_BYTES = 16 << 20
"""What has no end by then is no event."""
_NOTHING: tuple[int, int] = (0, 0)


def read(paths: Paths, *, since_ns: int | None, until_ns: int | None) -> Iterator[Event]:
    """Do as `follow`, and sleep while there is nothing new."""
    for step in follow(paths, since_ns=since_ns, until_ns=until_ns):
        if isinstance(step, Pause):
            step.wait()
        else:
            yield step


def follow(paths: Paths, *, since_ns: int | None, until_ns: int | None) -> Iterator[Event | Pause]:
    """Iterate over events in their order; ends at `until_ns`, which may lie in the future.

    Args:
        since_ns: None leaves out what is already recorded.
        until_ns: None goes on for ever.
    """
    reader = _Reader(paths)
    try:
        if since_ns is None:
            reader.skip_to_end()
        while True:
            ended = until_ns is not None and time.time_ns() > until_ns  # before reading: what was, is read
            for line in reader.lines():
                event = parse(line)
                if event is not None and _is_within(event, since_ns, until_ns):
                    yield event
            if ended:
                return
            yield reader.pause(_seconds_left(until_ns))
            reader.wait(0)
    finally:
        reader.close()


def parse(line: bytes) -> Event | None:
    """Return the event that a line holds, None for what is none: a writer may have been killed at it."""
    try:
        event = json.loads(line)
        actor = event["Actor"]
        texts = (event["Type"], event["Action"], actor["ID"], *actor["Attributes"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    is_event = isinstance(event.get("timeNano"), int) and all(isinstance(text, str) for text in texts)
    return event if is_event else None


def _is_within(event: Event, since_ns: int | None, until_ns: int | None) -> bool:
    moment: int = event["timeNano"]
    return (since_ns is None or moment >= since_ns) and (until_ns is None or moment <= until_ns)


def _seconds_left(until_ns: int | None) -> float:
    if until_ns is None:
        return POLL_S
    return min(POLL_S, max(0.0, (until_ns - time.time_ns()) / 1e9) + 0.001)


class _Reader:
    """The journal as a stream of lines, across its rotations."""

    def __init__(self, paths: Paths) -> None:
        self._journal = events.journal_path(paths)
        self._rotated = events.rotated_path(paths)
        self._fd = -1
        self._file = _NOTHING
        """Device and inode of what was opened last; nothing is added to it once it has lost its name."""
        self._rest = b""
        self._watch = Watch(paths.store)

    def lines(self) -> Iterator[bytes]:
        """Yield the whole lines that have been written since."""
        while True:
            has_moved = self._fd < 0 or _identity(self._journal) != self._file  # before reading to its end
            yield from self._lines_of_file()
            if not has_moved or not self._open_next():
                return

    def skip_to_end(self) -> None:
        """Pass over what is there now."""
        for path in (self._rotated, self._journal):
            self._open(path)
        if self._fd >= 0:
            os.lseek(self._fd, 0, os.SEEK_END)

    def pause(self, timeout_s: float) -> Pause:
        return self._watch.pause(timeout_s=timeout_s)

    def wait(self, timeout_s: float) -> None:
        """Sleep until something may have been written."""
        self._watch.wait(timeout_ms=timeout_s * 1000)

    def close(self) -> None:
        self._watch.close()
        if self._fd >= 0:
            os.close(self._fd)

    def _lines_of_file(self) -> Iterator[bytes]:
        while self._fd >= 0 and (block := os.read(self._fd, _BLOCK_BYTES)):
            *lines, self._rest = (self._rest + block).split(b"\n")
            if len(self._rest) > _MAX_LINE_BYTES:
                self._rest = b""
            yield from lines

    def _open_next(self) -> bool:
        """Go on with the file after the present one: what was rotated meanwhile comes before the journal."""
        rotated = _identity(self._rotated)
        return self._open(self._journal if rotated in (_NOTHING, self._file) else self._rotated)

    def _open(self, path: str) -> bool:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        if self._fd >= 0:
            os.close(self._fd)
        info = os.fstat(fd)
        self._fd, self._file, self._rest = fd, (info.st_dev, info.st_ino), b""
        return True


def _identity(path: str) -> tuple[int, int]:
    """Return device and inode, which are nobody else's while the file is open."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return _NOTHING
    return info.st_dev, info.st_ino
