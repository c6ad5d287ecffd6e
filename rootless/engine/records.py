"""Containers on disk: `containers/<id>/{spec,state}.json`; their names and locks: `engine.claims`. Ring 1.

Rules:
- A container appears by one rename of a complete directory and vanishes by another. Whatever a killed process
  leaves behind begins with a dot and is swept.
- A record is replaced as a whole. Containers that outlive their command (no --rm) are also synced.
- Nobody believes a recorded pid: `observe` compares it with the process table.
"""

from __future__ import annotations

import errno
import os
import time

from layers.contexts import contextmanager, suppress
from rootless.engine import claims, events, jsonfile
from rootless.errors import InternalError, NotFound, StateConflict
from rootless.linux import procfs
from rootless.model import lifecycle
from rootless.model.lifecycle import ContainerState
from rootless.model.names import find_container_id, new_name
from rootless.model.spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.paths import Paths

VERSION = 1
"""Of the form of spec.json; to be raised when an older release would misread a newer one's."""

EXIT_CODE_KILLED = 137
"""Told for a container whose monitor died with it: the kernel kills it with SIGKILL (128 + 9)."""


class Container:
    """A container as read from disk; `state` is replaced by `save_state`."""

    __slots__ = ("directory", "spec", "state")

    def __init__(self, directory: str, spec: ContainerSpec, state: ContainerState) -> None:
        self.directory = directory
        self.spec = spec
        self.state = state

    def path(self, *parts: str) -> str:
        return os.path.join(self.directory, *parts)


def create(paths: Paths, spec: ContainerSpec, *, starting: bool) -> Container:
    """Record a new container and claim its name; it appears complete or not at all.

    Args:
        starting: this process is about to have it started; killed before, --rm removes the container.

    Raises:
        StateConflict: the name is taken.
    """
    directory = os.path.join(paths.containers, spec.id)
    draft = os.path.join(paths.containers, f".new-{spec.id}")
    creator = os.getpid() if starting else 0
    started = procfs.start_time(creator) if starting else 0
    state = ContainerState(monitor_pid=creator, monitor_start=started, boot_id=procfs.boot_id())
    os.makedirs(paths.names, exist_ok=True)
    with claims.names_lock(paths):
        os.makedirs(draft)  # under the lock: a draft that anybody else sees is a dead one (list_leftovers)
        try:
            claims.claim_name(paths, spec)
            jsonfile.replace(draft, "spec.json", _versioned(spec), durable=not spec.auto_remove)
            jsonfile.replace(draft, "state.json", state.to_json(), durable=not spec.auto_remove)
            os.rename(draft, directory)
        except BaseException:
            _discard_draft(paths, spec, draft)
            raise
    container = Container(directory, spec, state)
    events.record_container(paths, container, "create")
    return container


def load(paths: Paths, container_id: str) -> Container:
    """Read one container and make its state true.

    Raises:
        NotFound: it does not exist (any more).
    """
    directory = os.path.join(paths.containers, container_id)
    return observe(Container(directory, *_read_records(directory)))


def _read_records(directory: str) -> tuple[ContainerSpec, ContainerState]:
    container_id = os.path.basename(directory)
    try:
        return (
            ContainerSpec.from_json(_check_version(jsonfile.read(directory, "spec.json"), directory)),
            ContainerState.from_json(jsonfile.read(directory, "state.json")),
        )
    except FileNotFoundError as exc:
        raise NotFound(f"no such container: {container_id}", reference="no-such-container") from exc
    except (ValueError, TypeError) as exc:
        raise InternalError(
            "cannot read the container's record: it is damaged",
            on=directory,
            hint=f"`rootless rm -f {container_id[:12]}` removes it",
            reference="damaged-record",
        ) from exc


def find(paths: Paths, query: str) -> Container:
    """Load the container that a name, an id or a unique id prefix means."""
    return load(paths, find_container_id(query, read_names(paths), list_ids(paths)))


def load_all(paths: Paths) -> list[Container]:
    """Load all containers, newest first, without those removed meanwhile, or damaged (`engine.damaged`)."""
    found = []
    for container_id in list_ids(paths):
        try:
            found.append(load(paths, container_id))
        except (NotFound, InternalError, OSError):
            continue
    found.sort(key=lambda c: c.spec.created_ns, reverse=True)
    return found


