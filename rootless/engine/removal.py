"""Remove containers, and what killed processes left behind. Ring 1."""

from __future__ import annotations

import fcntl
import os

from rootless.engine import events, records, volume_removal, volumes
from rootless.errors import StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.paths import Paths


def remove(paths: Paths, container: Container, *, mapping: IdMapping, with_volumes: bool) -> None:
    """Delete a container that does not run; it vanishes at once, its files are deleted after.

    Args:
        with_volumes: its anonymous volumes too.
    Raises:
        StateConflict: it is running, or being started.
    """
    from rootless.engine import connect  # ring 1, but `run` rarely has something to sweep

    hidden = records.hide(paths, container)
    connect.remove_run_dir(paths, container.spec.id)
    if container.state.cgroup:  # its monitor was killed
        from rootless.runtime import cgroups

        cgroups.remove(container.state.cgroup)
    events.record_container(paths, container, "destroy")
    doomed = [hidden]
    if with_volumes:
        doomed += volume_removal.hide_anonymous(paths, container.spec)
    for path in doomed:
        delete(paths, path, mapping=mapping)


def sweep(paths: Paths, *, mapping: IdMapping) -> None:
    """Finish what killed processes began: half-made containers, half-deleted ones, unattended --rm ones."""
    for container in records.load_all(paths):
        if records.is_abandoned(container):
            try:
                remove(paths, container, mapping=mapping, with_volumes=True)
            except StateConflict:
                continue  # somebody has just started it
    for path in records.list_leftovers(paths):
        from rootless.engine import connect  # as in `remove`

        connect.remove_run_dir(paths, records.leftover_id(path))
        delete(paths, path, mapping=mapping)
    for path in volumes.list_leftovers(paths):
        delete(paths, path, mapping=mapping)


def delete(paths: Paths, path: str, *, mapping: IdMapping) -> None:
    """Delete a tree unless another process is at it."""
    from rootless.runtime import userns  # with ctypes, 2 ms: `run` sweeps, but rarely finds something

    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        userns.remove_tree(path, mapping=mapping, run_dir=paths.run)
    except BlockingIOError:
        return
    finally:
        os.close(fd)
