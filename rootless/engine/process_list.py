"""A container's processes as `ps -ef` shows them, with the container's own users. Ring 1."""

from __future__ import annotations

import os
import time

from rootless.errors import RuntimeSetupError
from rootless.linux import const, procfs
from rootless.linux.processes import TICKS
from rootless.runtime import users
from rootless.runtime.rootfs import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rootless.linux.processes import Process

TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_DAY_S = 86400
_PTS_MAJORS = range(136, 144)
_MAX_CPU = 99


def row(process: Process, *, names: Mapping[int, str], boot_s: float, now_s: float) -> tuple[str, ...]:
    """Return the cells of one process.

    Args:
        names: container uid → user name.
        boot_s: moment of the boot, seconds since the epoch, as `now_s`.
    """
    uid = container_uid(process.pid)
    began_s = boot_s + process.start_ticks / TICKS
    return (
        "?" if uid is None else names.get(uid, str(uid)),
        str(process.pid),
        str(process.parent),
        str(cpu_share(process, now_s - began_s)),
        start_text(began_s, now_s),
        tty_text(process.tty),
        time_text(process.own_ticks // TICKS),
        _command(process),
    )


def cpu_share(process: Process, age_s: float) -> int:
    """Return per cent of one CPU over the life of a process, 99 at most as in ps. Pure."""
    return min(int(process.own_ticks / TICKS * 100 / age_s), _MAX_CPU) if age_s > 0 else 0


def start_text(began_s: float, now_s: float) -> str:
    """Return "14:05" of today, "Nov24" of this year, else "2025" (ps, STIME)."""
    began, now = time.localtime(began_s), time.localtime(now_s)
    if began.tm_year != now.tm_year:
        return time.strftime("%Y", began)
    return time.strftime("%H:%M" if began.tm_yday == now.tm_yday else "%b%d", began)


def time_text(seconds: int) -> str:
    """Return "[DD-]HH:MM:SS". Pure."""
    days, rest = divmod(seconds, _DAY_S)
    text = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days:02}-{text}" if days else text


def tty_text(number: int) -> str:
    """Return "pts/0" for the device number of a terminal as /proc/PID/stat packs it, "?" for none. Pure."""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if major in _PTS_MAJORS:
        return f"pts/{minor + 256 * (major - _PTS_MAJORS.start)}"
    return f"tty{minor}" if major == 4 else "?"


def map_inside(uid: int, extents: Iterable[tuple[int, int, int]]) -> int:
    """Return the id inside a user namespace of one outside; itself where it is not mapped. Pure."""
    for inside, outside, count in extents:
        if outside <= uid < outside + count:
            return inside + uid - outside
    return uid


def container_uid(pid: int) -> int | None:
    """Return the effective user of a process as it sees itself; None when it has just ended."""
    try:
        status = procfs.read(f"/proc/{pid}/status")
        extents = procfs.parse_id_map(procfs.read(f"/proc/{pid}/uid_map"))
    except OSError:
        return None
    words = status.partition(b"\nUid:")[2].split(maxsplit=2)
    return map_inside(int(words[1]), extents)


def user_names(pids: Iterable[int]) -> dict[int, str]:
    """Return uid → name from the container's /etc/passwd, read as hostile; {} where none can be read."""
    for pid in pids:  # the first may be our own reaper (--init), which nobody may look into
        try:
            root_fd = os.open(f"/proc/{pid}/root", const.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            return users.parse_names(read_file(root_fd, "etc/passwd", max_bytes=users.MAX_FILE_BYTES))
        except RuntimeSetupError:  # too large to be one
            return {}
        finally:
            os.close(root_fd)
    return {}


def _command(process: Process) -> str:
    if process.state == "Z":
        return f"[{os.fsdecode(process.name)}] <defunct>"
    try:
        words = procfs.read(f"/proc/{process.pid}/cmdline").rstrip(b"\0").split(b"\0")
    except OSError:
        words = [b""]
    return os.fsdecode(b" ".join(words)) or f"[{os.fsdecode(process.name)}]"