def list_ids(paths: Paths) -> list[str]:
    try:
        return [name for name in os.listdir(paths.containers) if not name.startswith(".")]
    except FileNotFoundError:
        return []


def read_names(paths: Paths) -> dict[str, str]:
    """Return name → id of all names that lead to a container."""
    names: dict[str, str] = {}
    try:
        entries = os.listdir(paths.names)
    except FileNotFoundError:
        return names
    for name in entries:
        try:
            names[name] = os.readlink(os.path.join(paths.names, name))
        except OSError:
            continue  # removed between listing and reading
    return names


def unused_name(paths: Paths) -> str:
    return new_name(read_names(paths))


def save_state(container: Container, **changes: object) -> None:
    """Replace the container's state record, atomically, then the value in memory.

    On a full disk the old record is overwritten in place, which needs no space: a container that filled the
    disk must not become one that cannot end or be removed.
    """
    state = container.state.replace(**changes)
    durable = not container.spec.auto_remove
    try:
        jsonfile.replace(container.directory, "state.json", state.to_json(), durable=durable)
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        jsonfile.overwrite(container.directory, "state.json", state.to_json())
    container.state = state


def change(paths: Paths, container: Container, event: str, **changes: object) -> None:
    """Move the container through the life-cycle table and record it, as it is on disk now.

    Other processes change records too: the present one is read again under the container's lock.

    Raises:
        NotFound: it has been removed. StateConflict: the table does not hold this event now.
    """
    with locked(paths, container):
        apply_event(container, event, **changes)


def apply_event(container: Container, event: str, **changes: object) -> None:
    """Do the same for a caller that holds the lock."""
    status = lifecycle.next_status(container.state.status, event, name=container.spec.name)
    save_state(container, status=status, **changes)


@contextmanager
def locked(paths: Paths, container: Container) -> Iterator[None]:
    """Hold the container's record lock, for milliseconds; `spec` and `state` are read anew.

    Raises:
        NotFound: it has been removed.
    """
    with claims.record_lock(paths, container.spec.id):
        try:
            container.spec, container.state = _read_records(container.directory)
        except NotFound:
            claims.drop_lock(paths, container.spec.id)
            raise
        yield


def save_spec(container: Container, spec: ContainerSpec) -> None:
    """Replace the container's specification; the caller holds its lock."""
    jsonfile.replace(container.directory, "spec.json", _versioned(spec), durable=not spec.auto_remove)
    container.spec = spec


def rename(paths: Paths, container: Container, name: str) -> None:
    """Give a container another name; killed half way, it answers to both.

    Raises:
        NotFound: it has been removed. StateConflict: the name is taken.
    """
    with locked(paths, container), claims.names_lock(paths):
        old = container.spec
        new = old.replace(name=name)
        claims.claim_name(paths, new)
        try:
            save_spec(container, new)
        except OSError:
            claims.release_name(paths, new)
            raise
        claims.release_name(paths, old)


def claim(paths: Paths, container: Container, *, creator_pid: int) -> None:
    """Make this process the monitor of a container that is to be started: there is one at a time.

    Args:
        creator_pid: of the command line that recorded it and forked us; nobody else's claim stands behind it.

    Raises:
        StateConflict: it runs, or another process is starting it.
    """
    with locked(paths, container):
        state = container.state
        lifecycle.next_status(state.status, lifecycle.START, name=container.spec.name)
        if state.monitor_pid != creator_pid and _is_alive(state.monitor_pid, state.monitor_start, state):
            raise StateConflict(
                f"cannot start container `{container.spec.name}`: another process is starting or ending it",
                hint="try again when that is done",
                reference="wrong-state",
            )
        mine = state.replace(
            monitor_pid=os.getpid(),
            monitor_start=procfs.start_time(os.getpid()),
            boot_id=procfs.boot_id(),
            stop_requested=False,
        )
        # Not synced: a claim need not outlive the boot.
        jsonfile.replace(container.directory, "state.json", mine.to_json(), durable=False)
        container.state = mine


