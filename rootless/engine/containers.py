"""What one does to containers after their start: stop, kill, wait, remove. Ring 1, no trio.

Signals go through a pidfd that was checked against the recorded start time: a reused pid is never hit.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from rootless.engine import records, removal
from rootless.errors import RuntimeSetupError, StateConflict
from rootless.linux import procfs
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.paths import Paths

KILL_GRACE_S = 10
"""How long a killed container and its monitor may take to be gone; the kernel needs milliseconds unless a
file system hangs."""


def stop(paths: Paths, containers: Sequence[Container], *, timeout_s: int | None = None) -> None:
    """Stop containers together: their stop signal, then SIGKILL after the time-out of each.

    Args:
        timeout_s: overrides each container's own; negative waits for ever.
    Raises:
        RuntimeSetupError: one does not end even when killed.
    """
    begin = time.monotonic()
    running = [(c, fd) for c in containers if (fd := open_pidfd(c)) >= 0]
    try:
        for container, fd in running:
            _signal(fd, container.spec.stop_signal)
        for container, fd in running:
            limit = container.spec.stop_timeout_s if timeout_s is None else timeout_s
            left = None if limit < 0 else max(0.0, begin + limit - time.monotonic())
            if not _wait_gone(fd, left):
                _signal(fd, signal.SIGKILL)
        for container, fd in running:
            if not _wait_gone(fd, KILL_GRACE_S):
                raise RuntimeSetupError(
                    f"cannot stop container `{container.spec.name}`: it does not end although killed",
                    on=f"process {container.state.pid}",
                    hint="it may hang in a file system; look at /proc/PID/stack as root",
                    reference="unkillable",
                )
            wait_recorded(paths, container)
    finally:
        for _, fd in running:
            os.close(fd)


def kill(container: Container, number: int) -> None:
    """Send a signal to the container's first process.

    Raises:
        StateConflict: it is not running.
    """
    fd = open_pidfd(container)
    if fd < 0:
        raise StateConflict(
            f"cannot kill container `{container.spec.name}`: it is not running", reference="not-running"
        )
    try:
        _signal(fd, number)
    finally:
        os.close(fd)


def remove(
    paths: Paths, container: Container, *, mapping: IdMapping, force: bool = False, with_volumes: bool = False
) -> None:
    """Remove a container; with `force` kill it first, and its monitor too if that hangs.

    Raises:
        StateConflict: it runs and `force` is false.
    """
    if force and container.state.status == lifecycle.RUNNING:
        stop(paths, [container], timeout_s=0)
        if not os.path.isdir(container.directory):
            return  # --rm: its monitor was quicker
        container = records.load(paths, container.spec.id)
        if container.state.status == lifecycle.RUNNING:
            _kill_monitor(container)
            container = records.observe(container)
    removal.remove(paths, container, mapping=mapping, with_volumes=with_volumes)


def wait_recorded(paths: Paths, container: Container) -> None:
    """Wait until the monitor of a container that has ended has written its record and is gone."""
    fd = _open_process(container.state.monitor_pid, container.state.monitor_start)
    if fd >= 0:
        _wait_gone(fd, KILL_GRACE_S)
        os.close(fd)


def open_pidfd(container: Container) -> int:
    """Return a pidfd of the container's first process, -1 when it does not run; the caller closes it."""
    state = container.state
    return _open_process(state.pid, state.pid_start) if state.status == lifecycle.RUNNING else -1


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


def _signal(pidfd: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        signal.pidfd_send_signal(pidfd, number)


def _wait_gone(pidfd: int, timeout_s: float | None) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))
