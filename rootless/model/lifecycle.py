"""The life of a container: its states, the events that change them, and the record of both.

Rules:
- A status changes only through `next_status`; an event that the table does not hold is a conflict.
- The record is written before anybody is told.
"""

from __future__ import annotations

from rootless.errors import StateConflict
from rootless.model.value import Value

CREATED = "created"
RUNNING = "running"
EXITED = "exited"
REMOVING = "removing"

START = "start"
EXIT = "exit"
REMOVE = "remove"

TRANSITIONS = {
    (CREATED, START): RUNNING,
    (CREATED, EXIT): EXITED,  # the command could not be started
    (EXITED, START): RUNNING,
    (RUNNING, EXIT): EXITED,
    (CREATED, REMOVE): REMOVING,
    (EXITED, REMOVE): REMOVING,
    (REMOVING, REMOVE): REMOVING,  # finishing a removal that was killed half way
}


def next_status(status: str, event: str, *, name: str) -> str:
    """Return the status after an event.

    Raises:
        StateConflict: the event is not possible now; `name` is the container for the message.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        hint = "stop it first, or use -f" if (status, event) == (RUNNING, REMOVE) else None
        raise StateConflict(
            f"cannot {event} container `{name}`: it is {status}", hint=hint, reference="wrong-state"
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
        modes: storage, identity and network driver that this run uses.
        ports: published ports as chosen, [{"host_ip", "host_port", "container_port", "protocol"}].
    """

    __slots__ = (
        "boot_id",
        "error",
        "exit_code",
        "finished_ns",
        "identity",
        "monitor_pid",
        "monitor_start",
        "network",
        "pid",
        "pid_start",
        "ports",
        "started_ns",
        "status",
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
        ports: tuple[object, ...] = (),
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
        self.ports = ports
