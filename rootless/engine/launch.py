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
    from collections.abc import Callable

    from rootless.model.host import HostFacts, Modes
    from rootless.paths import Paths


_HIGHEST_FD = 1 << 20
"""The kernel's default limit of descriptors; closerange uses close_range(2), one system call."""


def prepare(
    paths: Paths,
    *,
    modes: Modes,
    facts: HostFacts,
    tty: bool,
    stdin: bool,
    watched: bool,
    debug: bool = False,
) -> Session:
    """Fork the monitor of a container that may not exist yet; must run in a process without threads.

    The monitor imports what it needs while the command line looks the image up and records the container:
    both take some 15 ms. `Session.begin` names the container; a session that is dropped before ends it.

    Args:
        tty, stdin, watched: as for `make_session`.
    """
    session, minder = make_session(tty=tty, stdin=stdin, watched=watched)

    def mind() -> None:
        from rootless.engine import monitor, records

        container_id = minder.receive_container()
        if container_id:
            try:
                container = records.load(paths, container_id)
            except RootlessError as exc:  # removed, or damaged, since it was looked up
                minder.send_failure(exc)
                return
            host = monitor.Host(paths, modes, facts)
            monitor.run(host, container, minder, creator_pid=os.getppid(), debug=debug)

    session.minder_pid = fork_minder(minder, mind, keeps_stdin=True)
    close_minder(minder)
    return session


def make_session(*, tty: bool, stdin: bool, watched: bool) -> tuple[Session, Minder]:
    """Make the two ends of a session.

    Args:
        tty: the container gets a terminal, made inside it: no pipes for its own ends.
        stdin: keep stdin open; else it reads /dev/null.
        watched: the command line stays to see the output.
    """
    ours, theirs = handshake.channel()
    watch_r, watch_w = os.pipe2(os.O_CLOEXEC) if watched else (-1, -1)
    if tty:
        return (
            Session(events=ours, stdin=-1, stdout=watch_r, stderr=-1),
            Minder(events=theirs, stdin=-1, stdin_writer=-1, output=watch_w, error_output=-1),
        )
    watch_error_r, watch_error_w = os.pipe2(os.O_CLOEXEC) if watched else (-1, -1)
    stdin_r, stdin_w = os.pipe2(os.O_CLOEXEC) if stdin else (os.open(os.devnull, os.O_RDONLY), -1)
    return (
        Session(events=ours, stdin=stdin_w, stdout=watch_r, stderr=watch_error_r),
        Minder(
            events=theirs, stdin=stdin_r, stdin_writer=stdin_w, output=watch_w, error_output=watch_error_w
        ),
    )


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
