"""Run a program beside a container: start it, learn that it is ready or why not, end it with us. Ring 1.

`subprocess` would cost the launch path its import and cannot set a parent-death signal without threads'
hazards; this is the little of it that the drivers need.
"""

from __future__ import annotations

import os
import select
import time

from layers.contexts import suppress
from rootless.linux import calls, const
from rootless.network.driver import Attachment, DriverUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

    from rootless.model.spec import Port
else:
    import _signal as signal  # the C module alone: signal.py makes enums of its numbers, 1.3 ms

READY_TIMEOUT_S = 10.0
"""A helper needs 10 to 30 ms; a loaded machine, a second. What takes longer than this hangs."""
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LC_ALL": "C"}
_OUTPUT_BYTES = 64 << 10
_NOISE = "to syslog"  # pasta of 2023 says so of each line where no syslog listens


class Helper:
    """A running child; owns its pidfd and the read end of its stderr.

    Its stderr is a pipe that nobody reads and whose write end does not block: what is said last before a
    failure is there, and a container that makes its helper talk for ever fills no disk.
    """

    __slots__ = ("_output", "_pidfd", "name", "pid")

    def __init__(
        self, argv: Sequence[str], *, name: str, cwd: str, keep: Sequence[int] = (), userns: str = ""
    ) -> None:
        """Start a program in a session of its own, killed when the calling thread ends.

        Args:
            keep: descriptors that it inherits under the same numbers; all others are closed.
            userns: path of a user namespace to enter first, for a program that wants to be root there.
        """
        self.name = name
        self._output, output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, cwd=cwd, output=output, keep=keep, userns=userns, parent=parent)
        os.close(output)
        self._pidfd = os.pidfd_open(self.pid)

    def wait_ready(self, fd: int) -> None:
        """Wait for a byte on a descriptor that the helper writes when its work is done.

        Raises:
            DriverUnusable: it ended or said nothing in time; it has been stopped.
        """
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._pidfd, select.POLLIN)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poll.poll(left * 1000))
            if ready.get(fd, 0) & select.POLLIN and os.read(fd, 64):
                return
            if self._pidfd in ready:
                raise self.failure("ended before the network was up, " + self._how_it_ended())
            if fd in ready:  # hung up without a byte: only its end can follow
                poll.unregister(fd)
        raise self.failure(f"said nothing for {READY_TIMEOUT_S:g} s")

    def failure(self, cause: str) -> DriverUnusable:
        """Stop the helper and return the error that quotes its last words."""
        said = self._last_lines()
        self.stop()
        return DriverUnusable(
            f"cannot set up the network: {self.name} {cause}" + (f": {said}" if said else ""),
            on=self.name,
            hint="`rootless doctor` says which drivers work here; --network host and none need no helper",
        )

    def kill(self) -> None:
        """Send SIGKILL: the helpers keep nothing on disk, and their orderly way out costs time."""
        if self._pidfd < 0:
            return
        with suppress(ProcessLookupError):  # gone by itself, as its namespace is
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def stop(self) -> None:
        """Kill and reap; idempotent."""
        if self._pidfd < 0:
            return
        self.kill()
        with suppress(ChildProcessError):  # reaped by the caller's own loop
            os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        os.close(self._output)
        self._pidfd = self._output = -1

    def _how_it_ended(self) -> str:
        info = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if info is None or info.si_code == os.CLD_EXITED:
            return f"exit code {info.si_status if info else 0}"
        return f"signal {info.si_status}"

    def _last_lines(self, count: int = 3) -> str:
        try:
            text = os.read(self._output, _OUTPUT_BYTES).decode("utf-8", "replace")
        except BlockingIOError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip() and _NOISE not in line]
        return "; ".join(lines[-count:])[-500:]


class HelperAttachment(Attachment):
    """A container connected by one helper; owns it, and descriptors that close with it."""

    __slots__ = ("_descriptors", "_helper")

    def __init__(
        self,
        helper: Helper,
        *descriptors: int,
        ports: tuple[Port, ...],
        addresses: tuple[str, ...],
        host_gateway: str,
        resolver: str,
        notices: tuple[str, ...],
    ) -> None:
        super().__init__(
            ports=ports,
            addresses=addresses,
            host_gateway=host_gateway,
            resolver=resolver,
            notices=notices,
        )
        self._helper = helper
        self._descriptors = list(descriptors)

    @property
    def pids(self) -> tuple[int, ...]:
        return (self._helper.pid,)

    def kill(self) -> None:
        self._helper.kill()

    def stop(self) -> None:
        self._helper.stop()
        while self._descriptors:
            os.close(self._descriptors.pop())


def remove_file(path: str) -> None:
    """Remove a socket or FIFO of a helper, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def _become(
    argv: Sequence[str], *, cwd: str, output: int, keep: Sequence[int], userns: str, parent: int
) -> None:
    """Turn this forked child into the helper; never returns."""
    try:
        os.dup2(output, 2)
        if userns:
            calls.setns(os.open(userns, os.O_RDONLY | os.O_CLOEXEC), const.CLONE_NEWUSER)
        # after setns: changed credentials clear the signal (man 2 PR_SET_PDEATHSIG)
        calls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # died before the line above: no signal will come
            os._exit(1)
        os.setsid()  # the terminal's Ctrl-C is the container's
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # CPython ignores it, and exec inherits that
        os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        _close_others(keep)
        os.execve(argv[0], list(argv), _ENVIRONMENT)  # noqa: S606  a shell would be the risk
    except OSError as exc:
        os.write(2, f"cannot run {argv[0]}: {exc.strerror}\n".encode())
    finally:
        os._exit(127)


def _close_others(keep: Sequence[int]) -> None:
    first = 3
    for fd in sorted(keep):
        os.set_inheritable(fd, True)
        os.closerange(first, fd)
        first = fd + 1
    calls.close_range(first)
