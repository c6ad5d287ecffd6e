"""Trials in child processes: what a user namespace may do here, and whether the id helpers map its ids.

Whatever enters a namespace happens in a forked child with a deadline, so that neither a refusal nor a hang
touches the caller, a process with one thread. `runtime.probing` makes facts of the answers.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

from rootless.linux import calls, const, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.model.host import IdRange

DEADLINE_S = 5.0
"""For each child; a healthy host needs 20 ms, a loaded one some hundred."""


class Verdict:
    """What a trial came to.

    Attributes:
        problem: "" when it worked, else why not.
        lasting: False when it may work next time.
    """

    __slots__ = ("lasting", "problem")

    def __init__(self, problem: str = "", *, lasting: bool = True) -> None:
        self.problem = problem
        self.lasting = lasting


def try_namespaces(scratch: str) -> dict[str, str]:
    """Enter namespaces as a container does and make its mounts there.

    Args:
        scratch: a directory with lower/old, upper, work, merged and proc; "" when there is none.
    Returns:
        "ok" or "STEP:ERRNO" for each of namespaces, overlay and proc that was reached in time.
    """
    return _in_child(lambda report: _enter_and_try(report, scratch))


def try_mapping(
    helpers: tuple[tuple[str, tuple[IdRange, ...], int], tuple[str, tuple[IdRange, ...], int]],
) -> Verdict:
    """Map all ranges for real in a child's user namespace; the problem is in the helper's own words.

    Args:
        helpers: path, ranges and own id, of newuidmap and of newgidmap.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            calls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)
            calls.unshare(const.CLONE_NEWUSER)
            os.write(writer, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        if not _read_until_byte(reader):
            return Verdict("cannot make the user namespace to be mapped", lasting=False)
        started = [_start_helper(path, pid, ranges, own) for path, ranges, own in helpers]
        verdicts = [
            _finish_helper(os.path.basename(path), *process)
            for (path, *_), process in zip(helpers, started, strict=True)
        ]
        problem = next(filter(None, (verdict.problem for verdict in verdicts)), "")
        return Verdict(problem, lasting=all(verdict.lasting for verdict in verdicts))
    except OSError as exc:
        return Verdict(exc.strerror or str(exc), lasting=False)
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _read_until_byte(fd: int) -> bytes:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return os.read(fd, 1) if poll.poll(DEADLINE_S * 1000) else b""


def _start_helper(path: str, target: int, ranges: tuple[IdRange, ...], own: int) -> tuple[int, int]:
    argv = [path, str(target), "0", str(own), "1"]
    first = 1
    for item in ranges:
        argv += [str(first), str(item.start), str(item.count)]
        first += item.count
    output = os.memfd_create("helper", os.MFD_CLOEXEC)
    pid = os.posix_spawn(
        path, argv, {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, file_actions=[(os.POSIX_SPAWN_DUP2, output, 2)]
    )
    return pid, output


def _finish_helper(name: str, pid: int, output: int) -> Verdict:
    if not _ends_in_time(pid):  # set-user-id: we may not kill it
        return Verdict(f"{name} did not end within {DEADLINE_S:.0f} s", lasting=False)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    words = os.pread(output, 500, 0).decode(errors="replace").strip()
    os.close(output)
    return Verdict("" if code == 0 else words or f"{name} ended with {code}", lasting=code >= 0)


def _ends_in_time(pid: int) -> bool:
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(DEADLINE_S * 1000))
    finally:
        os.close(fd)


def _enter_and_try(report: Callable[[str, str], None], scratch: str) -> None:
    """In the child: a user and mount namespace as a container has it, then its mounts."""
    uid, gid = os.geteuid(), os.getegid()
    stage = "unshare"
    try:
        calls.unshare(const.CLONE_NEWUSER)
        stage = "map"
        procfs.write("/proc/self/setgroups", b"deny")
        procfs.write("/proc/self/uid_map", b"0 %d 1\n" % uid)
        procfs.write("/proc/self/gid_map", b"0 %d 1\n" % gid)
        stage = "mount-namespace"
        calls.unshare(const.CLONE_NEWNS | const.CLONE_NEWPID)
        calls.mount("none", "/", None, const.MS_REC | const.MS_PRIVATE)
    except OSError as exc:
        report("namespaces", f"{stage}:{exc.errno}")
        return
    report("namespaces", "ok")
    if scratch:
        os.chdir(scratch)  # relative paths need no escaping in mount options
        report("overlay", _attempt(_try_overlay))
    report("proc", _attempt(_try_proc))


def _attempt(steps: Callable[[], Iterator[str]]) -> str:
    """Run a generator of step names; the answer is "ok" or "STEP:ERRNO"."""
    step = ""
    try:
        for step in steps():  # noqa: B007  used by the except clause
            pass
    except OSError as exc:
        return f"{step}:{exc.errno}"
    return "ok"


def _try_overlay() -> Iterator[str]:
    yield "mount"
    # userxattr: Linux 5.11. volatile: else the umount syncs the whole file system, a second or more after
    # much was written to it (Documentation/filesystems/overlayfs.rst, "Volatile mount").
    options = "lowerdir=lower,upperdir=upper,workdir=work,userxattr,volatile"
    calls.mount("overlay", "merged", "overlay", 0, options)
    try:
        yield "create"
        os.mkdir("merged/new")
        yield "whiteout"
        os.rmdir("merged/old")
        yield "opaque directory"
        os.mkdir("merged/old")
    finally:
        calls.umount2("merged", const.MNT_DETACH)


def _try_proc() -> Iterator[str]:
    yield "fork"
    pid = os.fork()  # the first one in the new pid namespace
    if pid == 0:
        code = 0
        try:
            target = "proc" if os.path.isdir("proc") else "/proc"
            calls.mount("proc", target, "proc", const.MS_NOSUID | const.MS_NODEV | const.MS_NOEXEC)
        except OSError as exc:
            code = exc.errno or errno.EIO
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    yield "mount"
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(max(code, 1), os.strerror(max(code, 1)))


def _in_child(function: Callable[[Callable[[str, str], None]], None]) -> dict[str, str]:
    """Fork, run a function that reports lines, and collect them until its end or the deadline."""
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def report(name: str, answer: str) -> None:
        os.write(writer, f"{name}\t{answer}\n".encode())

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            calls.prctl(const.PR_SET_PDEATHSIG, signal.SIGKILL)
            function(report)
            code = 0
        finally:
            os._exit(code)  # also over an exception: nothing of the parent may run twice
    os.close(writer)
    text = _read_until(reader, time.monotonic() + DEADLINE_S)
    os.close(reader)
    os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own
    os.waitpid(pid, 0)
    return dict(line.split("\t", 1) for line in text.decode().splitlines() if "\t" in line)


def _read_until(fd: int, deadline: float) -> bytes:
    text = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            break
        data = os.read(fd, 4096)
        if not data:
            break
        text += data
    return text
