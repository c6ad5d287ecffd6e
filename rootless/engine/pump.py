"""Move a container's output to its log and to the foreground command line, and wait for its end. Ring 1.

A plain poll loop, no trio: this runs for the whole life of every container, and most of them are short or
quiet (docs/decisions/0001-monitor.md).

Rules:
- The log gets every byte, the watcher gets every byte while it is there.
- A watcher that is slow slows the container (as a pipe would); one that is gone is forgotten.
- Bytes that the container wrote before it ended are delivered before its end is reported.
"""

from __future__ import annotations

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.logfile import LogWriter
    from rootless.engine.session import Minder

_CHUNK_BYTES = 64 << 10
_LINGER_MS = 2000
"""How long output may still come after the container's end: only a descriptor that left the container
through a socket can keep a pipe open that long."""


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

    @property
    def is_done(self) -> bool:
        return self.source < 0 and not self.pending


def pump(taps: list[Tap], log: LogWriter, *, pidfd: int, minder: Minder) -> None:
    """Run until the container has ended and its output is delivered.

    Args:
        taps: closed when this returns.
        pidfd: of the container's first process; not reaped here.
    """
    by_stream = {tap.stream: tap for tap in taps}
    alive = True
    watched = minder.events.fileno()
    while alive or not all(tap.is_done for tap in taps):
        poller = select.poll()
        if alive:
            poller.register(pidfd, select.POLLIN)
        if watched >= 0:
            poller.register(watched, select.POLLIN)
        for tap in taps:
            if tap.pending:
                poller.register(tap.target, select.POLLOUT)
            elif tap.source >= 0:
                poller.register(tap.source, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(None if alive else _LINGER_MS)}
        if not ready:
            break
        if pidfd in ready:
            alive = False
        if watched in ready:
            watched = _answer_watcher(minder, by_stream)
        for tap in taps:
            if tap.pending and tap.target in ready:
                tap.flush()
            elif tap.source in ready:
                tap.read(log)
    for tap in taps:
        tap.close_source()
        tap.close_target()


def _answer_watcher(minder: Minder, taps: dict[str, Tap]) -> int:
    """Hear what the command line says; returns the descriptor to watch on, -1 when it is gone."""
    stream = minder.receive_hang_up()
    if not stream:
        return -1
    if stream in taps:
        taps[stream].close_target()
        taps[stream].close_source()
    return minder.events.fileno()
