"""Find out what this host can do, by trying it. `runtime.probe` caches the outcome and is what others call.

Runs as the ordinary user in a process with one thread; whatever enters a namespace happens in a forked child
with a deadline. Changes nothing but a scratch directory in the store, which it removes.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import select
import signal
import stat
import time

from rootless.linux import calls, const, procfs
from rootless.model.host import HostFacts, IdRange
from rootless.paths import find_program
from rootless.runtime import restrictions, subids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DEADLINE_S = 5.0
"""For each child; a healthy host needs 20 ms, a loaded one some hundred."""
TRANSIENT_ERRORS = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR),
        *(errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
    )
)
FUSE_DEVICE = os.makedev(10, 229)
TUN_DEVICE = os.makedev(10, 200)
_PREFIX = ".probe-"


class Outcome:
    """Facts, and whether they hold for the boot: False when something failed that may work next time."""

    __slots__ = ("facts", "lasting")

    def __init__(self, facts: HostFacts, *, lasting: bool) -> None:
        self.facts = facts
        self.lasting = lasting


class _Prober:
    def __init__(self, store: str) -> None:
        self.store = store
        self.reasons: dict[str, str] = {}
        self.lasting = True

    def missing(self, fact: str, reason: str, *, number: int = 0) -> None:
        self.reasons[fact] = reason
        if number in TRANSIENT_ERRORS:
            self.lasting = False


def find_facts(store: str) -> Outcome:
    """Try everything; about 60 ms where id ranges are mapped, 25 ms elsewhere. The store must exist."""
    prober = _Prober(store)
    fields: dict[str, Any] = {"uid": os.geteuid(), "gid": os.getegid(), "user": user_name()}
    with _Scratch(store) as scratch:
        if scratch.problem:
            prober.missing("store", f"cannot write in the store: {os.strerror(scratch.problem)}")
            prober.lasting = False
        fields["xattrs"] = _probe_xattrs(prober, scratch.path)
        fields["reflink"] = _probe_reflink(prober, scratch.path)
        fields |= _probe_namespaces(prober, scratch.path)
    if not fields["user_namespaces"]:
        fields |= _probe_ranges(prober, fields["user"], fields["uid"], fields["gid"])
    if not fields["xattrs"] and not fields.get("overlay"):
        fields["overlay"] = f"the store takes no user.* extended attributes: {prober.reasons['xattrs']}"
    if fields.get("overlay"):
        prober.reasons["overlay"] = fields["overlay"]
    fields |= _probe_programs(prober)
    return Outcome(HostFacts(**fields, reasons=prober.reasons), lasting=prober.lasting)


def user_name() -> str:
    """Return the login name of the effective user, or the digits of the uid."""
    import pwd  # C module; the name service behind it may be slow, so only the probe asks

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def open_problem(path: str, device: int) -> tuple[str, int]:
    """Say why a device cannot be opened, with the errno; ("", 0) when it can."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        return f"cannot open {path}: {exc.strerror}", exc.errno or 0
    try:
        info = os.fstat(fd)
        if not stat.S_ISCHR(info.st_mode) or info.st_rdev != device:
            return f"{path} is not the device of that name", 0
        return "", 0
    finally:
        os.close(fd)


class _Scratch:
    """A directory in the store for experiments; `path` is "" and `problem` an errno when there is none."""

    def __init__(self, store: str) -> None:
        self._store = store
        self.path = ""
        self.problem = 0

    def __enter__(self) -> _Scratch:
        self._sweep()
        path = os.path.join(self._store, f"{_PREFIX}{os.getpid()}-{time.monotonic_ns():x}")
        try:
            os.mkdir(path, 0o700)
            self.path = path
            for name in ("lower", "lower/old", "upper", "work", "merged", "proc"):
                os.mkdir(os.path.join(path, name), 0o700)
        except OSError as exc:
            self.problem = exc.errno or errno.EIO
        return self

    def __exit__(self, *_: object) -> None:
        if self.path:
            _remove_tree(self.path)

    def _sweep(self) -> None:
        """Remove what a killed probe left, an hour later: on NFS it may be one of another host."""
        for path in glob.glob(os.path.join(glob.escape(self._store), _PREFIX + "*")):
            with contextlib.suppress(OSError):  # gone already
                if time.time() - os.lstat(path).st_mtime > 3600:
                    _remove_tree(path)


def _remove_tree(path: str) -> None:
    import shutil

    work = os.path.join(path, "work", "work")
    with contextlib.suppress(OSError):  # made by overlay, mode 000; a mount that failed left none
        os.chmod(work, 0o700)
    shutil.rmtree(path, ignore_errors=True)  # what stays is swept by a later probe


def _probe_xattrs(prober: _Prober, scratch: str) -> bool:
    try:
        os.setxattr(scratch or prober.store, "user.rootless.probe", b"1")
        os.removexattr(scratch or prober.store, "user.rootless.probe")
    except OSError as exc:
        prober.missing("xattrs", exc.strerror or str(exc), number=exc.errno or 0)
        return False
    return True


def _probe_reflink(prober: _Prober, scratch: str) -> bool:
    import fcntl

    if not scratch:
        return False
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    source = os.open(os.path.join(scratch, "a"), flags, 0o600)
    target = os.open(os.path.join(scratch, "b"), flags, 0o600)
    try:
        os.write(source, b"x" * 4096)
        fcntl.ioctl(target, const.FICLONE, source)
    except OSError as exc:
        prober.missing("reflink", exc.strerror or str(exc), number=exc.errno or 0)
        return False
    finally:
        os.close(source)
        os.close(target)
    return True


