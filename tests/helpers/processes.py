"""Look at the processes of this machine, and wait for them; what has just ended is no error here."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.product import Product


def wait_for(condition: Callable[[], object], timeout: float = 15) -> None:
    """Wait until another process has done something that can only be asked for."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def settle(look: Callable[[], list[str]], where: str, timeout: float = 15) -> None:
    """Wait until nothing is found: what was killed takes a moment to be gone."""
    deadline = time.monotonic() + timeout
    while found := look():
        assert time.monotonic() < deadline, f"{where}:\n" + "\n".join(found)
        time.sleep(0.1)


def all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def read(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID, b"" when the process is gone or somebody else's."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def processes_with(text: str) -> list[int]:
    """Return the pids whose command line contains a text."""
    return [pid for pid in all_processes() if pid != os.getpid() and text.encode() in read(pid, "cmdline")]


def start_of(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 for one that has ended."""
    fields = read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[19]) if fields and fields[0] not in b"ZX" else 0


def status_field(pid: int, name: str) -> int:
    """Return a number of /proc/PID/status (man 5 proc)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def ancestors(pid: int) -> set[int]:
    """Return a process and those above it."""
    found = set()
    while pid > 1:
        found.add(pid)
        pid = int((read(pid, "stat").rpartition(b")")[2].split() or [b"", b"0"])[1])
    return found


def descendants(pid: int) -> list[int]:
    """Return the processes below a process."""
    found = [int(word) for word in read(pid, f"task/{pid}/children").split()]
    return found + [below for child in found for below in descendants(child)]


def describe(pid: int) -> str:
    words = read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
    status = read(pid, "stat").rpartition(b")")[2].split()[:2]
    return f"{pid} {words} (state, parent {status})"


def record_of(product: Product, name: str) -> dict[str, object]:
    """Return the state of a container as it is on disk."""
    container_id = product.run("inspect", "--format={{.Id}}", name).out.strip()
    found: dict[str, object] = json.loads(
        (product.store / "containers" / container_id / "state.json").read_text()
    )
    return found


def monitor_pid(product: Product, name: str) -> int:
    return int(str(record_of(product, name)["monitor_pid"]))
