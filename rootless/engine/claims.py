"""What keeps containers apart: who has which name, and who may change which record. Ring 1.

Rules:
- A name is a symlink whose text is the id of its container; it is made and removed under the names lock.
- A lock is a file that outlives nobody: the kernel drops it with its holder. It is held for milliseconds.
"""

from __future__ import annotations

import os

from layers.contexts import contextmanager, suppress
from rootless.errors import StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths


def claim_name(paths: Paths, spec: ContainerSpec) -> None:
    """Point the name at the new id; the caller holds the names lock."""
    link = os.path.join(paths.names, spec.name)
    try:
        os.symlink(spec.id, link)
    except FileExistsError:
        owner = os.readlink(link)
        if os.path.isdir(os.path.join(paths.containers, owner)):
            raise StateConflict(
                f"the container name `{spec.name}` is already in use by container {owner[:12]}",
                hint=f"remove it with `rootless rm {spec.name}`, or choose another --name",
                reference="name-in-use",
            ) from None
        os.unlink(link)  # its creator was killed between claim and rename
        os.symlink(spec.id, link)


def release_name(paths: Paths, spec: ContainerSpec) -> None:
    link = os.path.join(paths.names, spec.name)
    try:
        if os.readlink(link) == spec.id:
            os.unlink(link)
    except FileNotFoundError:
        pass  # a claim that was killed before it was made


def forget(paths: Paths, ids: set[str]) -> None:
    """Remove names and locks of containers that are not there; the caller holds the names lock."""
    absent = {
        container_id
        for container_id in ids
        if not os.path.isdir(os.path.join(paths.containers, container_id))
    }
    links = []
    with suppress(FileNotFoundError):  # no container was ever named
        links = [os.path.join(paths.names, name) for name in os.listdir(paths.names)]
    doomed = [link for link in links if os.readlink(link) in absent]
    for path in doomed + [os.path.join(paths.locks, _lock_name(container_id)) for container_id in absent]:
        with suppress(FileNotFoundError):
            os.unlink(path)


def drop_lock(paths: Paths, container_id: str) -> None:
    """Remove the lock of a container that is gone: who still waits for it finds no container either."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(paths.locks, _lock_name(container_id)))


def names_lock(paths: Paths) -> AbstractContextManager[None]:
    """Hold the store's name lock, for milliseconds."""
    return _lock(paths, "names.lock")


def record_lock(paths: Paths, container_id: str) -> AbstractContextManager[None]:
    return _lock(paths, _lock_name(container_id))


def _lock_name(container_id: str) -> str:
    return f"{container_id}.lock"


@contextmanager
def _lock(paths: Paths, name: str) -> Iterator[None]:
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(os.path.join(paths.locks, name), flags, 0o600)
    except OSError:
        paths.ensure()  # it went with a logout, or somebody else has made it
        fd = os.open(os.path.join(paths.locks, name), flags, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