def _probe_namespaces(prober: _Prober, scratch: str) -> dict[str, Any]:
    answers = _in_child(lambda report: _enter_and_try(report, scratch))
    outcome = answers.get("namespaces", f"unshare:{errno.ETIMEDOUT}")
    if outcome != "ok":
        stage, _, digits = outcome.partition(":")
        restriction = restrictions.diagnose(restrictions.observe(int(digits), stage))
        reason = restrictions.describe(restriction, int(digits))
        prober.missing("user_namespaces", reason, number=int(digits))
        prober.lasting = False  # whoever lifts the restriction shall see it at once
        return {
            "user_namespaces": reason,
            "restriction": restriction,
            "overlay": "there are no user namespaces",
            "proc_mountable": False,
        }
    overlay = "" if scratch else "the store cannot be written"
    if scratch:
        overlay = _explain(prober, "overlay", answers.get("overlay", f"mount:{errno.ETIMEDOUT}"))
    proc = _explain(prober, "proc_mountable", answers.get("proc", f"mount:{errno.ETIMEDOUT}"))
    return {"user_namespaces": "", "overlay": overlay, "proc_mountable": not proc}


def _explain(prober: _Prober, fact: str, answer: str) -> str:
    if answer == "ok":
        return ""
    step, _, digits = answer.partition(":")
    reason = f"{step}: {os.strerror(int(digits))}"
    prober.missing(fact, reason, number=int(digits))
    return reason


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


def _attempt(steps: Callable[[], Any]) -> str:
    """Run a generator of step names; the answer is "ok" or "STEP:ERRNO"."""
    step = ""
    try:
        for step in steps():  # noqa: B007  used by the except clause
            pass
    except OSError as exc:
        return f"{step}:{exc.errno}"
    return "ok"


def _try_overlay() -> Any:
    yield "mount"
    calls.mount(
        "overlay", "merged", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work,userxattr"
    )  # userxattr: Linux 5.11
    try:
        yield "create"
        os.mkdir("merged/new")
        yield "whiteout"
        os.rmdir("merged/old")
        yield "opaque directory"
        os.mkdir("merged/old")
    finally:
        calls.umount2("merged", const.MNT_DETACH)


def _try_proc() -> Any:
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


def _probe_ranges(prober: _Prober, user: str, uid: int, gid: int) -> dict[str, Any]:
    subuids, subgids, local = subids.read_ranges(user, uid)
    fields: dict[str, Any] = {"subuids": subuids, "subgids": subgids, "newuidmap": "", "newgidmap": ""}
    if not subuids or not subgids:
        which = "uids" if not subuids else "gids"
        place = f" in /etc/sub{which[:3]}" if local else ""
        prober.missing("subuids", f"user {user} has no subordinate {which}{place}")
        if not local or user.isdigit():  # the directory service may be away
            prober.lasting = False
    for name in ("newuidmap", "newgidmap"):
        path = find_program(name)
        problem = subids.helper_problem(path)
        if problem:
            prober.missing(name, problem)
        else:
            fields[name] = path
    if fields["newuidmap"] and fields["newgidmap"] and subuids and subgids:
        problem = _try_mapping(prober, fields, uid, gid)
        if problem:
            prober.missing("newuidmap", problem)
            fields["newuidmap"] = ""
    return fields


def _try_mapping(prober: _Prober, fields: dict[str, Any], uid: int, gid: int) -> str:
    """Map all ranges for real in a child's user namespace; "" when it worked, else the helper's words."""
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
            prober.lasting = False
            return "cannot make the user namespace to be mapped"
        jobs = (("newuidmap", fields["subuids"], uid), ("newgidmap", fields["subgids"], gid))
        started = [_start_helper(fields[name], pid, ranges, own) for name, ranges, own in jobs]
        problems = [
            _finish_helper(prober, name, *process) for (name, *_), process in zip(jobs, started, strict=True)
        ]
        return next(filter(None, problems), "")
    except OSError as exc:
        prober.lasting = False
        return exc.strerror or str(exc)
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


def _finish_helper(prober: _Prober, name: str, pid: int, output: int) -> str:
    if not _ends_in_time(pid):
        prober.lasting = False
        return f"{name} did not end within {DEADLINE_S:.0f} s"  # set-user-id: we may not kill it
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    words = os.pread(output, 500, 0).decode(errors="replace").strip()
    os.close(output)
    if code < 0:
        prober.lasting = False
    return "" if code == 0 else words or f"{name} ended with {code}"


def _ends_in_time(pid: int) -> bool:
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(DEADLINE_S * 1000))
    finally:
        os.close(fd)


def _probe_programs(prober: _Prober) -> dict[str, str]:
    found = {}
    devices = {
        "/dev/fuse": (FUSE_DEVICE, (("fuse_overlayfs", "fuse-overlayfs"),)),
        "/dev/net/tun": (TUN_DEVICE, (("pasta", "pasta"), ("slirp4netns", "slirp4netns"))),
    }
    for device, (number, programs) in devices.items():
        problem, code = open_problem(device, number)
        for fact, name in programs:
            path = find_program(name)
            found[fact] = "" if problem else path
            if not path:
                prober.missing(fact, f"{name} is not installed")
            elif problem:
                prober.missing(fact, problem, number=code)
    return found
