"""The foreground: between a person's terminal or pipes and a container. Ring 1.

Output is written with blocking calls on the main thread, so that a slow reader slows the container instead
of losing bytes. Input has a thread of its own: a container that does not read must not stop its output.
Signals are sent from their Python handlers, which run even while a write blocks (PEP 475).
"""

from __future__ import annotations

import os
import select
import sys
import time

from layers.contexts import suppress
from rootless.engine import session as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any

    from rootless.engine.session import Session
else:
    import _signal as signal  # the C module alone: signal.py makes enums of its numbers, 1.3 ms

NOTICE_LEVEL = "notice"
DETACHED = -1
"""Returned by `relay` when the user typed the detach keys: the container goes on."""

ABANDONED = -2
"""Returned by `relay` when the user insisted on leaving a container that ignores signals."""

INSISTENT_SIGNALS = 3
"""So many SIGINT or SIGTERM mean that the user wants the prompt back, as with docker. A first process
without handlers is deaf to them (man 7 pid_namespaces)."""

DEFAULT_DETACH_KEYS = b"\x10\x11"  # ctrl-p, ctrl-q
_CHUNK_BYTES = 64 << 10
_LINGER_S = 2.0
"""How long output may still come from what a program leaves behind; docker waits as long."""
_LAST_ROUNDS = 32
"""So many chunks hold twice what a pipe can that its user made as big as possible (man 7 pipe)."""
_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
)
"""Signals that end or steer programs; job control (SIGTSTP, SIGTTIN…) stays with the command line."""


