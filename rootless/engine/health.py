"""Whether a container is healthy: what the results of its checks mean, and who keeps them.

    monitor ──fork──▶ prober ──▶ one process in the container for each check (`engine.health_probe`)

The latest state is `containers/<id>/health.json`, in Docker's shape. Ring 1.

Rules (docs.docker.com/reference/dockerfile, HEALTHCHECK; moby daemon/health.go):
- A container is starting until a check succeeds, or as many as `retries` fail in a row.
- Failures in the start period do not count while it is starting; a success ends the period.
- One success makes it healthy again.
"""

from __future__ import annotations

import os

from layers import jsontext
from layers.contexts import suppress
from rootless.engine.logfile import timestamp
from rootless.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.model.policy import Healthcheck
    from rootless.paths import Paths

STARTING = "starting"
HEALTHY = "healthy"
UNHEALTHY = "unhealthy"

MAX_RESULTS = 5
MAX_OUTPUT_BYTES = 4096
_FILE = "health.json"


class Result(Value):
    """How one check ended.

    Attributes:
        start_ns, end_ns: since the epoch.
        exit_code: 0 is success; -1 where the check could not be run, or took too long.
        output: of its stdout and stderr together, at most MAX_OUTPUT_BYTES and a sign of more.
    """

    __slots__ = ("end_ns", "exit_code", "output", "start_ns")

    def __init__(self, *, start_ns: int, end_ns: int, exit_code: int, output: str) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.exit_code = exit_code
        self.output = output


class Health(Value):
    """What is known of a container's health.

    Attributes:
        failing_streak: failures in a row that count.
        log: the last MAX_RESULTS results, oldest first.
    """

    __slots__ = ("failing_streak", "log", "status")

    def __init__(
        self, *, status: str = STARTING, failing_streak: int = 0, log: tuple[Result, ...] = ()
    ) -> None:
        self.status = status
        self.failing_streak = failing_streak
        self.log = log


def judge(health: Health, result: Result, check: Healthcheck, *, age_ns: int) -> Health:
    """Return the health after a further result. Pure.

    Args:
        age_ns: of the container, when the check began.
    """
    status, streak = health.status, health.failing_streak
    if result.exit_code == 0:
        status, streak = HEALTHY, 0
    elif status != STARTING or age_ns >= check.start_period_ns:
        streak += 1
        if streak >= check.retries:
            status = UNHEALTHY
    return Health(status=status, failing_streak=streak, log=(*health.log, result)[-MAX_RESULTS:])


def pause_ns(health: Health, check: Healthcheck, *, age_ns: int) -> int:
    """Return how long to wait between one check and the next. Pure."""
    in_start_period = health.status == STARTING and age_ns < check.start_period_ns
    return check.start_interval_ns if in_start_period else check.interval_ns


def to_docker(health: Health) -> dict[str, Any]:
    """Return the shape of `State.Health` of `docker inspect`. Pure."""
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": timestamp(result.start_ns),
                "End": timestamp(result.end_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def start(paths: Paths, container: Container, *, mapping: IdMapping) -> int:
    """Fork the process that checks a container from now on; returns its pid, 0 when nothing is to be checked.

    Called by the monitor once the command runs and is recorded, before anybody is told. The prober ends with
    the container, or with its monitor.
    """
    if not container.spec.healthcheck.test:
        return 0
    save(container, Health())
    monitor = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        from rootless.engine import health_probe  # most containers have no check

        health_probe.run(paths, container, mapping=mapping, monitor=monitor)
    finally:
        os._exit(0)  # no traceback: nobody reads what it says


def stop(prober: int) -> None:
    """End the prober of a container that has ended, and reap it; 0 is none."""
    if prober:
        with suppress(ProcessLookupError):
            os.kill(prober, 9)
        os.waitpid(prober, 0)


def read(container: Container) -> dict[str, Any] | None:
    """Return a container's health in Docker's shape; None when it is not checked, or never was started."""
    if not container.spec.healthcheck.test:
        return None
    try:
        with open(container.path(_FILE), encoding="utf-8") as file:
            health = jsontext.loads(file.read())
    except (OSError, ValueError):
        return None
    return health if isinstance(health, dict) else None


def status_of(container: Container) -> str:
    """Return "starting", "healthy" or "unhealthy"; "" when it is not checked."""
    health = read(container)
    return str(health.get("Status", "")) if health else ""


def save(container: Container, health: Health) -> None:
    """Replace what is known; on a full disk nothing is known rather than something old."""
    path = container.path(_FILE)
    draft = container.path(f".{_FILE}.new")  # one process at a time writes it
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(jsontext.dumps(to_docker(health)))
        os.rename(draft, path)
    except OSError:
        for name in (draft, path):
            with suppress(OSError):
                os.unlink(name)
