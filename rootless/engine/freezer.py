"""Stop all processes of a container, and let them go on: `pause` and `unpause`. Ring 1.

With a cgroup of its own the kernel freezes it in one step. Without, each process gets SIGSTOP, parents before
children, until nothing runs; then SIGCONT in the opposite order, so that a shell inside never sees a child
that is stopped. What job control inside the container had stopped before goes on too, and a debugger sees the
signals.

Rule: the record says "paused" while anything may be stopped. So whoever is killed half way leaves a container
that `unpause` mends.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager, suppress

from rootless.engine import events, records
from rootless.errors import NotFound, RuntimeSetupError, StateConflict
from rootless.linux import cgroups, processes, procfs
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn

    from rootless.engine.records import Container
    from rootless.linux.processes import Process
    from rootless.paths import Paths

_PATIENCE_S = 10
"""A container that forks faster than it can be stopped for so long is left running."""
_QUIET = frozenset("TtZXD")
"""States in which no instruction of the program runs, nor will before SIGCONT: "D" waits in the kernel (for a
disk, or as the parent of a vfork) and finds its SIGSTOP when it comes back."""


def pause(paths: Paths, container: Container) -> None:
    """Stop a running container's processes.

    Raises:
        StateConflict: it does not run. RuntimeSetupError: it cannot be stopped, and goes on.
    """
    records.change(paths, container, lifecycle.PAUSE)
    try:
        _freeze(container)
    except BaseException:
        thaw(container)
        records.change(paths, container, lifecycle.UNPAUSE)
        raise
    events.record_container(paths, container, "pause")


def unpause(paths: Paths, container: Container) -> None:
    """Let a paused container's processes go on.

    Raises:
        StateConflict: it is not paused.
    """
    lifecycle.next_status(container.state.status, lifecycle.UNPAUSE, name=container.spec.name)
    thaw(container)
    records.change(paths, container, lifecycle.UNPAUSE)
    events.record_container(paths, container, "unpause")


@contextmanager
def held(paths: Paths, container: Container) -> Iterator[None]:
    """Stop a running container's processes while the block runs.

    A child lets them go on at the end of this process at the latest. Must run in a process with one thread.

    Raises:
        StateConflict, RuntimeSetupError: as `pause`.
    """
    waiting, ours = os.pipe()
    child = os.fork()
    if child == 0:
        _release_at_end(paths, container, waiting=waiting, ours=ours)
    os.close(waiting)
    try:
        pause(paths, container)
        yield
    finally:
        os.close(ours)
        if os.waitpid(child, 0)[1]:  # it was killed
            _release(paths, container)


def thaw(container: Container) -> None:
    """Let the processes go on, whatever the record says; idempotent."""
    cgroup = _usable_cgroup(container)
    if cgroup:
        with suppress(OSError):  # it has ended
            cgroups.write(cgroup, "cgroup.freeze", 0)
        return
    for process in reversed(_members(container)):
        _signal(process, signal.SIGCONT)


def is_quiet(threads: Iterable[str]) -> bool:
    """Tell from the state letters of each process's threads whether nothing runs. Pure."""
    return all(_QUIET.issuperset(states) for states in threads)


def _release_at_end(paths: Paths, container: Container, *, waiting: int, ours: int) -> NoReturn:
    """Be the child of `held`, in a session of its own: what is killed with its parent's group is not."""
    code = 1
    try:
        os.setsid()
        os.close(ours)
        os.read(waiting, 1)
        _release(paths, container)
        code = 0
    finally:
        os._exit(code)


def _release(paths: Paths, container: Container) -> None:
    with suppress(NotFound, StateConflict):  # it was killed or unpaused meanwhile, or never paused
        unpause(paths, records.load(paths, container.spec.id))


def _freeze(container: Container) -> None:
    cgroup = _usable_cgroup(container)
    deadline = time.monotonic() + _PATIENCE_S
    stopped = _freeze_cgroup(cgroup, deadline) if cgroup else _stop_all(container, deadline)
    if not stopped:
        raise RuntimeSetupError(
            f"cannot pause container `{container.spec.name}`: its processes do not stop",
            hint="it goes on; a process may be starting others all the time: `rootless top` shows them",
            reference="unstoppable",
        )


def _freeze_cgroup(cgroup: str, deadline: float) -> bool:
    """Freeze, and wait until the kernel says so (cgroup.events, "frozen")."""
    fd = os.open(f"{cgroup}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        cgroups.write(cgroup, "cgroup.freeze", 1)
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        while not cgroups.parse_flat(os.pread(fd, 4096, 0)).get("frozen"):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(left * 1000)
        return True
    finally:
        os.close(fd)


def _stop_all(container: Container, deadline: float) -> bool:
    """Send SIGSTOP until a whole pass finds the same processes as the one before, all of them quiet."""
    seen: list[int] = []
    while time.monotonic() < deadline:
        members = _members(container)
        pids = [process.pid for process in members]
        if pids == seen and is_quiet(map(processes.thread_states, pids)):
            return True
        _stop(members)
        seen = pids
    return False


def _stop(members: Iterable[Process]) -> None:
    for process in members:
        if process.state != "T":
            _signal(process, signal.SIGSTOP)


def _members(container: Container) -> list[Process]:
    return processes.find_members(container.state.pid, started=container.state.pid_start)


def _usable_cgroup(container: Container) -> str:
    """Return the container's cgroup if it can be frozen by this process; the answer does not change."""
    cgroup = container.state.cgroup
    return cgroup if cgroup and os.access(f"{cgroup}/cgroup.freeze", os.W_OK) else ""


def _signal(process: Process, number: int) -> None:
    """Send a signal to this very process: its pid may have been given to another since the list was made."""
    with suppress(ProcessLookupError):  # it has just ended
        fd = os.pidfd_open(process.pid)
        try:
            if procfs.start_time(process.pid) == process.start_ticks:
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)
