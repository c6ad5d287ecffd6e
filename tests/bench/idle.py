"""What idle containers cost: memory and wake-ups of the monitors and helpers that stay beside them.

A side's processes are known by a variable of their environment, or by a parent that has it; those inside of a
container are not counted. Root can look at those of any user, in whatever root directory they run.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.bench.compare import Side

COUNTS = (1, 20)
SETTLE_S = 3
WATCH_S = 20


class Cost:
    """What the processes beside some containers take.

    Attributes:
        memory_kb: PSS by program, as the kernel names it.
        wakes_per_s: how often any of them was woken.
    """

    def __init__(self, memory_kb: Counter[str], wakes_per_s: float) -> None:
        self.memory_kb = memory_kb
        self.wakes_per_s = wakes_per_s

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {kb / 1000:.1f}" for name, kb in self.memory_kb.most_common())
        return f"{self.megabytes:.1f} MB ({parts}); {self.wakes_per_s:.1f} wake-ups/s"

    @property
    def megabytes(self) -> float:
        return self.memory_kb.total() / 1000


def rows(sides: Sequence[Side], image: str) -> list[str]:
    """Return lines of the table: what idle containers of each side cost, and ratios of memory."""
    lines = []
    for count in COUNTS:
        costs = [measure(side, image, count=count) for side in sides]
        ratios = [f"{costs[0].megabytes / other.megabytes:.2f}" for other in costs[1:]]
        lines.append(f"| beside {count} idle | {' | '.join([*map(str, costs), *ratios])} |")
    return lines


def measure(side: Side, image: str, *, count: int) -> Cost:
    mark = f"BENCH_IDLE={os.getpid()}"
    names = [f"idle-{os.getpid()}-{number}" for number in range(count)]
    try:
        for name in names:
            side.time(f"{mark} {side.program} run -d --name {name} {image} sleep 1000000")
        time.sleep(SETTLE_S)
        started = {pid: wakes(pid) for pid in marked(mark.encode())}
        time.sleep(WATCH_S)
        woken = sum(wakes(pid) - count for pid, count in started.items())
        return Cost(memory(started), woken / WATCH_S)
    finally:
        side.time(f"{side.program} rm -f {' '.join(names)}")


def marked(mark: bytes) -> set[int]:
    """Return the processes with a word in their environment, and their children but for containers."""
    here = os.readlink("/proc/self/ns/pid")
    found, children = set(), {}
    for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
            elif os.readlink(f"/proc/{pid}/ns/pid") == here:
                children[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    return found | {pid for pid, parent in children.items() if parent in found}


def memory(pids: Iterable[int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        pss = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        found[Path(f"/proc/{pid}/comm").read_text().strip()] += pss
    return found


def wakes(pid: int) -> int:
    """Return how often a process has been woken so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
