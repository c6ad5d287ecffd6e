"""What one does to containers from outside: start, stop, kill, wait, remove. Ring 1, no trio.

Signals go through a pidfd that was checked against the recorded start time: a reused pid is never hit.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from rootless.engine import connect, events, records, removal
from rootless.engine import session as wire
from rootless.engine.watch import Pause, drive
from rootless.errors import NotFound, RuntimeSetupError, StateConflict
from rootless.linux import procfs
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.paths import Paths

KILL_GRACE_S = 30
"""How long a killed container may take to be gone; the kernel needs milliseconds, but seconds for ten
thousands of processes, and for ever where a file system hangs."""
_RECORD_GRACE_S = 5
"""How long its monitor may then take to record that."""


def stop(
    paths: Paths,
    containers: Sequence[Container],
    *,
    number: int | None = None,
    timeout_s: int | None = None,
) -> None:
    """Stop containers together: their stop signal, then SIGKILL after the time-out of each.

    Args:
        number, timeout_s: override each container's own signal and time; a negative time waits for ever.
    Raises:
        RuntimeSetupError: one does not end even when killed.
    """
    for container in _end(paths, containers, number=number, timeout_s=timeout_s):
        events.record_container(paths, container, "stop")


def _end(
    paths: Paths, containers: Sequence[Container], *, number: int | None, timeout_s: int | None
) -> list[Container]:
    """Do what `stop` says; returns those that were not stopped before."""
    begin = time.monotonic()
    asked = [container for container in containers if _request_stop(paths, container)]
    running = [(c, fd) for c in asked if (fd := open_pidfd(c)) >= 0]
    try:
        for container, fd in running:
            _send(paths, container, fd, number or container.spec.stop_signal)
            _thaw(container)
        for container, fd in running:
            limit = container.spec.stop_timeout_s if timeout_s is None else timeout_s
            left = None if limit < 0 else max(0.0, begin + limit - time.monotonic())
            if number != signal.SIGKILL and not _wait_gone(fd, left):
                _send(paths, container, fd, signal.SIGKILL)
        for container, fd in running:
            if not _wait_gone(fd, KILL_GRACE_S):
                raise RuntimeSetupError(
                    f"cannot stop container `{container.spec.name}`: it does not end although killed",
                    on=f"process {container.state.pid}",
                    hint="it may hang in a file system; look at /proc/PID/stack as root",
                    reference="unkillable",
                )
        for container in asked:
            _end_backing_off(paths, container)
            wait_recorded(container)
    finally:
        for _, fd in running:
            os.close(fd)
    return asked


def kill(paths: Paths, container: Container, number: int) -> None:
    """Send a signal to the container's first process; one that is meant to end it also ends restarts.

    Raises:
        StateConflict: it is not running.
    """
    if number in (signal.SIGKILL, container.spec.stop_signal):
        _request_stop(paths, container)
    if container.state.status == lifecycle.RESTARTING:
        _end_backing_off(paths, container)
        return
    fd = open_pidfd(container)
    if fd < 0:
        status = container.state.status
        why = "it has just ended" if status in lifecycle.MINDED else f"it is {status}"
        raise StateConflict(
            f"cannot kill container `{container.spec.name}`: {why}",
            hint="it has no process; `rootless start` gives it one, `rootless rm` removes it",
            reference="not-running",
        )
    try:
        _send(paths, container, fd, number)
        if number == signal.SIGKILL:
            _thaw(container)
    finally:
        os.close(fd)


def wait(paths: Paths, container: Container) -> int:
    """Wait until a container does not run and will not be started again; returns its exit code.

    The monitor tells, so that --rm containers have an exit code too. One that was never started has 0.
    """
    return drive(until_ended(paths, container))


def until_ended(paths: Paths, container: Container) -> Generator[Pause, None, int]:
    """Do as `wait`, for a caller that waits in its own way (`engine.watch`)."""
    code = container.state.exit_code
    while container.state.status in lifecycle.MINDED:
        try:
            session = wire.attach(connect.run_directory(paths, container), streams=(), with_input=False)
        except OSError:  # it has just ended, or its monitor was killed
            yield from until_recorded(container)
        else:
            try:
                yield Pause(session.events.fileno())
                while (event := session.receive()) is not None:
                    if event["event"] == wire.EXITED:
                        code = event["code"]
                    yield Pause(session.events.fileno())
            finally:
                session.close()
        try:
            container = records.load(paths, container.spec.id)
        except NotFound:  # --rm
            return code
        code = container.state.exit_code
    return code


def remove(
    paths: Paths, container: Container, *, mapping: IdMapping, force: bool = False, with_volumes: bool = False
) -> None:
    """Remove a container; with `force` kill it first, and its monitor too if that hangs.

    Raises:
        StateConflict: it runs and `force` is false.
    """
    if force and container.state.status in lifecycle.MINDED:
        _end(paths, [container], number=signal.SIGKILL, timeout_s=0)
        if not os.path.isdir(container.directory):
            return  # --rm: its monitor was quicker
        container = records.load(paths, container.spec.id)
        if container.state.status in lifecycle.MINDED:
            _kill_monitor(container)
            container = records.observe(container)
    elif container.state.status == lifecycle.EXITED:
        wait_recorded(container)
    removal.remove(paths, container, mapping=mapping, with_volumes=with_volumes)


def wake_monitor(paths: Paths, container: Container) -> bool:
    """Make a monitor that waits before a restart look at the record; False if it does not listen."""
    try:
        wire.attach(connect.run_directory(paths, container), streams=(), with_input=False).events.close()
    except OSError:  # it is gone, or its socket is
        return False
    return True


def _end_backing_off(paths: Paths, container: Container) -> None:
    """Make sure that a monitor that waits to start its container again does not."""
    if not wake_monitor(paths, container):
        with suppress(NotFound):
            if records.load(paths, container.spec.id).state.status == lifecycle.RESTARTING:
                _kill_monitor(container)  # nothing runs below it; its record is corrected by who reads it


def wait_recorded(container: Container) -> None:
    """Wait until the monitor of a container that has ended has written its record and is gone."""
    drive(until_recorded(container))


def until_recorded(container: Container) -> Generator[Pause, None, None]:
    """Do as `wait_recorded`, for a caller that waits in its own way."""
    fd = _open_process(container.state.monitor_pid, container.state.monitor_start)
    if fd >= 0:
        try:
            yield Pause(fd, timeout_s=_RECORD_GRACE_S)
        finally:
            os.close(fd)


def open_pidfd(container: Container) -> int:
    """Return a pidfd of the container's first process, -1 when it does not run; the caller closes it."""
    state = container.state
    return _open_process(state.pid, state.pid_start) if state.status in lifecycle.ALIVE else -1