def observe(container: Container) -> Container:
    """Correct a record that says "running" of a process that is gone together with its monitor.

    While the monitor lives its record stands: it is about to write the exit itself.
    """
    state = container.state
    if state.status not in lifecycle.MINDED or _is_alive(state.monitor_pid, state.monitor_start, state):
        return container
    if _is_alive(state.pid, state.pid_start, state):
        return container
    changes = {
        "status": lifecycle.next_status(state.status, lifecycle.EXIT, name=container.spec.name),
        "exit_code": state.exit_code if state.status == lifecycle.RESTARTING else EXIT_CODE_KILLED,
        "finished_ns": time.time_ns(),
        "error": "its monitor was killed" if state.boot_id == procfs.boot_id() else "the host was restarted",
        "pid": 0,
    }
    try:
        save_state(container, **changes)
    except OSError:  # a store that cannot be written is still told the truth about
        container.state = state.replace(**changes)
    return container


def is_abandoned(container: Container) -> bool:
    """Tell whether nobody will ever finish this --rm container: it, or its start, has ended unattended."""
    state = container.state
    waits = state.status == lifecycle.CREATED and not state.monitor_pid  # of `create`, for `start`
    return (
        container.spec.auto_remove
        and not waits
        and state.status not in lifecycle.MINDED
        and not _is_alive(state.monitor_pid, state.monitor_start, state)
    )


def hide(paths: Paths, container: Container) -> str:
    """Make a container vanish in one step and free its name; return where its files wait for deletion.

    Idempotent for a container that another process hid first.

    Raises:
        StateConflict: it runs, or another process is starting or ending it.
    """
    hidden = os.path.join(paths.containers, f".gone-{container.spec.id}")
    with claims.record_lock(paths, container.spec.id), claims.names_lock(paths):
        with suppress(NotFound, InternalError, OSError):  # hidden, or damaged: what we know of it must do
            container.spec, container.state = _read_records(container.directory)
        _check_removable(observe(container))
        try:
            os.rename(container.directory, hidden)
            claims.release_name(paths, container.spec)
        except FileNotFoundError:
            pass
        claims.drop_lock(paths, container.spec.id)
    return hidden


def list_leftovers(paths: Paths) -> list[str]:
    """Return the directories that killed processes left, drafts and hidden containers; free their names."""
    try:
        names = [n for n in os.listdir(paths.containers) if n.startswith((".new-", ".gone-"))]
    except FileNotFoundError:
        return []
    if not names:
        return []
    with claims.names_lock(paths):  # no draft is in the making while we hold it, and nobody is hiding
        found = [path for n in names if os.path.isdir(path := os.path.join(paths.containers, n))]
        claims.forget(paths, {leftover_id(path) for path in found})
    return found


def leftover_id(path: str) -> str:
    """Return the id of the container that a leftover was, or was to be."""
    return os.path.basename(path).partition("-")[2]


def _check_removable(container: Container) -> None:
    state, name = container.state, container.spec.name
    lifecycle.next_status(state.status, lifecycle.REMOVE, name=name)
    if state.monitor_pid != os.getpid() and _is_alive(state.monitor_pid, state.monitor_start, state):
        raise StateConflict(
            f"cannot remove container `{name}`: another process is starting or ending it",
            hint="try again when that is done, or use -f",
            reference="wrong-state",
        )


def _is_alive(pid: int, start: int, state: ContainerState) -> bool:
    if not pid or state.boot_id != procfs.boot_id():
        return False
    return procfs.is_alive(pid, start)


def _discard_draft(paths: Paths, spec: ContainerSpec, draft: str) -> None:
    claims.release_name(paths, spec)
    for name in ("spec.json", "state.json"):
        with suppress(OSError):  # never written
            os.unlink(os.path.join(draft, name))
    with suppress(OSError):  # the sweep finds it
        os.rmdir(draft)


def _versioned(spec: ContainerSpec) -> dict[str, object]:
    return {"version": VERSION, **spec.to_json()}


def _check_version(data: dict[str, object], directory: str) -> dict[str, object]:
    """Refuse a record that says that we would misread it; a field that we do not know is no harm."""
    version = data.get("version", VERSION)
    if isinstance(version, int) and version <= VERSION:
        return data
    raise InternalError(
        f"cannot read the container's record: a newer version of rootless wrote it (form {version})",
        on=directory,
        hint="use that version; `rootless rm -f` removes the container",
        reference="newer-record",
    )
