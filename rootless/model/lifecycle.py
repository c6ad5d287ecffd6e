"""The life of a container: its states, the events that change them, and the record of both.

Rules:
- A status changes only through `next_status`; an event that the table does not hold is a conflict.
- The record is written before anybody is told.
- docs/lifecycle.md is this table: run scripts/gen-lifecycle after a change.
"""

from __future__ import annotations

from rootless.errors import StateConflict
from rootless.model.value import Value

CREATED = "created"
RUNNING = "running"
PAUSED = "paused"
RESTARTING = "restarting"
EXITED = "exited"
REMOVING = "removing"
DEAD = "dead"

STATUSES = (CREATED, RUNNING, PAUSED, RESTARTING, EXITED, REMOVING, DEAD)
ALIVE = frozenset((RUNNING, PAUSED))
"""There is a process."""
MINDED = ALIVE | {RESTARTING}
"""There is a monitor."""

START = "start"
EXIT = "exit"
BACK_OFF = "restart"
PAUSE = "pause"
UNPAUSE = "unpause"
REMOVE = "remove"
FAIL = "fail"

TRANSITIONS = {
    (CREATED, START): RUNNING,
    (CREATED, EXIT): EXITED,  # the command could not be started
    (EXITED, START): RUNNING,
    (EXITED, EXIT): EXITED,  # nor could it again
    (RUNNING, EXIT): EXITED,
    (RUNNING, PAUSE): PAUSED,
    (PAUSED, UNPAUSE): RUNNING,
    (PAUSED, EXIT): EXITED,
    (RUNNING, BACK_OFF): RESTARTING,  # it has ended, and its policy will start it again
    (PAUSED, BACK_OFF): RESTARTING,
    (RESTARTING, START): RUNNING,
    (RESTARTING, BACK_OFF): RESTARTING,  # the start failed: once more, later
    (RESTARTING, EXIT): EXITED,  # stopped meanwhile
    (CREATED, REMOVE): REMOVING,
    (EXITED, REMOVE): REMOVING,
    (DEAD, REMOVE): REMOVING,
    (REMOVING, REMOVE): REMOVING,  # finishing a removal that was killed half way
    (REMOVING, FAIL): DEAD,  # what is left of it cannot be deleted
}
"""(status, event) → status: the whole life of a container."""

_HINTS = {
    (RUNNING, REMOVE): "stop it first, or use -f",
    (PAUSED, REMOVE): "`rootless unpause` and stop it first, or use -f",
    (RESTARTING, REMOVE): "stop it first, or use -f",
    (PAUSED, START): "`rootless unpause` lets it go on",
    (PAUSED, PAUSE): "`rootless unpause` lets it go on",
    (CREATED, PAUSE): "`rootless start` it first",
    (EXITED, PAUSE): "`rootless start` it first",
    (RESTARTING, PAUSE): "wait until it runs, or stop it",
    **dict.fromkeys(
        [(status, UNPAUSE) for status in (CREATED, RUNNING, RESTARTING, EXITED)],
        "only a paused container can be unpaused",
    ),
}


def next_status(status: str, event: str, *, name: str) -> str:
    """Return the status after an event.

    Raises:
        StateConflict: the event is not possible now; `name` is the container for the message.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise StateConflict(
            f"cannot {event} container `{name}`: it is {status}",
            hint=_HINTS.get((status, event)),
            reference="wrong-state",
        ) from None


class ContainerState(Value):
    """What happened to a container so far: `containers/<id>/state.json`.

    Attributes:
        pid, pid_start: the container's first process as the host sees it, and its start time in clock
            ticks since boot (man 5 proc, field 22), so that a reused pid is never taken for it.
        monitor_pid, monitor_start: the same of its monitor; of its creator before the start.
        boot_id: boot in which the pids are valid.
        started_ns, finished_ns: nanoseconds since the epoch, 0 before.
        exit_code: of the last run. error: why it could not start, "" otherwise.
        oom_killed: the kernel killed a process of the last run for want of memory.
        stop_requested: a user stopped this run: no restart policy starts it again.
        restart_count: restarts by the policy since the user's start.
        log_lost_bytes: of all runs, told at the end of each: what the log could not take on a full disk.
        modes: storage, identity and network driver that this run uses.
        cgroup: directory of its own cgroup, "" where the host gives it none; gone after the end.
        ports: published ports as chosen, [{"host_ip", "host_port", "container_port", "protocol"}].
    """

    __slots__ = (
        "boot_id",
        "cgroup",
        "error",
        "exit_code",
        "finished_ns",
        "identity",
        "log_lost_bytes",
        "monitor_pid",
        "monitor_start",
        "network",
        "oom_killed",
        "pid",
        "pid_start",
        "ports",
        "restart_count",
        "started_ns",
        "status",
        "stop_requested",
        "storage",
    )

    def __init__(
        self,
        *,
        status: str = CREATED,
        pid: int = 0,
        pid_start: int = 0,
        monitor_pid: int = 0,
        monitor_start: int = 0,
        boot_id: str = "",
        started_ns: int = 0,
        finished_ns: int = 0,
        exit_code: int = 0,
        error: str = "",
        identity: str = "",
        storage: str = "",
        network: str = "",
        cgroup: str = "",
        ports: tuple[object, ...] = (),
        oom_killed: bool = False,
        stop_requested: bool = False,
        restart_count: int = 0,
        log_lost_bytes: int = 0,
    ) -> None:
        self.status = status
        self.pid = pid
        self.pid_start = pid_start
        self.monitor_pid = monitor_pid
        self.monitor_start = monitor_start
        self.boot_id = boot_id
        self.started_ns = started_ns
        self.finished_ns = finished_ns
        self.exit_code = exit_code
        self.error = error
        self.identity = identity
        self.storage = storage
        self.network = network
        self.cgroup = cgroup
        self.ports = ports
        self.oom_killed = oom_killed
        self.stop_requested = stop_requested
        self.restart_count = restart_count
        self.log_lost_bytes = log_lost_bytes
