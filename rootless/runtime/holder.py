"""The process that keeps the user namespace of `ranges` mode open between commands.

newuidmap and newgidmap cost 15 ms each; with a holder they run once. The holder is `sleep`: small, and gone
when unused without any bookkeeping, since every command that finds it past half of its life starts its
successor (inside the namespace, where no helper is needed). A command takes a descriptor of the namespace
before it checks whose it is, so that a holder that dies in between does no harm.

Record: `<run>/holder.json`, replaced atomically under `<run>/holder.lock`; the run directory is private to
the user and local to the node. Ring 1; imported in `ranges` mode alone.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from layers import jsontext
from rootless.errors import HostUnsupported, os_error_text
from rootless.linux import calls, const, procfs
from rootless.paths import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.host import IdMapping

LIFE_S = 300
_HELPERS = (("newuidmap", "uids"), ("newgidmap", "gids"))


def open_namespace(mapping: IdMapping, run_dir: str) -> int:
    """Return a descriptor of the user namespace with this mapping; the caller closes it.

    Finds the holder's, or makes it; two callers at a time share one.

    Raises:
        HostUnsupported: the helpers refuse, or are missing.
    """
    fd = _find(mapping, run_dir)
    if fd >= 0:
        return fd
    lock = os.open(os.path.join(run_dir, "holder.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fd = _find(mapping, run_dir)  # another command may have made it while we waited
        return fd if fd >= 0 else _make(mapping, run_dir)
    finally:
        os.close(lock)


def _find(mapping: IdMapping, run_dir: str) -> int:
    """Return a descriptor of the recorded holder's namespace, -1 when there is no good one."""
    try:
        record = jsontext.loads(procfs.read(os.path.join(run_dir, "holder.json")))
        pid, started = int(record["pid"]), int(record["start"])
        if record["boot_id"] != procfs.boot_id():
            return -1
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError, KeyError, TypeError):  # no record, or a torn one: make a new holder
        return -1
    try:
        good = procfs.start_time(pid) == started and _is_mapped(pid, mapping)
    except OSError:
        good = False
    if not good:
        os.close(fd)
        return -1
    if time.monotonic() > record["made"] + LIFE_S / 2:
        _renew(fd, run_dir)
    return fd


def _is_mapped(pid: int, mapping: IdMapping) -> bool:
    """Compare what the kernel says with what we want: a changed /etc/subuid makes a new holder."""
    return (
        procfs.parse_id_map(procfs.read(f"/proc/{pid}/uid_map")) == mapping.uids
        and procfs.parse_id_map(procfs.read(f"/proc/{pid}/gid_map")) == mapping.gids
    )


def _make(mapping: IdMapping, run_dir: str) -> int:
    """Make a namespace and its holder; returns a descriptor of the namespace."""
    mapped_read, mapped_write = os.pipe()
    try:
        pid = calls.clone(const.CLONE_NEWUSER)
        if pid == 0:
            os.close(mapped_write)
            if os.read(mapped_read, 1) == b"":  # the parent gave up
                os._exit(1)
            _detach_and_sleep(run_dir)
        try:
            _write_maps(pid, mapping)
            fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            os.write(mapped_write, b"1")
        except BaseException:
            os.kill(pid, 9)
            raise
        finally:
            # The child forks the holder and ends, so that the holder is nobody's zombie later.
            os.close(mapped_write)
            mapped_write = -1
            os.waitpid(pid, 0)
    except OSError as exc:
        raise HostUnsupported(
            f"cannot make a user namespace: {os_error_text(exc)}",
            hint="`rootless doctor` says what restricts them on this host",
            reference="user-namespace",
        ) from exc
    finally:
        os.close(mapped_read)
        if mapped_write >= 0:
            os.close(mapped_write)
    return fd


def _write_maps(pid: int, mapping: IdMapping) -> None:
    """Run both helpers at the same time: each spends its 15 ms starting and reading account databases."""
    running = []
    for program, field in _HELPERS:
        words = [str(number) for extent in getattr(mapping, field) for number in extent]
        error_read, error_write = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, error_write, 2)]
        path = find_program(program)
        child = os.posix_spawn(path, [program, str(pid), *words], {}, file_actions=actions) if path else 0
        os.close(error_write)
        running.append((program, child, error_read))
    for program, child, error_read in running:
        text = os.read(error_read, 4096).decode(errors="replace").strip()
        os.close(error_read)
        status = os.waitpid(child, 0)[1] if child else -1
        if status:
            raise HostUnsupported(
                f"cannot map subordinate ids: {program} {'is missing' if not child else 'failed'}",
                on=text or None,
                hint="check this user's lines in /etc/subuid and /etc/subgid; `rootless doctor` explains",
                reference="id-mapping",
            )


def _detach_and_sleep(run_dir: str) -> None:
    """In a process of the namespace: fork the holder, record it, exit. A failure costs the next start."""
    try:
        pid = os.fork()
        if pid == 0:
            _become_sleep()
        _record(pid, run_dir)
    finally:
        os._exit(0)


def _become_sleep() -> None:
    try:
        os.setsid()
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        calls.close_range(3)
        try:
            os.execvp("sleep", ["sleep", str(LIFE_S)])  # noqa: S606  a constant
        except OSError:
            words = [sys.executable, "-ISc", f"import time; time.sleep({LIFE_S})"]
            os.execv(words[0], words)  # noqa: S606  constants
    finally:
        os._exit(127)


def _record(pid: int, run_dir: str) -> None:
    data = {
        "pid": pid,
        "start": procfs.start_time(pid),
        "boot_id": procfs.boot_id(),
        "made": time.monotonic(),
    }
    temporary = os.path.join(run_dir, f"holder.json.{os.getpid()}")
    with open(temporary, "w", encoding="ascii") as file:
        file.write(jsontext.dumps(data))
    os.rename(temporary, os.path.join(run_dir, "holder.json"))


def _renew(namespace_fd: int, run_dir: str) -> None:
    """Start the holder's successor in the same namespace, and forget the old one, which ends by itself."""
    pid = os.fork()
    if pid == 0:
        try:
            calls.setns(namespace_fd, const.CLONE_NEWUSER)
            _detach_and_sleep(run_dir)
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
