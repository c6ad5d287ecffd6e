"""A further program in a running container (exec), with the identity and the confinement of its first one.

    caller ──▶ joiner: all namespaces of the container but the pid namespace ──clone(CLONE_PARENT)──▶ program

The joiner takes everything that it trusts from the host before it joins: a pid is checked by start time
after a descriptor of it is open (a reused pid cannot slip in), its own /proc directory is opened there. It
cannot be seen from inside the container. The program's process can, and is not dumpable until it executes
(CVE-2019-5736, CVE-2016-9962). Must run in a process with one thread. Ring 1.
"""

from __future__ import annotations

import fcntl
import os

from rootless.errors import RuntimeSetupError, StateConflict, os_error_text
from rootless.linux import calls, const, procfs
from rootless.runtime import handshake, process, tty
from rootless.runtime.stages import Launched, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import NoReturn

    from rootless.runtime.process_plan import ProcessPlan
    from rootless.runtime.stages import Stdio

_NAMESPACES = (
    ("mnt", const.CLONE_NEWNS),
    ("pid", const.CLONE_NEWPID),
    ("net", const.CLONE_NEWNET),
    ("ipc", const.CLONE_NEWIPC),
    ("uts", const.CLONE_NEWUTS),
    ("cgroup", const.CLONE_NEWCGROUP),
)


def start(
    pid: int,
    started: int,
    plan: ProcessPlan,
    *,
    stdio: Stdio,
    die_with_caller: bool = True,
    cgroup_fd: int = -1,
) -> Launched:
    """Bring a program into a container, up to its last steps; `Launched.proceed` executes it.

    Args:
        pid, started: the container's first process and its start time.
        plan: of `runtime.process_plan.plan_process`, with the security of the container. How its ids are
            mapped is read from the kernel: the host may have been changed since its start.
        stdio: the caller's descriptors for the program's 0, 1 and 2; unused with a terminal.
        die_with_caller: end the program when this process ends, since nobody would hear of it.
        cgroup_fd: directory of the container's cgroup, -1 to stay in that of the caller.
    Raises:
        StateConflict: the container is not running.
        RuntimeSetupError: a step failed.
    """
    process.preload(plan)
    ours, its = handshake.channel()
    report, answer = handshake.channel()
    joiner = calls.clone(0) if cgroup_fd < 0 else calls.clone_into(0, cgroup_fd)
    if joiner == 0:
        try:
            ours.close()
            report.close()
            _Joiner(plan, its, stdio, die_with_caller=die_with_caller).run(pid, started, answer)
        except BaseException as exc:
            handshake.report_and_exit(answer, exc)
    its.close()
    answer.close()
    message, _ = handshake.receive(report)
    report.close()
    os.waitpid(joiner, 0)
    if message[:1] == handshake.READY:
        return Launched(int(message[1:]), ours)
    ours.close()
    if message[:1] == handshake.FAILED:
        raise handshake.decode_failure(message)
    raise RuntimeSetupError("cannot join the container: a helper process was killed", reference="killed")


