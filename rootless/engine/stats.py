"""What a running container uses: from its cgroup, or summed over its processes. Ring 1.

Without a cgroup, or without one of its controllers:
- CPU time is that of the living processes and of those that their parents have waited for. What is lost: a
  child whose parent ignores SIGCHLD, and a process of `exec` after its end.
- memory is the sum of PSS, which counts a page that n processes share as 1/n for each (man 5 proc_pid_smaps);
  resident memory where that cannot be read. Page cache and files in a tmpfs are not counted.
- block traffic is kept for ended children as CPU time is.
"""

from __future__ import annotations

import os
import time

from rootless.linux import cgroups, processes, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.engine.records import Container
    from rootless.linux.processes import Process

_NS_PER_TICK = 1_000_000_000 // processes.TICKS


class Sample:
    """What a container had used at one moment, since its start.

    Attributes:
        moment_ns: of the monotonic clock. limit_bytes: of memory; all of the host's where none is enforced.
        pids: tasks, threads included.
        net, block: bytes (in, out).
    """

    __slots__ = ("block", "cpu_ns", "limit_bytes", "memory_bytes", "moment_ns", "net", "pids")

    def __init__(
        self,
        *,
        moment_ns: int = 0,
        cpu_ns: int = 0,
        memory_bytes: int = 0,
        limit_bytes: int = 0,
        pids: int = 0,
        net: tuple[int, int] = (0, 0),
        block: tuple[int, int] = (0, 0),
    ) -> None:
        self.moment_ns = moment_ns
        self.cpu_ns = cpu_ns
        self.memory_bytes = memory_bytes
        self.limit_bytes = limit_bytes
        self.pids = pids
        self.net = net
        self.block = block


NOTHING = Sample()
"""Of a container that does not run."""


def take_sample(container: Container) -> Sample:
    """Look at a container now; NOTHING when it does not run."""
    state = container.state
    cgroup = state.cgroup
    members = processes.find_members(state.pid, started=state.pid_start) if state.pid else []
    if not members:
        return NOTHING
    usage = cgroups.parse_flat(cgroups.read_text(cgroup, "cpu.stat")) if cgroup else {}
    used = cgroups.read_number(cgroup, "memory.current") if cgroup else -1
    tasks = cgroups.read_number(cgroup, "pids.current") if cgroup else -1
    traffic = cgroups.read_text(cgroup, "io.stat") if cgroup else b""
    return Sample(
        moment_ns=time.monotonic_ns(),
        cpu_ns=usage["usage_usec"] * 1000 if "usage_usec" in usage else cpu_ns(members),
        memory_bytes=_memory(members) if used < 0 else working_set(used, _memory_stat(cgroup)),
        limit_bytes=_memory_limit(cgroup),
        pids=sum(process.threads for process in members) if tasks < 0 else tasks,
        net=(0, 0) if state.network == "host" else parse_traffic(_read(state.pid, "net/dev")),
        block=cgroups.parse_io(traffic) if traffic else _block(members),
    )


def cpu_percent(before: Sample, after: Sample) -> float:
    """Return the share of one CPU that was used between two samples. Pure."""
    elapsed_ns = after.moment_ns - before.moment_ns
    if not before.moment_ns or elapsed_ns <= 0:
        return 0.0
    return max(after.cpu_ns - before.cpu_ns, 0) * 100 / elapsed_ns  # see above for what can be lost


def cpu_ns(members: Sequence[Process]) -> int:
    """Return the CPU time of processes and of the descendants that they have waited for. Pure."""
    return sum(process.own_ticks + process.child_ticks for process in members) * _NS_PER_TICK


def working_set(used: int, stat: dict[str, int]) -> int:
    """Return memory without the files in cache that nobody has used lately, as Docker shows it. Pure."""
    inactive = stat.get("inactive_file", 0)
    return used - inactive if inactive < used else used


def parse_traffic(text: bytes) -> tuple[int, int]:
    """Return (received, sent) bytes over all interfaces of /proc/PID/net/dev but loopback. Pure."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(b":")
        fields = numbers.split()
        if name.strip() != b"lo" and len(fields) >= 9:
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def parse_keyed(text: bytes) -> dict[bytes, int]:
    """Return "Name: NUMBER [kB]" lines of a file in /proc as they are. Pure."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found


def _memory(members: Sequence[Process]) -> int:
    total = 0
    for process in members:
        shares = parse_keyed(_read(process.pid, "smaps_rollup"))
        total += shares[b"Pss"] * 1024 if b"Pss" in shares else process.rss_bytes
    return total


def _memory_stat(cgroup: str) -> dict[str, int]:
    return cgroups.parse_flat(cgroups.read_text(cgroup, "memory.stat"))


def _memory_limit(cgroup: str) -> int:
    total = os.sysconf("SC_PHYS_PAGES") * processes.PAGE_BYTES
    limit = cgroups.read_number(cgroup, "memory.max") if cgroup else -1
    return min(limit, total) if limit >= 0 else total


def _block(members: Sequence[Process]) -> tuple[int, int]:
    read = written = 0
    for process in members:
        counts = parse_keyed(_read(process.pid, "io"))
        read += counts.get(b"read_bytes", 0)
        written += counts.get(b"write_bytes", 0)
    return read, written


def _read(pid: int, name: str) -> bytes:
    """Return a file of a process; b"" when it has ended, or is not ours to look into (--init)."""
    try:
        return procfs.read(f"/proc/{pid}/{name}")
    except OSError:
        return b""
