"""What `rootless doctor` and `rootless info` tell beyond the facts that choose the modes.

Reads, and tries little: harmless, some milliseconds, nothing cached. What a value means for the user is
decided in `engine.diagnosis`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from rootless.linux import calls, cgroups, const, mountinfo
from rootless.model.value import Value
from rootless.runtime.cgroups import available

_NETWORK_FILE_SYSTEMS = frozenset(
    (
        "nfs",
        "nfs4",
        "lustre",
        "cifs",
        "smb3",
        "ceph",
        "gpfs",
        "beegfs",
        "afs",
        "9p",
        "fuse.sshfs",
        "glusterfs",
    )
)


class Survey(Value):
    """One host at one moment.

    Attributes:
        kernel, machine: of uname(2). distribution: text of /etc/os-release.
        landlock: ABI version, 0 where it is missing or off.
        seccomp: filters can be installed. notifications: and user notifications (Linux 5.0).
        ptrace: "" when a process may trace its children, else why not.
        cgroups: "v2", "hybrid", "v1" or "none". controllers: those delegated to this user (v2).
        file_system: type of the store's file system. shared: it is one that other hosts write too.
        free_bytes, free_inodes: for this user; inodes -1 where the file system does not count them.
        locks: "" when flock(2) works in the run directory, else why not.
        store_problem: "" when the store can be written, else why not.
    """

    __slots__ = (
        "cgroups",
        "controllers",
        "distribution",
        "file_system",
        "free_bytes",
        "free_inodes",
        "kernel",
        "landlock",
        "locks",
        "machine",
        "notifications",
        "ptrace",
        "seccomp",
        "shared",
        "store_problem",
    )

    def __init__(
        self,
        *,
        kernel: str,
        machine: str,
        distribution: str = "",
        landlock: int = 0,
        seccomp: bool = True,
        notifications: bool = True,
        ptrace: str = "",
        cgroups: str = "v2",
        controllers: tuple[str, ...] = (),
        file_system: str = "",
        shared: bool = False,
        free_bytes: int = 0,
        free_inodes: int = -1,
        locks: str = "",
        store_problem: str = "",
    ) -> None:
        self.kernel = kernel
        self.machine = machine
        self.distribution = distribution
        self.landlock = landlock
        self.seccomp = seccomp
        self.notifications = notifications
        self.ptrace = ptrace
        self.cgroups = cgroups
        self.controllers = controllers
        self.file_system = file_system
        self.shared = shared
        self.free_bytes = free_bytes
        self.free_inodes = free_inodes
        self.locks = locks
        self.store_problem = store_problem


def take_survey(store: str, run: str) -> Survey:
    """Survey the host for a store and a run directory; they may be missing."""
    kernel = os.uname()
    file_system = _file_system(store)
    free_bytes, free_inodes = _free(store)
    cgroups, controllers = _cgroups()
    return Survey(
        kernel=kernel.release,
        machine=kernel.machine,
        distribution=_text("/etc/os-release"),
        landlock=_landlock(),
        seccomp=_action_available(const.SECCOMP_RET_ERRNO),
        notifications=_action_available(const.SECCOMP_RET_USER_NOTIF),
        ptrace=_ptrace_problem(),
        cgroups=cgroups,
        controllers=controllers,
        file_system=file_system,
        shared=file_system in _NETWORK_FILE_SYSTEMS,
        free_bytes=free_bytes,
        free_inodes=free_inodes,
        locks=_locks_problem(run),
        store_problem=_store_problem(store),
    )


def _cgroups() -> tuple[str, tuple[str, ...]]:
    """Return the version, and the controllers that containers of this user can have."""
    try:
        version = cgroups.find_version(cgroups.read_mounts())
    except (OSError, ValueError):
        return "none", ()
    return version, tuple(sorted(available()))


def _landlock() -> int:
    try:
        return calls.landlock_abi()
    except OSError:  # ENOSYS: not built; EOPNOTSUPP: off at boot
        return 0


def _action_available(action: int) -> bool:
    try:
        return calls.seccomp_action_available(action)
    except OSError:
        return False


def _ptrace_problem() -> str:
    """Ask the kernel for what ptrace(2) asks: access to the memory of a child."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.pause()  # until the parent's SIGKILL
        finally:
            os._exit(0)
    try:
        os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC))
    except OSError as exc:
        scope = _text("/proc/sys/kernel/yama/ptrace_scope").strip()
        setting = f" (kernel.yama.ptrace_scope is {scope})" if scope not in ("", "0", "1") else ""
        return f"a process may not trace its child: {exc.strerror}{setting}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return ""


def _file_system(path: str) -> str:
    real = os.fsencode(os.path.realpath(path))
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            best = mountinfo.find_mount(mountinfo.parse(file.read()), real)
    except (OSError, ValueError):
        return ""
    return os.fsdecode(best.fstype) if best is not None else ""


def _free(path: str) -> tuple[int, int]:
    place = path
    while not os.path.isdir(place) and place != "/":
        place = os.path.dirname(place)
    try:
        info = os.statvfs(place)
    except OSError:
        return 0, -1
    return info.f_bavail * info.f_frsize, info.f_favail if info.f_files else -1


def _locks_problem(run: str) -> str:
    try:
        fd = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        return f"cannot open {run}: {exc.strerror}"
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as exc:
        return "" if exc.errno == errno.EWOULDBLOCK else exc.strerror or str(exc)
    finally:
        os.close(fd)
    return ""


def _store_problem(store: str) -> str:
    if not os.path.isdir(store):
        return f"{store} does not exist and cannot be made"
    if not os.access(store, os.W_OK | os.X_OK):
        read_only = os.statvfs(store).f_flag & os.ST_RDONLY
        return f"{store} is " + ("on a read-only file system" if read_only else "not writable for this user")
    return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
