"""Move a container's output to its log and to the foreground command line, and wait for its end. Ring 1.

A plain poll loop, no trio: this runs for the whole life of every container, and most of them are short or
quiet (docs/decisions/0001-monitor.md).

Rules:
- The log gets every byte, the watcher gets every byte while it is there.
- A watcher that is slow slows the container (as a pipe would); one that is gone is forgotten.
- What the container wrote before it ended is read without waiting for a watcher: its end is recorded even
  while the reader of `run … | less` takes a break. The watcher gets it all before it is told of the end.
"""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.logfile import LogWriter
    from rootless.engine.session import Minder

_CHUNK_BYTES = 64 << 10
_LINGER_S = 2.0
"""How long output may still come after the container's end: only a descriptor that left the container
through a socket can keep a pipe open that long."""
_LAST_BYTES = 2 << 20
"""So much output is read after the container's end: twice what a pipe can hold that its user made as big as
possible (man 7 pipe). What comes after that is from somebody else, who could go on for ever."""


class Tap:
    """One output of the container: read end, and where it goes.

    Attributes:
        source: read end, non-blocking; owned, -1 once closed.
        target: write end towards the watcher, non-blocking; owned, -1 without one.
        pending: read, logged, but not yet taken by the watcher.
    """

    __slots__ = ("pending", "source", "stream", "target")

    def __init__(self, *, stream: str, source: int, target: int) -> None:
        self.stream = stream
        self.source = source
        self.target = target
        self.pending = b""
        os.set_blocking(source, False)
        if target >= 0:
            os.set_blocking(target, False)

    def read(self, log: LogWriter) -> None:
        try:
            data = os.read(self.source, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # EIO: the last user of the terminal has closed it
        if not data:
            self.close_source()
            return
        log.write(self.stream, data)
        if self.target >= 0:
            self.pending = data
            self.flush()

    def flush(self) -> None:
        try:
            self.pending = self.pending[os.write(self.target, self.pending) :]
        except BlockingIOError:
            return
        except OSError:
            self.close_target()  # EPIPE: the watcher is gone

    def close_source(self) -> None:
        if self.source >= 0:
            os.close(self.source)
            self.source = -1

    def close_target(self) -> None:
        self.pending = b""
        if self.target >= 0:
            os.close(self.target)
            self.target = -1

    def read_last(self, log: LogWriter) -> int:
        """Read without regard to a watcher that is slow; returns how many bytes, 0 when it would block."""
        try:
            data = os.read(self.source, _CHUNK_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.close_source()
            return 0
        log.write(self.stream, data)
        if self.target >= 0:
            self.pending += data
        return len(data)

    def deliver(self) -> None:
        """Hand over what is pending, waiting for a watcher that is slow, and close the target."""
        if self.target >= 0:
            os.set_blocking(self.target, True)
        while self.pending:
            self.flush()
        self.close_target()


def pump(taps: list[Tap], log: LogWriter, *, pidfd: int, minder: Minder) -> None:
    """Run until the container has ended and its output has been read; `deliver` does the rest.

    Args:
        taps: their sources are closed when this returns.
        pidfd: of the container's first process; not reaped here.
    """
    by_stream = {tap.stream: tap for tap in taps}
    watched = minder.events.fileno()
    while True:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if watched >= 0:
            poller.register(watched, select.POLLIN)
        for tap in taps:
            if tap.pending:
                poller.register(tap.target, select.POLLOUT)
            elif tap.source >= 0:
                poller.register(tap.source, select.POLLIN)
        ready = {fd for fd, _ in poller.poll()}
        if pidfd in ready:
            break
        if watched in ready:
            watched = _answer_watcher(minder, by_stream)
        for tap in taps:
            if tap.pending and tap.target in ready:
                tap.flush()
            elif tap.source in ready:
                tap.read(log)
    _read_last(taps, log)


def deliver(taps: list[Tap]) -> None:
    """Give the watcher what it has not taken yet, however slow it is; nothing when it is gone."""
    for tap in taps:
        tap.deliver()


def _read_last(taps: list[Tap], log: LogWriter) -> None:
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
            left[source] -= tap.read_last(log)
            if tap.source < 0 or left[source] <= 0:
                del left[source]
    for tap in taps:
        tap.close_source()


def _answer_watcher(minder: Minder, taps: dict[str, Tap]) -> int:
    """Hear what the command line says; returns the descriptor to watch on, -1 when it is gone."""
    stream = minder.receive_hang_up()
    if not stream:
        return -1
    if stream in taps:
        taps[stream].close_target()
        taps[stream].close_source()
    return minder.events.fileno()
