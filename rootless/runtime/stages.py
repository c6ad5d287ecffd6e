"""From a plan to a container's first process: who forks whom, and what is said in between.

    monitor ──clone(NEWUSER|NEWPID|…)──▶ init                              `single` mode: one fork
    monitor ──▶ outer, joins the holder's namespace ──clone(CLONE_PARENT|…)──▶ init   `ranges`: two

`outer` exists where something must be done between the host's namespaces and the container's: joining the
holder's user namespace, joining another container's network, mounting fuse-overlayfs. The container's user
namespace is then a child of outer's, mapped id by id, so that the capabilities of one container never reach
another's namespaces; outer is privileged there and writes the map. That costs 1 to 2 ms more than sharing
the holder's would. CLONE_PARENT makes init the monitor's own child, so that it is waited for and dies with
it. Outer is gone before `start` returns.

Must run in a process with one thread that has not run trio. Ring 1.
"""

from __future__ import annotations

import errno
import os

from rootless.errors import RootlessError, RuntimeSetupError, os_error_text
from rootless.linux import calls, const, procfs
from rootless.runtime import handshake, outer, process, userns
from rootless.runtime.ops import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import NoReturn

    from rootless.runtime.ops import Op
    from rootless.runtime.plan import Plan

    Stdio = tuple[int, int, int]

_SIGKILL = 9
_HINTS = {
    errno.ENOENT: "it does not exist on this host",
    errno.EACCES: "this user has no right to it on this host",
    errno.ENOSPC: "free space on the file system of the store, or choose another with --root",
    errno.EDQUOT: "free space in your quota, or choose another file system with --root",
    errno.EPERM: "`rootless doctor` says what this host refuses",
    errno.ENOTDIR: "one of the two is a directory and the other is not",
    errno.EISDIR: "a file cannot be mounted on a directory",
    errno.ELOOP: "the image has links there that lead nowhere, or out of it",
}


class Launched:
    """A process that is being brought to its program: a child of the caller, who reaps it.

    Attributes:
        pid: as the caller sees it.
        console_fd: master of its terminal, after `wait_ready`; -1 without one. The caller closes it.
    """

    __slots__ = ("_channel", "_reaped", "_state", "console_fd", "pid")

    def __init__(self, pid: int, channel: socket) -> None:
        self.pid = pid
        self.console_fd = -1
        self._channel = channel
        self._state = ""
        self._reaped = False

    def wait_ready(self) -> None:
        """Wait until the file system stands and the terminal exists; idempotent.

        Raises:
            RuntimeSetupError: a step failed; the process has been reaped.
        """
        if self._state == "":
            self._advance()

    def proceed(self) -> None:
        """Let the process go on to its program; returns once that is executing.

        Raises:
            RuntimeSetupError: a step failed, exit_code is 126 or 127 when it was exec; the process has been
                reaped.
        """
        self.wait_ready()
        handshake.send_if_alive(self._channel, handshake.PROCEED)
        self._advance()
        self._channel.close()

    def abort(self) -> None:
        """End the process, whatever it does, and reap it; idempotent. Not after the caller has reaped it."""
        self._channel.close()
        if not self._reaped:  # afterwards the pid may be somebody else's
            self._reaped = True
            os.kill(self.pid, _SIGKILL)
            os.waitpid(self.pid, 0)
        if self.console_fd >= 0:
            os.close(self.console_fd)
            self.console_fd = -1

    def _advance(self) -> None:
        message, fd = handshake.receive(self._channel)
        self._state = handshake.next_state(self._state, message)
        if fd is not None:
            self.console_fd = fd
        if self._state in ("failed", "died"):
            self.abort()
            if self._state == "failed":
                raise handshake.decode_failure(message)
            raise RuntimeSetupError(
                "cannot set the container up: its first process was killed",
                hint="the kernel may be short of memory: see `dmesg`",
                reference="init-died",
            )


def start(plan: Plan, *, stdio: Stdio, cgroup_fd: int = -1) -> Launched:
    """Make a container and return while its file system is being mounted.

    Its namespaces exist and ids are mapped: the network can be set up at the same time, through
    /proc/PID/ns. The process waits for `Launched.proceed`; it ends when the caller ends, at any time.

    Args:
        stdio: the caller's descriptors for the program's 0, 1 and 2; unused with a terminal.
        cgroup_fd: directory of the cgroup that the container is born into, -1 for that of the caller.
    Raises:
        RootlessError: nothing has been made, or it is gone.
    """
    process.preload(plan.process)
    if plan.init:
        from rootless.runtime import init  # noqa: F401  after the pivot it could not be found
    monitor_end, child_end = handshake.channel()
    try:
        if plan.mapping.mode == "ranges" or plan.fuse or plan.network_owner:
            pid = outer.start(plan, lambda flags: _clone_init(plan, flags, child_end, stdio, cgroup_fd))
        else:
            pid = _clone_init(plan, plan.clone_flags, child_end, stdio, cgroup_fd)
            _map_single(plan, pid)
    except BaseException:
        monitor_end.close()
        raise
    finally:
        child_end.close()
    launched = Launched(pid, monitor_end)
    handshake.send_if_alive(monitor_end, handshake.MAPPED)
    return launched


