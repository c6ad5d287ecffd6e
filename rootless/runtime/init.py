"""--init: process 1 that forwards signals and reaps orphans. Ring 1; imported when asked for.

It stays a copy of this Python process, which is why it is not dumpable: nobody in the container can read
its memory, its descriptors or /proc/1/exe (CVE-2019-5736). `runtime.join` goes around that.
"""

from __future__ import annotations

import os
import signal

from rootless.errors import RuntimeSetupError, os_error_text
from rootless.linux import calls, const
from rootless.runtime import caps, handshake, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import NoReturn

_NOT_FORWARDED = frozenset((signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP))


def become_reaper(channel: socket, argument_area: tuple[int, int]) -> None:
    """Fork: the child returns and goes on to the program, this process becomes the reaper and does not.

    Args:
        argument_area: of this process, from the host's /proc: the container's can be a forgery, and it is
            where this process writes to.
    """
    every = signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, every)  # before the fork: none is lost in between
    try:
        pid = os.fork()
    except OSError as exc:
        raise RuntimeSetupError(
            f"cannot start the command beside the reaper (--init): {os_error_text(exc)}",
            hint="a limit on the number of processes is too low: --pids-limit or --ulimit nproc",
        ) from exc
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    try:
        _let_go(channel.fileno(), argument_area)
        handshake.exit_if_alone(channel)
        channel.close()  # exec of the program must be the end of the stream
        _reap(pid, every)
    finally:
        os._exit(125)


def _let_go(channel_fd: int, argument_area: tuple[int, int]) -> None:
    """Keep nothing but the right to signal: no descriptor that would hold a pipe open, no capability else."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    process.close_others((channel_fd,))
    calls.set_process_name("rootless-init")
    start, end = argument_area
    if start:
        calls.overwrite_command_line(start, end, b"rootless-init")  # the host's words are not the container's
    mask = caps.mask_of(("KILL",))
    calls.prctl(const.PR_SET_NO_NEW_PRIVS, 1)
    calls.capset(effective=mask, permitted=mask, inheritable=0)
    calls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)  # forgotten when capabilities changed


def _reap(program: int, every: set[signal.Signals]) -> NoReturn:
    while True:
        number = signal.sigwaitinfo(every).si_signo
        if number not in _NOT_FORWARDED:
            os.kill(program, number)  # not reaped yet, so that it exists and is the right one
        if number != signal.SIGCHLD:
            continue
        for pid, status in iter(_next_dead, (0, 0)):
            if pid == program:
                os._exit(_exit_code(status))


def _next_dead() -> tuple[int, int]:
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
