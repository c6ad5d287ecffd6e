"""Wait until a container is as its user wants it: `wait --condition`. Ring 1.

Docker has not-running, next-exit and removed; the others are podman's.
"""

from __future__ import annotations

import os

from rootless.engine import containers, health, records
from rootless.engine.watch import Watch, drive, open_monitor
from rootless.errors import NotFound, StateConflict
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from rootless.engine.records import Container
    from rootless.engine.watch import Pause
    from rootless.paths import Paths

NOT_RUNNING = frozenset(("not-running", "stopped", "exited"))
CONDITIONS = (*sorted(NOT_RUNNING), "next-exit", "removed", "running", "healthy", "unhealthy")
NO_EXIT_CODE = -1
"""Printed for a condition that has to do with no exit, as podman does."""


def wait(paths: Paths, container: Container, condition: str) -> int:
    """Wait for one of CONDITIONS; returns the exit code of the run that it is about, or NO_EXIT_CODE.

    Raises:
        StateConflict: it cannot become so: it has no health check, or has ended.
        NotFound: it was removed meanwhile.
    """
    return drive(until(paths, container, condition))


def until(paths: Paths, container: Container, condition: str) -> Generator[Pause, None, int]:
    """Do as `wait`, for a caller that waits in its own way (`engine.watch`)."""
    if condition in NOT_RUNNING:
        return (yield from containers.until_ended(paths, container))
    if condition == "removed":
        code = yield from containers.until_ended(paths, container)
        yield from _until(paths, container, condition)
        return code
    if condition == "next-exit":
        running = yield from _until(paths, container, "running")
        return (yield from containers.until_ended(paths, running))
    if condition in (health.HEALTHY, health.UNHEALTHY) and not container.spec.healthcheck.test:
        raise StateConflict(
            f"container `{container.spec.name}` has no health check",
            hint="give it one with --health-cmd when you create it",
            reference="no-healthcheck",
        )
    yield from _until(paths, container, condition)
    return NO_EXIT_CODE


def is_met(container: Container, condition: str) -> bool:
    """Tell whether a container that exists is as wanted: running, healthy or unhealthy."""
    if container.state.status not in lifecycle.ALIVE:
        return False
    return condition == "running" or health.status_of(container) == condition


def _until(paths: Paths, container: Container, condition: str) -> Generator[Pause, None, Container]:
    """Wait for a condition other than an exit; returns the container as it was then."""
    with Watch(container.directory) as watch:
        while True:
            try:
                container = records.load(paths, container.spec.id)
            except NotFound:
                if condition == "removed":
                    return container
                raise
            if is_met(container, condition):
                return container
            _check_hope(container, condition)
            monitor = open_monitor(container)  # a monitor that is killed changes no file
            try:
                yield watch.pause(monitor)
            finally:
                if monitor >= 0:
                    os.close(monitor)
            watch.wait(timeout_ms=0)


def _check_hope(container: Container, condition: str) -> None:
    """Refuse to wait for the health of a container that has ended."""
    status = container.state.status
    if condition in (health.HEALTHY, health.UNHEALTHY) and status in (lifecycle.EXITED, lifecycle.DEAD):
        raise StateConflict(
            f"container `{container.spec.name}` will not become {condition}: it is {status}",
            hint=f"`rootless logs {container.spec.name}` may tell why",
            reference="wrong-state",
        )
