"""The processes of a container, found from outside by its first one. Ring 0.

Nobody keeps a list: processes fork, and the container may make further pid namespaces. A process belongs to
it when an ancestor is the first process (orphans are given to a process of the same pid namespace, man 7
pid_namespaces), or when it was put there from outside, as `exec` does: then its pid namespace is the same.
"""

from __future__ import annotations

import os

from rootless.linux import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Process:
    """One line of /proc/PID/stat (man 5 proc_pid_stat); times in clock ticks.

    Attributes:
        name: of the executable, not to be trusted: at most 15 bytes, any but NUL.
        own_ticks: user and system time of this process. child_ticks: of the descendants it has waited for.
        start_ticks: since boot. rss_bytes: resident, pages shared with others included.
    """

    __slots__ = (
        "child_ticks",
        "name",
        "own_ticks",
        "parent",
        "pid",
        "rss_bytes",
        "start_ticks",
        "state",
        "threads",
        "tty",
    )

    def __init__(self, stat: bytes) -> None:
        """Parse; ValueError or IndexError when it is no such line."""
        end = stat.rindex(b")")
        pid, _, name = stat[:end].partition(b" (")
        fields = stat[end + 2 :].split()
        self.pid = int(pid)
        self.name = name
        self.state = fields[0].decode()
        self.parent = int(fields[1])
        self.tty = int(fields[4])
        self.own_ticks = int(fields[11]) + int(fields[12])
        self.child_ticks = int(fields[13]) + int(fields[14])
        self.threads = int(fields[17])
        self.start_ticks = int(fields[19])
        self.rss_bytes = max(int(fields[21]), 0) * PAGE_BYTES


def find_members(first: int, *, started: int) -> list[Process]:
    """Return the processes of a container, parents before their children: of one moment, others may come.

    Args:
        first, started: pid and start time of its first process; [] when that is gone.
    """
    table = read_all()
    if first not in table or table[first].start_ticks != started:
        return []
    members = descendants((first,), table)
    namespace = next(filter(None, map(_pid_namespace, (p.pid for p in members))), 0)
    if namespace:
        known = {process.pid for process in members}
        joined = [pid for pid in table if pid not in known and _pid_namespace(pid) == namespace]
        roots = [pid for pid in joined if table[pid].parent not in joined]
        members += [process for process in descendants(roots, table) if process.pid not in known]
    return members


def descendants(roots: Iterable[int], table: Mapping[int, Process]) -> list[Process]:
    """Return the processes among `roots` and below, parents before their children. Pure."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found = []
    waiting = [pid for pid in roots if pid in table]
    for pid in waiting:  # grows while it is read
        found.append(table[pid])
        waiting += children.get(pid, ())
    return found


def read_all() -> dict[int, Process]:
    """Return all processes that can be seen, by pid."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                table[int(name)] = Process(procfs.read(f"/proc/{name}/stat"))
            except (OSError, ValueError, IndexError):
                continue  # it has just ended
    return table


def thread_states(pid: int) -> str:
    """Return one letter for each thread of a process: "T" is stopped (man 5 proc_pid_stat); "" for none."""
    states = ""
    try:
        names = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return ""  # it has just ended
    for name in names:
        try:
            states += procfs.parse_parent(procfs.read(f"/proc/{pid}/task/{name}/stat"))[0].decode()
        except (OSError, ValueError):
            continue
    return states


def _pid_namespace(pid: int) -> int:
    """Return the inode of a process's pid namespace, 0 where this user may not look."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0
