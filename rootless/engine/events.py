"""The journal of events: one JSON line for everything that happened to an object of the store. Ring 1.

Rules:
- Writing never fails for its caller: a full disk or a read-only store loses the event, not the container.
- An event is one write(2) of a file opened with O_APPEND, so events of several processes do not mix.
- A journal that has grown to MAX_BYTES becomes `events.jsonl.1`. Writers hold the file's lock shared and look
  whether it is still the journal, who renames it holds the lock alone: nothing is ever added to a file that
  was renamed, and whoever follows may leave it at its end.

`engine.event_reader` reads it. Shape of a line: moby api/types/events, Message.
"""

from __future__ import annotations

import fcntl
import os
import time

from layers import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.engine.records import Container
    from rootless.paths import Paths

CONTAINER = "container"
IMAGE = "image"
VOLUME = "volume"
TYPES = (CONTAINER, IMAGE, VOLUME)

MAX_BYTES = 4 << 20
_ATTEMPTS = 5
"""So often may others rotate between our opening and our locking."""


def journal_path(paths: Paths) -> str:
    return os.path.join(paths.store, "events.jsonl")


def rotated_path(paths: Paths) -> str:
    return journal_path(paths) + ".1"


def record(
    paths: Paths, kind: str, action: str, *, id: str, attributes: Mapping[str, str] | None = None
) -> None:
    """Append an event that happens now; never raises.

    Args:
        kind: of TYPES.
        action: Docker's word: "start", "die", "exec_create: sh -c true", "health_status: healthy".
        id: of the object; for an image its name or id, for a volume its name.
        attributes: Docker's; see `attributes_of` for containers.
    """
    now_ns = time.time_ns()
    message = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": id, "Attributes": dict(attributes or {})},
        "scope": "local",
        "time": now_ns // 10**9,
        "timeNano": now_ns,
    }
    try:
        _append(paths, jsontext.dumps(message, compact=True).encode() + b"\n")
    except OSError:
        return


def record_container(paths: Paths, container: Container, action: str, **more: str) -> None:
    """Append an event of a container; `more` are further attributes: exitCode="1", signal="15"."""
    attributes = attributes_of(container) | more
    record(paths, CONTAINER, action, id=container.spec.id, attributes=attributes)


def record_image(
    paths: Paths, action: str, *, id: str, name: str, labels: Mapping[str, str] | None = None
) -> None:
    """Append an event of an image: "pull", "tag", "untag", "delete", "import"…

    Args:
        labels: of the image; Docker tells them of those that are there.
    """
    record(paths, IMAGE, action, id=id, attributes={**(labels or {}), "name": name})


def record_volumes(paths: Paths, container: Container, action: str) -> None:
    """Append an event for each volume of a container: "mount" before its start, "unmount" after its end."""
    for mount in container.spec.mounts:
        if mount.kind == "volume":
            attributes = {
                "container": container.spec.id,
                "destination": mount.target,
                "driver": "local",
                "read/write": str(not mount.read_only).lower(),
            }
            record(paths, VOLUME, action, id=mount.source, attributes=attributes)


def attributes_of(container: Container) -> dict[str, str]:
    """Return what Docker tells of a container with each of its events: labels, image and name."""
    spec = container.spec
    labels = (label.partition("=") for label in spec.labels)
    return {name: value for name, _, value in labels} | {"image": spec.image, "name": spec.name}


def _append(paths: Paths, line: bytes) -> None:
    path = journal_path(paths)
    for _ in range(_ATTEMPTS):
        # O_RDWR: where flock(2) is emulated by record locks (NFS), a shared lock wants a readable file
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(fd, fcntl.LOCK_SH)
            size = _size_of_current(fd, path)
            if size is None or (size >= MAX_BYTES and _rotate(fd, paths)):
                continue
            if size and os.pread(fd, 1, size - 1) != b"\n":
                # A full disk took half an event; or a write is under way, and there will be a blank line.
                line = b"\n" + line
            os.write(fd, line)
            return
        finally:
            os.close(fd)


def _rotate(fd: int, paths: Paths) -> bool:
    """Rename the journal and tell whether `fd` is it no longer; while others write, a later event does it."""
    path = journal_path(paths)
    if not _lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
        _lock(fd, fcntl.LOCK_SH)
        return _size_of_current(fd, path) is None
    if _size_of_current(fd, path) is not None:  # changing a lock lets others in between (man 2 flock)
        os.rename(path, rotated_path(paths))
    return True


def _size_of_current(fd: int, path: str) -> int | None:
    """Return the size of an open file that has this path; None if the path is another file's by now."""
    ours = os.fstat(fd)
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return None
    return ours.st_size if (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino) else None


def _lock(fd: int, operation: int) -> bool:
    """Lock a file; True too where the file system has no locks: one process seldom meets another."""
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
