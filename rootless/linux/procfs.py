"""Facts about processes from /proc: parsers on bytes, and short readers on top of them. Ring 0."""

from __future__ import annotations

import os

_boot_id = ""


def parse_start_time(stat: bytes) -> int:
    """Return the start time of a process in clock ticks since boot: field 22 of /proc/PID/stat (man 5 proc).

    The command name (field 2) may hold blanks and parentheses: fields are counted after the last ")".
    """
    return int(stat[stat.rindex(b")") + 2 :].split(b" ", 20)[19])


def parse_argument_area(stat: bytes) -> tuple[int, int]:
    """Return (arg_start, arg_end), fields 48 and 49: where in memory the command line is; 0 if hidden."""
    fields = stat[stat.rindex(b")") + 2 :].split(b" ")
    return int(fields[45]), int(fields[46])


def parse_parent(stat: bytes) -> tuple[bytes, int]:
    """Return (state letter, parent's pid) from /proc/PID/stat."""
    state, parent, _ = stat[stat.rindex(b")") + 2 :].split(b" ", 2)
    return state, int(parent)


def parse_id_map(text: bytes) -> tuple[tuple[int, int, int], ...]:
    """Return (id inside, id outside, count) of each line of uid_map or gid_map (man 7 user_namespaces)."""
    return tuple((int(a), int(b), int(n)) for a, b, n in map(bytes.split, text.splitlines()))


def format_id_map(extents: tuple[tuple[int, int, int], ...]) -> bytes:
    """Return what to write to uid_map or gid_map."""
    return b"".join(b"%d %d %d\n" % extent for extent in extents)


def read(path: str, *, dir_fd: int | None = None) -> bytes:
    """Return a small file of /proc: one open, one read of up to 64 KiB, one close."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return os.read(fd, 65536)
    finally:
        os.close(fd)


def write(path: str, data: bytes, *, dir_fd: int | None = None) -> None:
    """Write a control file of /proc in one write, as the kernel wants it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when there is none (any more)."""
    try:
        return parse_start_time(read(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def is_alive(pid: int, started: int) -> bool:
    """Say whether the process that had this pid and start time runs still; a zombie does not."""
    try:
        stat = read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return parse_start_time(stat) == started and parse_parent(stat)[0] not in (b"Z", b"X")


def boot_id() -> str:
    """Return the identity of this boot; read once per process."""
    global _boot_id
    if not _boot_id:
        _boot_id = read("/proc/sys/kernel/random/boot_id").decode().strip()
    return _boot_id
