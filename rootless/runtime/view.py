"""The files of a container as it sees them, for a process that copies: a descriptor of the container's root.

Of a running container it is the root of its first process, volumes and all. Of a stopped one the root file
system and its volumes are mounted as for a start, in a mount namespace that ends with this process. Either
way this process keeps the host's root: nothing is imported, looked up or executed in the container
(CVE-2019-14271), and over files it has the rights of the container's root and no others. Ring 1.
"""

from __future__ import annotations

import fcntl
import os
import signal

from rootless.linux import calls, const, procfs
from rootless.model.spec import Mount
from rootless.model.value import Value
from rootless.runtime import join, outer, roots, userns
from rootless.runtime import plan as planning
from rootless.runtime.ops import Context, Isolate
from rootless.runtime.plan import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.host import IdMapping
    from rootless.runtime.ops import Op


class Stopped(Value):
    """What is mounted for a container without a process.

    Attributes:
        storage: "overlay", "fuse-overlayfs" or "copy".
        mounts: the user's; those of kind "tmpfs" are empty before a start, and left out.
        read_only: the root file system is, its volumes need not be.
        fuse_overlayfs: path of the program.
    """

    __slots__ = ("files", "fuse_overlayfs", "mounts", "read_only", "storage")
    nested = {"files": Files, "mounts": Mount}  # noqa: RUF012  a constant; ClassVar would import typing

    def __init__(
        self,
        *,
        files: Files,
        storage: str,
        mounts: tuple[Mount, ...] = (),
        read_only: bool = False,
        fuse_overlayfs: str = "",
    ) -> None:
        self.files = files
        self.storage = storage
        self.mounts = mounts
        self.read_only = read_only
        self.fuse_overlayfs = fuse_overlayfs


def open_running(pid: int, started: int) -> tuple[int, int]:
    """Return descriptors of a container's root, as its first process sees it, and of that process.

    Takes the ids of the container's root; there is no way back. Must run in a process with one thread.

    Raises:
        StateConflict: it is not running any more.
    """
    try:
        pidfd, pid = join.open_process(pid, started)
        root = os.open(f"/proc/{pid}/root", const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mount_fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        groups = not procfs.read(f"/proc/{pid}/setgroups").startswith(b"deny")
        signal.pidfd_send_signal(pidfd, 0)  # it lives: the number still meant it when we opened these
    except (FileNotFoundError, ProcessLookupError) as exc:
        raise join.not_running() from exc
    namespace = fcntl.ioctl(mount_fd, const.NS_GET_USERNS)
    calls.prctl(const.PR_SET_DUMPABLE, 0)  # nothing in that namespace may look into this process
    calls.setns(namespace, const.CLONE_NEWUSER)
    join.become_root(groups=groups)
    os.close(mount_fd)
    os.close(namespace)
    return root, pidfd


def open_stopped(view: Stopped, mapping: IdMapping) -> int:
    """Mount a container's files and return their root; the caller holds the container's lock.

    Raises:
        RootlessError: they cannot be mounted here.
    """
    userns.enter(mapping, view.files.run_dir)
    if view.storage == "fuse-overlayfs":
        outer.mount_fuse(planning.fuse_command(view.fuse_overlayfs, view.files))
    else:
        calls.unshare(const.CLONE_NEWNS)
    context = Context()
    steps = _plan(view)
    for op in steps:
        op.prepare(context)
    for op in steps:
        op.execute(context)
    return context.root_fd


def _plan(view: Stopped) -> list[Op]:
    """Return the steps of a start that matter for files. Pure."""
    mounts = [mount for mount in view.mounts if mount.kind != "tmpfs"]
    steps: list[Op] = [Isolate(receive=False), planning.root_op(view.storage, view.files, volatile=False)]
    steps += planning.mount_ops(mounts, view.files)
    if view.read_only:
        steps.append(roots.ReadOnlyRoot())
    return steps
