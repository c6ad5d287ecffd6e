"""What `run` and `exec` do with the user's terminal and pipes while a container's process lives. Ring 1."""

from __future__ import annotations

import os
import sys
import zlib

from layers.contexts import nullcontext
from rootless.cli import terminal
from rootless.engine import session as wire
from rootless.engine.relay import ABANDONED, DETACHED, NOTICE_LEVEL, Relay
from rootless.errors import EXIT_FAILURE, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.session import Session
    from rootless.model.spec import Process
    from rootless.paths import Paths
    from rootless.registry.settings import RegistrySettings


ALL_STREAMS = frozenset(("stdin", "stdout", "stderr"))


def notice(text: str, level: str = NOTICE_LEVEL) -> None:
    """Tell the user something that is not an error, on stderr."""
    for line in text.splitlines():
        print(f"{level}: {printable(line)}", file=sys.stderr)
    sys.stderr.flush()


def notice_once(paths: Paths, text: str) -> None:
    """Tell the user once a boot: what cannot change meanwhile need not be said at every start."""
    mark = os.path.join(paths.store_run, f"told-{zlib.crc32(text.encode()):08x}")
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    notice(text)


def warn_of_files(paths: Paths, settings: RegistrySettings) -> None:
    """Tell, once a boot, what makes no sense in files about registries."""
    for text in settings.registries.warnings:
        notice_once(paths, text)


def warn_of_logout(paths: Paths) -> None:
    """Tell who starts a container in the background, once a boot, if this host ends it at logout."""
    from rootless.engine import logout  # not for containers in the foreground

    if text := logout.notice(logout.load_facts(environment=os.environ)):
        notice_once(paths, text)


def check_terminal(*, tty: bool, stdin: bool) -> None:
    """Refuse -t with -i when stdin is no terminal, as Docker does.

    Raises:
        UsageError: the input device is not a TTY.
    """
    if tty and stdin and not terminal.is_terminal():
        raise UsageError("the input device is not a TTY", hint="leave out -t where stdin is a pipe or a file")


def with_window_size(process: Process) -> Process:
    """Give the first size of its terminal to a process that has one: it may ask before the first resize."""
    if not process.tty:
        return process
    rows, columns = terminal.size()
    return process.replace(rows=rows, columns=columns)


def wait_started(session: Session) -> int:
    """Wait until a detached process runs, and return its pid; print its notices.

    Raises:
        RootlessError: it did not start.
    """
    while True:
        event = session.receive()
        if event is not None and event["event"] == wire.NOTICE:
            notice(event["text"], event.get("level", NOTICE_LEVEL))
        elif event is not None and event["event"] == wire.STARTED:
            pid: int = event["pid"]
            return pid
        else:
            raise wire.failure_of(event)


def attend(
    session: Session,
    process: Process,
    *,
    forward_signals: bool,
    detach_keys: bytes,
    streams: frozenset[str] = ALL_STREAMS,
    redraw: bool = False,
) -> int:
    """Stay with a process until it ends or the user detaches; returns the exit code for the shell.

    Args:
        streams: what is attached (-a); other output is in the log only.
        redraw: the process has drawn its screen for others before.
    """
    has_terminal = process.tty and terminal.is_terminal()
    relay = Relay(
        session,
        read_input=process.stdin and "stdin" in streams,
        terminal=has_terminal,
        forward_signals=forward_signals,
        detach_keys=detach_keys,
        targets=_targets(streams),
        redraw=redraw,
    )
    raw = terminal.raw_mode() if has_terminal and process.stdin else nullcontext()
    with raw:
        code = relay.run(notice=notice)
    if code == DETACHED:
        print("read escape sequence", file=sys.stderr)
        return 0
    if code == ABANDONED:
        print("got 3 SIGTERM/SIGINTs, forcefully exiting; the container goes on", file=sys.stderr)
        return EXIT_FAILURE
    return code


def _targets(streams: frozenset[str]) -> tuple[int, int]:
    if {"stdout", "stderr"} <= streams:
        return 1, 2
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    return (1 if "stdout" in streams else null), (2 if "stderr" in streams else null)