class _Joiner:
    def __init__(self, plan: ProcessPlan, channel: socket, stdio: Stdio, *, die_with_caller: bool) -> None:
        self.plan = plan
        self.channel = channel
        self.stdio = stdio
        self.die_with_caller = die_with_caller
        self.entrance = process.Entrance(plan)

    def run(self, pid: int, started: int, answer: socket) -> NoReturn:
        process.be_alone()
        process.close_others((self.channel.fileno(), answer.fileno(), *self.stdio))
        proc_fd = os.open("/proc/self", const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _hide_command_line(proc_fd)
        plan = _enter_namespaces(pid, started, self.plan)
        self.entrance = process.Entrance(plan)
        root_fd = os.open("/", const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.entrance.look_up_user(root_fd)
        terminal = tty.open_terminal(tty.open_pts(root_fd)) if plan.tty else (-1, -1)
        if terminal[1] >= 0 and not plan.single:
            os.fchown(terminal[1], self.entrance.identity.uid, -1)
        self.entrance.nest_user(proc_fd)  # while we are dumpable: afterwards the maps cannot be written
        calls.prctl(const.PR_SET_DUMPABLE, 0)
        child = calls.clone(const.CLONE_PARENT)
        if child == 0:
            try:
                self._be_program(root_fd, terminal)
            except BaseException as exc:
                handshake.report_and_exit(self.channel, exc)
        handshake.send(answer, handshake.READY + str(child).encode())
        os._exit(0)

    def _be_program(self, root_fd: int, terminal: tuple[int, int]) -> NoReturn:
        """In the container's pid namespace: the same last steps as its first process."""
        if self.die_with_caller:
            calls.prctl(const.PR_SET_PDEATHSIG, 9)
        plan, (master, slave) = self.entrance.plan, terminal
        self.entrance.set_limits()
        self.entrance.enter_directory(root_fd, create=False)
        os.close(root_fd)
        if slave >= 0:
            if plan.rows or plan.columns:
                tty.set_size(master, plan.rows, plan.columns)
            handshake.send(self.channel, handshake.READY, master)
            process.close_others((self.channel.fileno(), slave))
        else:
            handshake.send(self.channel, handshake.READY)
            process.close_others((self.channel.fileno(), *self.stdio))
        handshake.expect(self.channel, handshake.PROCEED)
        if slave >= 0:
            self.entrance.take_terminal(slave)
        else:
            os.setsid()  # the host's terminal is not the container's to push input into (CVE-2017-5226)
            process.take_stdio(self.stdio, owner=self.entrance.pipe_owner)
        finish(self.entrance, self.channel, die_with_parent=self.die_with_caller)


def _hide_command_line(proc_fd: int) -> None:
    """Blank the caller's words, which /proc/PID/cmdline would show to the container until exec."""
    start, end = procfs.parse_argument_area(procfs.read("stat", dir_fd=proc_fd))
    if start:
        calls.overwrite_command_line(start, end, b"rootless-exec")


def become_root(*, groups: bool) -> None:
    """Take the ids 0 of the user namespace that was joined, and no others.

    Args:
        groups: supplementary groups can be dropped there; else setgroups is denied for ever.
    """
    if groups:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _enter_namespaces(pid: int, started: int, plan: ProcessPlan) -> ProcessPlan:
    """Join all namespaces that differ from ours, the user namespace first; returns the plan as it fits them.

    That is the one that owns the mount namespace, not the process's own: a user other than root has a
    nested one in `single` mode.
    """
    try:
        fd, pid = open_process(pid, started)
        namespaces = 0
        for name, flag in _NAMESPACES:
            if not os.path.samestat(os.stat(f"/proc/{pid}/ns/{name}"), os.stat(f"/proc/self/ns/{name}")):
                namespaces |= flag
        plan = _fit(plan, pid)
        mount_fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        user_fd = fcntl.ioctl(mount_fd, const.NS_GET_USERNS)
        calls.setns(user_fd, const.CLONE_NEWUSER)
        become_root(groups=not plan.single)
        calls.setns(fd, namespaces)
        for opened in (fd, mount_fd, user_fd):
            os.close(opened)
        return plan
    except (FileNotFoundError, ProcessLookupError) as exc:
        raise not_running() from exc
    except OSError as exc:
        raise RuntimeSetupError(
            f"cannot join the namespaces of the container: {os_error_text(exc)}", reference="join"
        ) from exc


def _fit(plan: ProcessPlan, pid: int) -> ProcessPlan:
    """Take over how the container's ids are mapped: one alone is what setgroups is denied for."""
    if procfs.read(f"/proc/{pid}/setgroups").startswith(b"deny"):
        return plan.replace(single=True, uids=1, gids=1)
    uids, gids = (
        sum(count for _, _, count in procfs.parse_id_map(procfs.read(f"/proc/{pid}/{name}")))
        for name in ("uid_map", "gid_map")
    )
    return plan.replace(single=False, uids=uids, gids=gids)


def open_process(pid: int, started: int) -> tuple[int, int]:
    """Return (pidfd, pid) of a process of the container whose namespaces may be joined.

    The first process, or, when that is our own reaper (--init), which nobody may look into, its child.
    """
    fd = os.pidfd_open(pid)
    if procfs.start_time(pid) != started:
        raise not_running()
    try:
        os.stat(f"/proc/{pid}/ns/mnt")
        return fd, pid
    except PermissionError:
        os.close(fd)
    for word in procfs.read(f"/proc/{pid}/task/{pid}/children").split():
        child = int(word)
        fd = os.pidfd_open(child)
        _, parent = procfs.parse_parent(procfs.read(f"/proc/{child}/stat"))
        if parent == pid and os.access(f"/proc/{child}/ns/mnt", os.F_OK):
            return fd, child
        os.close(fd)
    raise not_running()


def not_running() -> StateConflict:
    return StateConflict("cannot join the container: it is not running", reference="not-running")
