"""Find out what this host can do, by trying it. `runtime.probe` caches the outcome and is what others call.

Runs as the ordinary user in a process with one thread; whatever enters a namespace is left to
`runtime.trials`. Changes nothing but a scratch directory in the store, which it removes.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import stat
import time

from rootless.linux import const
from rootless.model.host import HostFacts
from rootless.paths import find_program
from rootless.runtime import restrictions, subids, trials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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

    for name in ("work/work", "work/work/incompat", "work/work/incompat/volatile"):
        with contextlib.suppress(OSError):  # made by overlay, mode 000; a mount that failed left none
            os.chmod(os.path.join(path, name), 0o700)
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
    answers = trials.try_namespaces(scratch)
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
        verdict = trials.try_mapping(
            ((fields["newuidmap"], subuids, uid), (fields["newgidmap"], subgids, gid))
        )
        if verdict.problem:
            prober.missing("newuidmap", verdict.problem)
            fields["newuidmap"] = ""
        if not verdict.lasting:
            prober.lasting = False
    return fields


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
