"""The wire between a command line and the process that minds its container or exec session. Ring 1.

The minder (the monitor of a container, or the parent of an exec session) sends events over a SOCK_SEQPACKET
socket, one JSON object a packet; the end of the stream says that all is done, removal included. Output comes
over pipes; input goes straight into the container's stdin pipe or terminal, which the minder hands over with
the first event. The command line that starts a container has that socket from the fork; one that attaches
later connects (`attach`).
"""

from __future__ import annotations

import os

# The C module alone: socket.py would bring selectors and its enums, 4 ms on the launch path.
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, socket

from layers import jsontext
from layers.contexts import contextmanager, suppress
from rootless.errors import EXIT_SIGNAL_BASE, InternalError
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from rootless.errors import RootlessError

STARTED = "started"
FAILED = "failed"
EXITED = "exited"
NOTICE = "notice"

SOCKET_NAME = "monitor.sock"
"""In the container's run directory."""


class Session:
    """The command line's side; owns all descriptors in it, -1 where there is none.

    Attributes:
        events: socket that receives events.
        stdin: write end of the container's stdin; where there is a terminal it is `console`.
        stdout, stderr: read ends of its output; with a terminal only stdout.
        console: the container's terminal once "started" has come.
        minder_pid: a child of this process.
    """

    __slots__ = ("console", "events", "minder_pid", "stderr", "stdin", "stdout")

    def __init__(self, *, events: socket, stdin: int = -1, stdout: int = -1, stderr: int = -1) -> None:
        self.events = events
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.console = -1
        self.minder_pid = 0

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next event; None when the minder has finished or died."""
        data, fd = handshake.receive(self.events)
        if not data:
            return None
        event: dict[str, Any] = jsontext.loads(data)
        if fd is not None and event.get("terminal"):
            self.console = fd
        elif fd is not None:
            self.stdin = fd
        return event

    def hang_up(self, fd: int) -> None:
        """Close an output and let the container see it closed, as in `run … | head`."""
        self._say(hang_up="stdout" if fd == self.stdout else "stderr")
        if fd != self.console:
            os.close(fd)

    def close_stdin(self) -> None:
        """Say that no more input comes from here."""
        fd, self.stdin = self.stdin, -1
        os.close(fd)
        self._say(close_stdin=True)

    def detach(self, *, by_keys: bool) -> None:
        """Say that the container should go on without us."""
        self._say(detach="keys" if by_keys else "signals")

    def close(self) -> None:
        """Let go of the container without stopping it."""
        self.events.close()
        close_fds(self.stdin, self.stdout, self.stderr, self.console)

    def _say(self, **request: object) -> None:
        with suppress(OSError):  # the minder has just ended
            self.events.send(jsontext.dumps(request).encode())


def attach(run_dir: str, *, streams: Sequence[str], with_input: bool) -> Session:
    """Connect to the monitor of a container; its first event is "started".

    Args:
        streams: what to see, of "stdout" and "stderr"; () only hears of the end.
        with_input: ask for its stdin too.

    Raises:
        OSError: nobody listens there.
    """
    events = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        with short_path(run_dir, SOCKET_NAME) as path:
            events.connect(path)
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in streams]
        request = jsontext.dumps({"attach": list(streams), "input": with_input}).encode()
        handshake.send_all(events, request, [sink for _, sink in pipes])
    except OSError:
        events.close()
        raise
    close_fds(*(sink for _, sink in pipes))
    sources = dict(zip(streams, (source for source, _ in pipes), strict=True))
    return Session(
        events=events, stdin=-1, stdout=sources.get("stdout", -1), stderr=sources.get("stderr", -1)
    )


@contextmanager
def short_path(directory: str, name: str) -> Iterator[str]:
    """Give a path for a socket in a directory however long that one's is (sun_path has 108 bytes)."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


_HANDED_OVER = ("stdin", "stdin_writer", "output", "error_output")


class Minder:
    """The other side: where the process that runs the container finds its descriptors; owns them all.

    Attributes:
        stdin, stdout, stderr: the container's own ends, closed here once it has them.
        stdin_writer: the other end of stdin, for those who attach later; -1 without.
        output, error_output: write ends towards the command line; -1 when nobody watches.
    """

    __slots__ = ("error_output", "events", "output", "stderr", "stdin", "stdin_writer", "stdout")

    def __init__(self, *, events: socket) -> None:
        self.events = events
        self.stdin = -1
        self.stdin_writer = -1
        self.stdout = -1
        self.stderr = -1
        self.output = -1
        self.error_output = -1

    def send(self, event: str, *, fd: int | None = None, **details: object) -> None:
        """Tell the command line; a command line that is gone misses nothing."""
        send_event(self.events, event, fd=fd, **details)

    def receive_order(self) -> dict[str, Any] | None:
        """Wait to be told what to start, and take the descriptors that come along; None: nobody is there."""
        order, fds = receive_request(self.events)
        if order is not None:
            for name, fd in zip(order["fds"], fds, strict=True):
                setattr(self, name, fd)
        return order

    def send_failure(self, error: RootlessError) -> None:
        self.send(FAILED, **handshake.failure_fields(error))


def send_order(events: socket, order: dict[str, Any], minder: Minder) -> None:
    """Tell a monitor that stands by what to start; its descriptors are those of `minder`."""
    fds = {name: fd for name in _HANDED_OVER if (fd := getattr(minder, name)) >= 0}
    with suppress(OSError):  # it was killed: `Session.receive` tells
        handshake.send_all(events, jsontext.dumps({**order, "fds": list(fds)}).encode(), list(fds.values()))


def send_event(events: socket, event: str, *, fd: int | None = None, **details: object) -> None:
    """Send one event; a receiver that is gone misses nothing."""
    with suppress(OSError):  # EPIPE: it was killed, or has detached
        handshake.send(events, jsontext.dumps({"event": event, **details}).encode(), fd)


def receive_request(events: socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return what a command line says, and the descriptors with it; None when it is gone."""
    data, fds = handshake.receive_all(events)
    try:
        request = jsontext.loads(data)
    except ValueError:  # nothing, or nothing of ours
        request = None
    if isinstance(request, dict):
        return request, fds
    close_fds(*fds)
    return None, []


def failure_of(event: dict[str, Any] | None) -> RootlessError:
    """Return the error that a "failed" event carries, or one for a minder that died silently."""
    if event is None:
        return InternalError(
            "the container's monitor ended without a word",
            hint="was it killed? `rootless ps -a` tells the container's state",
            reference="monitor-died",
        )
    return handshake.failure_from(event)


def close_fds(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def exit_code_of(status: int) -> int:
    """Return Docker's exit code for a wait status: the command's own, or 128 + the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else EXIT_SIGNAL_BASE - code
