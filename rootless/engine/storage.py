"""Where the parts of a container's root file system lie, and how they are made ready. Ring 1.

One process at a time has them mounted for writing, and holds a lock as long: the monitor from the first start
to its own end, or `cp` while there is no monitor. Two mounts of one upper directory would make the kernel's
overlay show neither what the one nor what the other wrote.
"""

from __future__ import annotations

import errno
import fcntl
import os

from rootless.engine import volumes
from rootless.engine.connect import NET_FILES
from rootless.errors import NotFound
from rootless.runtime import userns
from rootless.runtime.plan import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.model.host import Modes
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EBADF)
"""A network file system without locks, which cannot hold an overlay's upper directory either."""

_held: dict[str, int] = {}
"""Container id → the descriptor that holds its lock until this process ends."""


def lower_directories(paths: Paths, spec: ContainerSpec, *, mapping_key: str) -> tuple[str, ...]:
    """Return the extracted layers of the container's image, bottom first.

    Raises:
        NotFound: one is gone; the store was changed behind our back.
    """
    base = os.path.join(paths.snapshots, mapping_key)
    lowers = tuple(os.path.join(base, chain_id.removeprefix("sha256:")) for chain_id in spec.layers)
    for path in lowers:
        if not os.path.isdir(path):
            raise NotFound(
                f"cannot find a layer of image {spec.image}",
                on=path,
                hint=f"`rootless pull {spec.image}` brings it back",
                reference="missing-layer",
            )
    return lowers


def lock(container: Container, *, wait: bool) -> int:
    """Take the lock; returns the descriptor that holds it, the caller's, or -1 if another process has it.

    Raises:
        NotFound: the container has been removed.
    """
    try:
        fd = os.open(container.path("files.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as exc:
        raise NotFound(f"no such container: {container.spec.name}", reference="no-such-container") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(fd)
        return -1
    except OSError as exc:
        if exc.errno not in _NO_LOCKS:
            os.close(fd)
            raise
    return fd


def prepare(paths: Paths, container: Container, modes: Modes) -> Files:
    """Take the lock for as long as this process lives, as monitors do, and make everything ready.

    Idempotent, so that a container can start again. Waits while `cp` works on the container.

    Raises:
        RootlessError: a layer is missing, or the copy of the image failed.
    """
    if container.spec.id not in _held:
        _held[container.spec.id] = lock(container, wait=True)
    return make_ready(paths, container, modes)


def make_ready(paths: Paths, container: Container, modes: Modes) -> Files:
    """Make the directories that a mount names; the caller holds the lock.

    Raises:
        RootlessError: as `prepare`.
    """
    lowers = lower_directories(paths, container.spec, mapping_key=modes.mapping.key)
    storage = container.spec.storage or modes.storage
    rootfs = container.path("rootfs")
    if storage == "copy":
        _copy_image(paths, lowers, rootfs, modes)
    else:
        for name in ("rootfs", "upper", "work"):
            os.makedirs(container.path(name), mode=0o755, exist_ok=True)
    for name in NET_FILES:
        os.close(os.open(container.path(name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    return Files(
        rootfs=rootfs,
        run_dir=paths.run,
        lowers=lowers,
        upper=container.path("upper"),
        work=container.path("work"),
        hosts=container.path("hosts"),
        hostname=container.path("hostname"),
        resolv_conf=container.path("resolv.conf"),
        volumes={
            mount.source: volumes.data_directory(paths, mount.source)
            for mount in container.spec.mounts
            if mount.kind == "volume"
        },
    )


def layers_of(
    paths: Paths, container: Container, modes: Modes
) -> tuple[dict[str, object], dict[str, object]]:
    """Return the container's files and its image's as `runtime.archive` reads them, without a mount.

    A container that has not been started yet has the image's.
    """
    lowers = list(reversed(lower_directories(paths, container.spec, mapping_key=modes.mapping.key)))
    image: dict[str, object] = {"layers": lowers, "form": "mixed"}
    storage = container.state.storage or container.spec.storage or modes.storage
    own = container.path("rootfs" if storage == "copy" else "upper")
    if not os.path.isdir(own):
        return {"layers": lowers, "form": "mixed"}, image
    if storage == "copy":
        return {"layers": [own], "form": "copy"}, image
    form = "layered" if storage == "overlay" else "mixed"
    return {"layers": [own, *lowers], "form": form}, image


def _copy_image(paths: Paths, lowers: tuple[str, ...], rootfs: str, modes: Modes) -> None:
    """Make the whole root file system as a copy, complete or not at all."""
    if os.path.isdir(rootfs):
        return
    draft = rootfs + ".new"
    userns.remove_tree(draft, mapping=modes.mapping, run_dir=paths.run)

    os.mkdir(draft, 0o755)
    userns.run_inside(modes.mapping, paths.run, lambda: _flatten(lowers, draft))
    os.rename(draft, rootfs)


def _flatten(lowers: tuple[str, ...], target: str) -> None:
    """Runs in the user namespace, where the files' ids are known."""
    from layers.flatten import flatten  # only where no overlay works

    os.umask(0)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flatten(lowers, fd)
    finally:
        os.close(fd)
