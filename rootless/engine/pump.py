"""Move a container's output to its log and to everybody who watches, and wait for its end. Ring 1.

A plain poll loop, no trio: this runs for the whole life of every container, and most of them are short or
quiet (docs/decisions/0001-monitor.md).

Rules:
- The log gets every byte, and so does every watcher while it is there.
- A watcher that is slow slows nobody: what it has not taken waits in its backlog. Only when that can grow no
  more does the one that started the container slow it, as a pipe would; others are let go.
- What the container wrote before it ended is read without waiting for a watcher: its end is recorded even
  while the reader of `run … | less` takes a break. Watchers get it all before they are told of the end.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rootless.engine.audience import Audience
    from rootless.engine.backlog import Backlog
    from rootless.engine.logfile import Log

_CHUNK_BYTES = 64 << 10
_LINGER_S = 2.0
"""How long output may still come after the container's end: only a descriptor that left the container
through a socket can keep a pipe open that long."""
_LAST_BYTES = 2 << 20
"""So much output is read after the container's end: twice what a pipe can hold that its user made as big as
possible (man 7 pipe). What comes after that is from somebody else, who could go on for ever."""


class Watcher:
    """One reader of one output.

    Attributes:
        target: write end towards it, non-blocking; owned, -1 once it is gone.
        backlog: what it has not taken yet; owned.
        is_patient: with a full backlog the container waits, instead of this reader being let go.
    """

    __slots__ = ("backlog", "is_patient", "target")

    def __init__(self, target: int, backlog: Backlog, *, is_patient: bool) -> None:
        self.target = target
        self.backlog = backlog
        self.is_patient = is_patient
        os.set_blocking(target, False)

    @property
    def is_behind(self) -> bool:
        return self.target >= 0 and len(self.backlog) > 0

    @property
    def holds_back(self) -> bool:
        return self.is_patient and self.backlog.is_full

    def feed(self, data: bytes) -> None:
        """Hand bytes over, or keep them for later."""
        if not self.backlog:
            data = data[self._write(data) :]
        if data and self.target >= 0:
            self.backlog.append(data)
            if self.backlog.is_full and not self.is_patient:
                self.close()

    def flush(self) -> None:
        """Hand over as much of the backlog as is taken at once."""
        while self.target >= 0 and (data := self.backlog.head()):
            count = self._write(data)
            if not count:
                return
            self.backlog.drop(count)

    def close(self) -> None:
        self.backlog.close()
        target, self.target = self.target, -1
        if target >= 0:
            os.close(target)

    def _write(self, data: bytes) -> int:
        try:
            return os.write(self.target, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()  # EPIPE: its reader is gone
            return 0


class Tap:
    """One output of the container.

    Attributes:
        source: read end, non-blocking; owned, -1 once closed.
        is_terminal: it is the container's terminal, which takes input too.
        watchers: who reads it; those that are gone stay with a target of -1.
    """

    __slots__ = ("is_terminal", "source", "stream", "watchers")

    def __init__(self, *, stream: str, source: int, is_terminal: bool = False) -> None:
        self.stream = stream
        self.is_terminal = is_terminal
        self.source = source
        self.watchers: list[Watcher] = []
        os.set_blocking(source, False)

    def read(self, log: Log) -> int:
        """Read once; returns how many bytes, 0 when there are none now. Closes itself at the end."""
        try:
            data = os.read(self.source, _CHUNK_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""  # EIO: the last user of the terminal has closed it
        if not data:
            self.close_source()
            return 0
        log.write(self.stream, data)
        for watcher in self.watchers:
            if watcher.target >= 0:
                watcher.feed(data)
        return len(data)

    def close_source(self) -> None:
        if self.source >= 0:
            os.close(self.source)
            self.source = -1


def pump(taps: Sequence[Tap], log: Log, *, pidfd: int, audience: Audience) -> None:
    """Run until the container has ended and its output has been read; `flush` does the rest.

    Args:
        taps: their sources are closed when this returns.
        pidfd: of the container's first process; not reaped here.
        audience: who watches; it is heard, and may grow, meanwhile.
    """
    while True:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        for fd in audience.descriptors():
            poller.register(fd, select.POLLIN)
        behind = _behind(taps)
        for target in behind:
            poller.register(target, select.POLLOUT)
        for tap in taps:
            if tap.source >= 0 and not any(watcher.holds_back for watcher in tap.watchers):
                poller.register(tap.source, select.POLLIN)
        ready = {fd for fd, _ in poller.poll()}
        if pidfd in ready:
            break
        for target in ready & behind.keys():
            behind[target].flush()
        for tap in taps:
            if tap.source in ready:
                tap.read(log)
        audience.hear(ready)
    _read_last(taps, log)


def flush(taps: Iterable[Tap]) -> None:
    """Hand over what watchers take at once."""
    for watcher in _behind(taps).values():
        watcher.flush()


def wait_and_flush(taps: Iterable[Tap]) -> None:
    """Wait for a watcher that is behind, and hand over what it takes."""
    behind = _behind(taps)
    poller = select.poll()
    for target in behind:
        poller.register(target, select.POLLOUT)
    for target, _ in poller.poll():
        behind[target].flush()


def _behind(taps: Iterable[Tap]) -> dict[int, Watcher]:
    """Return the watchers that have a backlog, by their descriptors."""
    return {w.target: w for tap in taps for w in tap.watchers if w.is_behind}


def _read_last(taps: Iterable[Tap], log: Log) -> None:
    """Read what the pipes and the terminal still hold, and close them."""
    deadline = time.monotonic() + _LINGER_S
    left = {tap.source: _LAST_BYTES for tap in taps if tap.source >= 0}
    by_source = {tap.source: tap for tap in taps}
    while left and (seconds := deadline - time.monotonic()) > 0:
        poller = select.poll()
        for source in left:
            poller.register(source, select.POLLIN)
        for source, _ in poller.poll(seconds * 1000):
            tap = by_source[source]
            left[source] -= tap.read(log)
            if tap.source < 0 or left[source] <= 0:
                del left[source]
    for tap in taps:
        tap.close_source()