class Relay:
    """One foreground session from start to exit.

    Args:
        session: descriptors and events; used up.
        read_input: forward this process's stdin (-i).
        terminal: the container has a terminal, and so has this process: its window size is followed.
        forward_signals: --sig-proxy.
        detach_keys: bytes that detach when typed in order; b"" for none.
        targets: descriptors that the container's stdout and stderr are copied to.
        redraw: change the window size twice at the start, so that the program draws its screen for us too.
    """

    def __init__(
        self,
        session: Session,
        *,
        read_input: bool,
        terminal: bool = False,
        forward_signals: bool = True,
        detach_keys: bytes = DEFAULT_DETACH_KEYS,
        targets: tuple[int, int] = (1, 2),
        redraw: bool = False,
    ) -> None:
        self._session = session
        self._read_input = read_input
        self._terminal = terminal
        self._forward_signals = forward_signals
        self._detach_keys = detach_keys
        self._targets = targets
        self._redraw = redraw
        self._pidfd = -1
        self._pending_signals: list[int] = []
        self._insistence = 0
        self._exit_code: int | None = None
        self._failure: Exception | None = None
        self._detach_r, self._detach_w = os.pipe2(os.O_CLOEXEC)

    def run(self, *, notice: Callable[[str, str], None]) -> int:
        """Relay until the minder is done.

        Returns:
            the container's exit code, DETACHED or ABANDONED.
        Raises:
            RootlessError: it did not start.
        """
        restore = self._install_handlers()
        try:
            return self._loop(notice)
        finally:
            for number, handler in restore:
                signal.signal(number, handler)

    def _loop(self, notice: Callable[[str, str], None]) -> int:
        outputs = {fd: target for fd, target in self._outputs() if fd >= 0}
        poller = select.poll()
        events_fd = self._session.events.fileno()
        for fd in (*outputs, events_fd, self._detach_r):
            poller.register(fd, select.POLLIN)
        finished = False
        patience = _Patience()
        while not finished or (outputs and patience):
            for fd, _ in patience.wait(poller) if finished else poller.poll():
                if fd == self._detach_r:
                    by_keys = os.read(fd, 1) == b"d"
                    self._session.detach(by_keys=by_keys)
                    return DETACHED if by_keys else ABANDONED
                if fd == events_fd:
                    event = self._session.receive()
                    if event is None:
                        finished = True
                        poller.unregister(events_fd)
                    elif self._handle(event, notice):
                        outputs[self._session.console] = self._targets[0]
                        poller.register(self._session.console, select.POLLIN)
                elif not self._copy(fd, outputs[fd]):
                    poller.unregister(fd)
                    del outputs[fd]
        if self._failure is not None:
            raise self._failure
        if self._exit_code is None:
            raise wire.failure_of(None)
        return self._exit_code

    def _outputs(self) -> Sequence[tuple[int, int]]:
        return ((self._session.stdout, self._targets[0]), (self._session.stderr, self._targets[1]))

    def _handle(self, event: dict[str, Any], notice: Callable[[str, str], None]) -> bool:
        """Act on one event; True when the console has to be read by this process."""
        kind = event["event"]
        if kind == wire.NOTICE:
            notice(event["text"], event.get("level", NOTICE_LEVEL))
        elif kind == wire.FAILED:
            self._failure = wire.failure_of(event)
        elif kind == wire.EXITED:
            self._exit_code = event["code"]
        elif kind == wire.STARTED:
            self._started(event["pid"])
            return self._session.console >= 0 and self._session.stdout < 0
        return False

    def _copy(self, source: int, target: int) -> bool:
        """Copy one chunk of output; False when the source has ended or nobody reads the target."""
        try:
            data = os.read(source, _CHUNK_BYTES)
        except OSError:
            return False  # EIO: a terminal whose last user has closed it
        ended = not data
        while data:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:
                select.select([], [target], [])  # somebody made our stdout non-blocking
            except OSError:
                # EPIPE, as in `run … | head`: pass it on, so that the program inside meets it too.
                self._session.hang_up(source)
                return False
        return not ended

    def _started(self, pid: int) -> None:
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return  # a short command: its exit is already on the way
        for number in self._pending_signals:
            self._send_signal(number)
        if self._session.console >= 0:
            self._session.stdin = self._session.console
            if self._redraw:
                self._resize(extra_rows=1)
            self._resize()
        if self._read_input and self._session.stdin >= 0:
            self._start_feeding()

    def _start_feeding(self) -> None:
        import _thread  # the C module: no threading on this path

        # The thread takes no signals: the main thread runs the handlers, and would not wake for its.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _thread.start_new_thread(self._feed, (self._session.stdin,))
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _feed(self, target: int) -> None:
        """Copy stdin to the container until either side ends (runs in a thread of its own)."""
        matched = 0
        try:
            while data := os.read(0, _CHUNK_BYTES):
                if self._terminal:
                    self._resize()  # what is typed after a resize comes after it, whenever SIGWINCH is heard
                if self._terminal and self._detach_keys:
                    data, matched = _strip_detach_keys(data, matched, self._detach_keys)
                    if matched == len(self._detach_keys):
                        os.write(self._detach_w, b"d")
                        return
                while data:
                    data = data[os.write(target, data) :]
        except OSError:
            return  # the container closed its stdin, or our terminal went away
        if target != self._session.console:
            self._session.close_stdin()

    def _install_handlers(self) -> list[tuple[int, Any]]:
        restore: list[tuple[int, Any]] = []
        if self._forward_signals:
            restore += [(n, signal.signal(n, self._on_signal)) for n in _FORWARDED]
        if self._terminal:
            restore.append((signal.SIGWINCH, signal.signal(signal.SIGWINCH, self._on_resize)))
        restore.append((signal.SIGPIPE, signal.signal(signal.SIGPIPE, signal.SIG_IGN)))
        return restore

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self._insistence += 1
            if self._insistence == INSISTENT_SIGNALS:
                os.write(self._detach_w, b"a")
        self._send_signal(number)

    def _on_resize(self, _number: int, _frame: FrameType | None) -> None:
        self._resize()

    def _send_signal(self, number: int) -> None:
        if self._pidfd < 0:
            self._pending_signals.append(number)
            return
        with suppress(OSError):  # it has just ended
            signal.pidfd_send_signal(self._pidfd, number)

    def _resize(self, *, extra_rows: int = 0) -> None:
        """Give our terminal's size to the container's."""
        import fcntl
        import termios

        if self._session.console < 0 or not self._terminal:
            return
        try:
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
            rows = int.from_bytes(size[:2], sys.byteorder) + extra_rows
            size = rows.to_bytes(2, sys.byteorder) + size[2:]
            fcntl.ioctl(self._session.console, termios.TIOCSWINSZ, size)
        except OSError:
            pass  # one of the two terminals has just gone


class _Patience:
    """How long to go on reading once the program has ended; false when it is used up.

    A process that it left behind in the container (`exec … sh -c "server &"`) can hold its output open.
    What the program itself wrote is in the pipe already. Time in which our own reader is slow does not count.
    """

    __slots__ = ("_left_s", "_rounds")

    def __init__(self) -> None:
        self._left_s = _LINGER_S
        self._rounds = _LAST_ROUNDS

    def __bool__(self) -> bool:
        return self._left_s > 0 and self._rounds > 0

    def wait(self, poller: select.poll) -> list[tuple[int, int]]:
        begin = time.monotonic()
        ready = poller.poll(self._left_s * 1000)
        self._left_s -= time.monotonic() - begin
        self._rounds -= 1
        return ready


def _strip_detach_keys(data: bytes, matched: int, keys: bytes) -> tuple[bytes, int]:
    """Hold back bytes that may begin the detach keys.

    Args:
        matched: how many of the keys the input before `data` ended with; those were held back.

    Returns:
        (what to forward, the new `matched`; len(keys) means that all were typed).
    """
    out = bytearray()
    for byte in data:
        if byte == keys[matched]:
            matched += 1
            if matched == len(keys):
                break
            continue
        out += keys[:matched]
        matched = 0
        if byte == keys[0]:
            matched = 1
        else:
            out.append(byte)
    return bytes(out), matched
