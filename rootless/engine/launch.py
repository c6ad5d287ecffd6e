"""Start a container and hand it to its monitor: blocking, no trio, one thread. Ring 1.

    command line ──fork──▶ monitor ──fork──▶ … ──▶ container init

The monitor is a session of its own: it outlives the command line, its terminal and a detached start.
"""

from __future__ import annotations

import os

from rootless.engine import session as wire
from rootless.engine.session import Minder, Session
from rootless.errors import RootlessError
from rootless.runtime import handshake

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from rootless.model.host import HostFacts
    from rootless.paths import Paths


_HIGHEST_FD = 1 << 20
"""The kernel's default limit of descriptors; closerange uses close_range(2), one system call."""


class Standby:
    """A monitor that waits for its container; it ends when this process does, or lets go of it."""

    __slots__ = ("_events", "_pid")

    def __init__(self, events: socket, pid: int) -> None:
        self._events = events
        self._pid = pid

    def start(
        self, container_id: str, *, facts: HostFacts, storage: str, tty: bool, stdin: bool, watched: bool
    ) -> Session:
        """Have it start a recorded container; the session's first event is "started" or "failed".

        Args:
            storage: as for `modes.choose`.
            tty: the container gets a terminal, made inside it.
            stdin: keep stdin open; else it reads /dev/null.
            watched: we stay to see its output.
        """
        session, minder = _make_ends(self._events, tty=tty, stdin=stdin, watched=watched)
        session.minder_pid = self._pid
        order = {"container": container_id, "facts": facts.to_json(), "storage": storage}
        wire.send_order(self._events, order, minder)
        wire.close_fds(minder.stdin, minder.output, minder.error_output)
        return session


def stand_by(paths: Paths, *, debug: bool = False) -> Standby:
    """Fork a monitor, whose container may not exist yet; must run in a process without threads.

    It imports what it needs while the command line does the same, looks the image up and records the
    container: some 15 ms each.
    """
    ours, theirs = handshake.channel()
    minder = Minder(events=theirs)

    def mind() -> None:
        from rootless.engine import modes, monitor, records
        from rootless.model.host import HostFacts

        order = minder.receive_order()
        if order is None:  # the command line has given up
            return
        try:
            container = records.load(paths, order["container"])
        except RootlessError as exc:  # removed, or damaged, since it was looked up
            minder.send_failure(exc)
            return
        facts = HostFacts.from_json(order["facts"])
        host = monitor.Host(paths, modes.choose(facts, storage=order["storage"]), facts)
        monitor.run(host, container, minder, creator_pid=os.getppid(), debug=debug)

    pid = fork_minder(minder, mind, keeps_stdin=True)
    theirs.close()
    return Standby(ours, pid)


def make_session(*, tty: bool, stdin: bool, watched: bool) -> tuple[Session, Minder]:
    """Make the two ends of a session; for the arguments see `Standby.start`."""
    ours, theirs = handshake.channel()
    session, minder = _make_ends(ours, tty=tty, stdin=stdin, watched=watched)
    minder.events = theirs
    return session, minder


def _make_ends(events: socket, *, tty: bool, stdin: bool, watched: bool) -> tuple[Session, Minder]:
    """Make the pipes of a session; both values own their ends, and name the same socket."""
    session, minder = Session(events=events), Minder(events=events)
    if watched:
        session.stdout, minder.output = os.pipe2(os.O_CLOEXEC)
    if tty:
        return session, minder
    if watched:
        session.stderr, minder.error_output = os.pipe2(os.O_CLOEXEC)
    if stdin:
        minder.stdin, session.stdin = os.pipe2(os.O_CLOEXEC)
        minder.stdin_writer = session.stdin
    else:
        minder.stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return session, minder


def fork_minder(minder: Minder, mind: Callable[[], None], *, keeps_stdin: bool) -> int:
    """Fork a process that runs `mind` apart from our terminal and never returns; returns its pid.

    Args:
        keeps_stdin: stdin stays open when we are gone, or can be handed to others.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.umask(0o022)  # what it makes is read by all users of the container, whatever our caller hides
        _leave_command_line(minder, keeps_stdin=keeps_stdin)
        mind()
        code = 0
    finally:
        os._exit(code)  # no traceback, no atexit, no flush of buffers that the parent also holds


def close_minder(minder: Minder) -> None:
    """Close the minder's ends in the command line's process after the fork."""
    minder.events.close()
    wire.close_fds(minder.stdin, minder.stdout, minder.stderr, minder.output, minder.error_output)


def _leave_command_line(minder: Minder, *, keeps_stdin: bool) -> None:
    """Let go of all that would keep the command line's terminal, pipes, locks or directory alive."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    keep = {minder.events.fileno(), minder.stdin, minder.output, minder.error_output}
    if keeps_stdin:
        keep.add(minder.stdin_writer)
    low = 3
    for fd in sorted(fd for fd in keep if fd >= 0):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _HIGHEST_FD)
    os.chdir("/")