def _map_single(plan: Plan, pid: int) -> None:
    try:
        userns.write_single_map(plan.mapping, pid=str(pid))
    except OSError as exc:
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)
        raise userns.refusal(exc) from exc


def _clone_init(plan: Plan, flags: int, channel: socket, stdio: Stdio, cgroup_fd: int) -> int:
    """Make the first process; returns in its parent alone.

    Its cgroup namespace follows in `_Init.run`: the root of one that clone makes is the parent's cgroup.
    """
    flags &= ~const.CLONE_NEWCGROUP
    try:
        pid = calls.clone(flags) if cgroup_fd < 0 else calls.clone_into(flags, cgroup_fd)
    except OSError as exc:
        if cgroup_fd >= 0 and exc.errno in (errno.EAGAIN, errno.EACCES, errno.EBUSY):
            raise RuntimeSetupError(
                f"cannot start a process in the container's cgroup: {os_error_text(exc)}",
                hint="a limit on processes may be reached, of the container or of a cgroup above it",
                reference="cgroup",
            ) from exc
        raise userns.refusal(exc) from exc
    if pid == 0:
        try:
            _Init(plan, channel, stdio).run()
        except BaseException as exc:
            handshake.report_and_exit(channel, exc)
    return pid


class _Init:
    """Process 1 of the container, until its program takes over."""

    def __init__(self, plan: Plan, channel: socket, stdio: Stdio) -> None:
        self.plan = plan
        self.channel = channel
        self.stdio = stdio
        self.context = Context()

    def run(self) -> NoReturn:
        """Bring this process to the program.

        Raises:
            RootlessError: the step that failed.
        """
        process.be_alone()
        calls.prctl(const.PR_SET_PDEATHSIG, _SIGKILL)
        process.close_others((self.channel.fileno(), *self.stdio))
        handshake.expect(self.channel, handshake.MAPPED)
        calls.unshare(self.plan.clone_flags & const.CLONE_NEWCGROUP)
        os.umask(0)
        proc_fd = os.open("/proc/self", const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._execute_plan()
        entrance = process.Entrance(self.plan.process)
        entrance.look_up_user(self.context.root_fd)
        entrance.set_limits()
        entrance.enter_directory(self.context.root_fd, create=True)
        console = self._announce(entrance)
        process.close_others((self.channel.fileno(), proc_fd, *((console,) if console >= 0 else self.stdio)))
        handshake.expect(self.channel, handshake.PROCEED)
        entrance.nest_user(proc_fd)
        argument_area = procfs.parse_argument_area(procfs.read("stat", dir_fd=proc_fd))
        os.close(proc_fd)
        calls.prctl(const.PR_SET_DUMPABLE, 0)  # no process of the container may look into this one
        if self.plan.init:
            from rootless.runtime import init  # preloaded by `start`

            init.become_reaper(self.channel, argument_area)
        if console >= 0:
            entrance.take_terminal(console)
        else:
            os.setsid()  # the host's terminal is not the container's to push input into (CVE-2017-5226)
            process.take_stdio(self.stdio, owner=entrance.pipe_owner)
        finish(entrance, self.channel, die_with_parent=True)

    def _execute_plan(self) -> None:
        for op in self.plan.ops:
            self._run(op, op.prepare)
        for op in self.plan.ops:
            self._run(op, op.execute)

    def _run(self, op: Op, step: Callable[[Context], None]) -> None:
        try:
            step(self.context)
        except RootlessError:
            raise
        except OSError as exc:
            raise RuntimeSetupError(
                f"cannot {op.describe()}: {os_error_text(exc)}",
                on=exc.filename,
                hint=_HINTS.get(exc.errno or 0),
            ) from exc

    def _announce(self, entrance: process.Entrance) -> int:
        """Say READY, hand the terminal's master over; returns the slave, -1 without a terminal."""
        master, slave = self.context.console_master, self.context.console_slave
        if slave < 0:
            handshake.send(self.channel, handshake.READY)
            return -1
        if not self.plan.process.single:
            os.fchown(slave, entrance.identity.uid, -1)
        handshake.send(self.channel, handshake.READY, master)
        return slave


def finish(entrance: process.Entrance, channel: socket, *, die_with_parent: bool) -> NoReturn:
    """Take the last steps, of a container's first process and of exec alike.

    The death signal is set once more: the kernel forgets it whenever credentials change (man 2
    PR_SET_PDEATHSIG), and the monitor may have died before it was set.
    """
    entrance.drop_privileges()
    calls.prctl(const.PR_SET_PDEATHSIG, _SIGKILL if die_with_parent else 0)
    if die_with_parent:
        handshake.exit_if_alone(channel)
    entrance.confine()
    entrance.execute()
