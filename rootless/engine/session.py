"""The wire between a command line and the process that minds its container or exec session. Ring 1.

The minder (the monitor of a container, or the parent of an exec session) sends events over a
SOCK_SEQPACKET pair, one JSON object a packet; the end of the stream says that all is done, removal
included. Output comes over pipes; input goes straight into the container's stdin pipe or terminal, which
the minder hands over with the first event.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

from rootless.errors import EXIT_SIGNAL_BASE, InternalError
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from rootless.errors import RootlessError

STARTED = "started"
FAILED = "failed"
EXITED = "exited"
NOTICE = "notice"


class Session:
    """The command line's side; owns all descriptors in it, -1 where there is none.

    Attributes:
        events: socket that receives events.
        stdin: write end of the container's stdin, or the terminal once "started" has come.
        stdout, stderr: read ends of its output; with a terminal only stdout.
        minder_pid: a child of this process.
    """

    __slots__ = ("console", "events", "minder_pid", "stderr", "stdin", "stdout")

    def __init__(self, *, events: socket, stdin: int, stdout: int, stderr: int) -> None:
        self.events = events
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.console = -1
        self.minder_pid = 0

    def begin(self, container_id: str) -> None:
        """Tell a monitor that waits which container to start; its first event is "started" or "failed"."""
        with suppress(OSError):  # it was killed: `receive` tells
            handshake.send(self.events, container_id.encode())

    def receive(self) -> dict[str, Any] | None:
        """Wait for the next event; None when the minder has finished or died."""
        data, fd = handshake.receive(self.events)
        if fd is not None:
            self.console = fd
        if not data:
            return None
        event: dict[str, Any] = json.loads(data)
        return event

    def hang_up(self, fd: int) -> None:
        """Close an output and let the container see it closed, as in `run … | head`."""
        stream = "stdout" if fd == self.stdout else "stderr"
        with suppress(OSError):  # the minder has just ended
            self.events.send(json.dumps({"hang_up": stream}).encode())
        if fd != self.console:
            os.close(fd)


class Minder:
    """The other side: where the process that runs the container finds its descriptors; owns them all.

    Attributes:
        stdin, stdout, stderr: the container's own ends, closed here once it has them.
        output, error_output: write ends towards the command line; -1 when nobody watches.
    """

    __slots__ = ("error_output", "events", "output", "stderr", "stdin", "stdout")

    def __init__(
        self, *, events: socket, stdin: int, stdout: int, stderr: int, output: int, error_output: int
    ) -> None:
        self.events = events
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.output = output
        self.error_output = error_output

    def send(self, event: str, *, fd: int | None = None, **details: object) -> None:
        """Tell the command line; a command line that is gone misses nothing."""
        with suppress(OSError):  # EPIPE: it was killed, or has detached
            handshake.send(self.events, json.dumps({"event": event, **details}).encode(), fd)

    def receive_container(self) -> str:
        """Wait for the id of the container to start; "" when the command line has given up."""
        data, _ = handshake.receive(self.events)
        return data.decode()

    def receive_hang_up(self) -> str:
        """Return the stream whose reader has gone, "" when the command line itself has."""
        data, _ = handshake.receive(self.events)
        return str(json.loads(data)["hang_up"]) if data else ""

    def send_failure(self, error: RootlessError) -> None:
        self.send(FAILED, **handshake.failure_fields(error))


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