def _request_stop(paths: Paths, container: Container) -> bool:
    """Say in the record that no policy should start this container again; False when nothing runs."""
    try:
        with records.locked(paths, container):
            if container.state.status in lifecycle.MINDED:
                records.save_state(container, stop_requested=True)
    except NotFound:
        return False
    return container.state.status in lifecycle.MINDED


def _thaw(container: Container) -> None:
    """Let the processes of a paused container run, so that they can end."""
    if container.state.status == lifecycle.PAUSED:
        from rootless.engine import freezer  # few containers are ever paused

        freezer.thaw(container)


def _kill_monitor(container: Container) -> None:
    """End the monitor of a container that has ended: it was stopped by a signal, or hangs."""
    fd = _open_process(container.state.monitor_pid, container.state.monitor_start)
    if fd >= 0:
        _signal(fd, signal.SIGKILL)
        _wait_gone(fd, KILL_GRACE_S)
        os.close(fd)


def _open_process(pid: int, started: int) -> int:
    """Return a pidfd of a process that runs and is the recorded one, else -1; the caller closes it."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return -1
    if procfs.is_alive(pid, started):  # checked after: the pidfd pins the process
        return fd
    os.close(fd)
    return -1


def _send(paths: Paths, container: Container, pidfd: int, number: int) -> None:
    """Send a signal to a container, and tell it."""
    _signal(pidfd, number)
    events.record_container(paths, container, "kill", signal=str(int(number)))


def _signal(pidfd: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        signal.pidfd_send_signal(pidfd, number)


def _wait_gone(pidfd: int, timeout_s: float | None) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))
