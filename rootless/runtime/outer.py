"""The process between the monitor and a container's first process, where one is needed; see `stages`.

It moves into the user namespace that the container's becomes a child of, mounts what must stay outside of
the container (a fuse-overlayfs inside could be traced by the container's root, who would gain its
descriptors of the shared layers), makes the container's first process, maps its ids and ends. Ring 1.
"""

from __future__ import annotations

import fcntl
import os

from rootless.errors import RuntimeSetupError, StateConflict, os_error_text
from rootless.linux import calls, const, procfs
from rootless.runtime import handshake, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from rootless.runtime.plan import Plan


def start(plan: Plan, make_init: Callable[[int], int]) -> int:
    """Return the pid of the container's first process, a child of this one, with its ids mapped.

    Args:
        make_init: clones with the flags given, returns the pid.
    Raises:
        RootlessError: a step failed; the first process has been reaped.
    """
    namespace = -1
    if plan.mapping.mode == "ranges":
        from rootless.runtime import holder  # `single` mode never needs it

        namespace = holder.open_namespace(plan.mapping, plan.run_dir)
    ours, its = handshake.channel()
    outer_pid = calls.clone(0)
    if outer_pid == 0:
        try:
            ours.close()
            _Outer(plan, namespace, make_init).run(its.fileno())
        except BaseException as exc:
            handshake.report_and_exit(its, exc)
    its.close()
    if namespace >= 0:
        os.close(namespace)
    message, _ = handshake.receive(ours)
    pid = int(message[1:]) if message[:1] == handshake.READY else 0
    if pid:
        message, _ = handshake.receive(ours)  # a failure after init was made, or the end
    ours.close()
    _, status = os.waitpid(outer_pid, 0)
    if not status and pid:
        return pid
    if pid:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    if message[:1] == handshake.FAILED:
        raise handshake.decode_failure(message)
    raise RuntimeSetupError("cannot set the container up: a helper process was killed", reference="killed")


class _Outer:
    def __init__(self, plan: Plan, namespace: int, make_init: Callable[[int], int]) -> None:
        self.plan = plan
        self.namespace = namespace
        self.make_init = make_init

    def run(self, channel_fd: int) -> NoReturn:
        plan = self.plan
        calls.prctl(const.PR_SET_PDEATHSIG, 9)
        self._enter()
        if plan.fuse:
            mount_fuse(plan.fuse)
        pid = self.make_init(plan.clone_flags | const.CLONE_PARENT)
        os.write(channel_fd, handshake.READY + str(pid).encode())
        try:
            userns.write_nested_map(plan.mapping, pid)
        except OSError as exc:
            raise userns.refusal(exc) from exc
        if plan.fuse:
            calls.umount2(plan.fuse[-1], const.MNT_DETACH)  # the container has its own copy of the mount
        os._exit(0)

    def _enter(self) -> None:
        """Join the user namespace that owns the network to be joined, the holder's, or make one."""
        plan = self.plan
        network = -1 if plan.network_owner is None else _open_network(*plan.network_owner)
        try:
            if network >= 0:
                owner = fcntl.ioctl(network, const.NS_GET_USERNS)
                userns.join(owner, plan.mapping)
                calls.setns(network, const.CLONE_NEWNET)
            elif self.namespace >= 0:
                userns.join(self.namespace, plan.mapping)
            else:
                calls.unshare(const.CLONE_NEWUSER)
                userns.write_single_map(plan.mapping)
        except OSError as exc:
            raise userns.refusal(exc) from exc


def _open_network(pid: int, started: int) -> int:
    """Return a descriptor of a process's network namespace, -1 when that is our own (--network host).

    Raises:
        StateConflict: the process is gone.
    """
    try:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        fd = -1
    if fd < 0 or procfs.start_time(pid) != started:  # after opening: a reused pid cannot slip in
        raise StateConflict(
            "cannot join the network of a container that is not running", reference="not-running"
        )
    if os.path.samestat(os.fstat(fd), os.stat("/proc/self/ns/net")):
        os.close(fd)
        return -1
    return fd


def mount_fuse(command: tuple[str, ...]) -> None:
    """Run fuse-overlayfs in a new mount namespace of ours; it goes when its last mount goes.

    Raises:
        RuntimeSetupError: it does not mount.
    """
    calls.unshare(const.CLONE_NEWNS)
    calls.mount(None, "/", None, const.MS_REC | const.MS_PRIVATE)
    error_read, error_write = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, error_write, 2), (os.POSIX_SPAWN_DUP2, error_write, 1)]
    program, *_ = command
    try:
        pid = os.posix_spawn(program, command, {"PATH": "/usr/bin:/bin"}, file_actions=actions)
    except OSError as exc:
        raise RuntimeSetupError(f"cannot run fuse-overlayfs: {os_error_text(exc)}", on=program) from exc
    os.close(error_write)
    _, status = os.waitpid(pid, 0)  # it goes to the background once the file system is mounted
    if status:
        text = os.read(error_read, 4096).decode(errors="replace").strip()
        raise RuntimeSetupError(
            "cannot mount the image with fuse-overlayfs",
            on=text or program,
            hint="retry with --storage=copy",
            reference="fuse-overlayfs",
        )
    os.close(error_read)
