"""Run a further process in a container: a minder of its own, which lives as long as the process. Ring 1.

The process ends with its container. It goes on when its command line is gone, as with Docker.
"""

from __future__ import annotations

import os

from rootless.engine import events, launch
from rootless.engine import session as wire
from rootless.errors import EXIT_NOT_EXECUTABLE, InternalError, RootlessError, RuntimeSetupError
from rootless.model.names import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.engine.session import Minder, Session
    from rootless.model.host import IdMapping
    from rootless.model.spec import Process, Security
    from rootless.paths import Paths


def start(
    paths: Paths,
    container: Container,
    *,
    process: Process,
    security: Security,
    mapping: IdMapping,
    detached: bool,
) -> Session:
    """Fork the minder, which joins the container; must run in a process without threads.

    Args:
        process: complete: nothing is inherited from the container's own process.
    Returns:
        the session; its first event is "started" or "failed".
    """
    exec_id, command = new_id(), " ".join(process.argv)

    def tell(action: str, **attributes: str) -> None:
        events.record_container(paths, container, action, execID=exec_id, **attributes)

    tell(f"exec_create: {command}")
    piped = not detached and not process.tty
    session, minder = launch.make_session(tty=process.tty, stdin=process.stdin, watched=piped)

    def mind() -> None:
        try:
            child = _run(container, process, minder, security=security, mapping=mapping)
            tell(f"exec_start: {command}")
            code = wire.exit_code_of(os.waitpid(child, 0)[1])
            tell("exec_die", exitCode=str(code))
        except RootlessError as exc:
            if isinstance(exc, RuntimeSetupError) and exc.exit_code is None:
                exc.exit_code = EXIT_NOT_EXECUTABLE  # Docker's, for whatever keeps the command from running
            minder.send_failure(exc)
        except Exception as exc:  # a bug must be told: there is no terminal behind this process
            minder.send_failure(InternalError(f"cannot execute: {type(exc).__name__}: {exc}"))
        else:
            minder.send(wire.EXITED, code=code)

    session.minder_pid = launch.fork_minder(minder, mind, keeps_stdin=detached)
    launch.close_minder(minder)
    return session


def _run(
    container: Container, process: Process, minder: Minder, *, security: Security, mapping: IdMapping
) -> int:
    """Start the process and tell of it; returns its pid."""
    from rootless.engine import limits
    from rootless.runtime import join
    from rootless.runtime.process_plan import plan_process

    state = container.state
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    stdio = (
        minder.stdin if minder.stdin >= 0 else null,
        minder.output if minder.output >= 0 else null,
        minder.error_output if minder.error_output >= 0 else null,
    )
    confinement = limits.rejoin(container)
    if confinement.notice:
        minder.send(wire.NOTICE, text=confinement.notice)
    plan = plan_process(confinement.apply_to(process), security, mapping)
    with confinement:
        launched = join.start(state.pid, state.pid_start, plan, stdio=stdio, cgroup_fd=confinement.cgroup_fd)
    confinement.hold(launched.pid)
    launched.proceed()
    console = launched.console_fd
    has_terminal = console >= 0
    minder.send(wire.STARTED, pid=launched.pid, terminal=has_terminal, fd=console if has_terminal else None)
    wire.close_fds(*{fd for fd in (*stdio, console) if fd >= 0})
    return launched.pid
