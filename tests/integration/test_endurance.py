"""What must not grow: files, processes and work over many containers, a monitor's memory and its wake-ups."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.leftovers import helpers_of, stray_files
from tests.helpers.processes import (
    descendants,
    describe,
    monitor_pid,
    read,
    record_of,
    settle,
    status_field,
    wait_for,
)
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

MEMORY_KB = 40_000
"""More than a monitor takes whatever its container prints; Python and its modules take half of it."""


def files(product: Product) -> list[str]:
    """Return the path of everything that the product keeps outside of its images."""
    tops = [product.store / name for name in ("containers", "names", "volumes", "ingest")]
    return sorted(str(path) for top in [*tops, product.runtime] for path in top.rglob("*"))


def left_by(product: Product) -> list[str]:
    """Return what containers that are gone have left: processes, mounts, directories, names, locks."""
    return [*map(describe, helpers_of(product)), *product.mounts(), *stray_files(product)]


def system_calls(product: Product, path: Path, *words: str) -> int:
    """Return how many system calls a command makes together with all processes that it starts."""
    trace = ["strace", "-f", "-qq", "-o", str(path), *product.argv(*words)]
    subprocess.run(trace, env=product.env, stdin=subprocess.DEVNULL, check=True, timeout=120)
    lines = path.read_text(errors="replace").splitlines()
    return sum(bool(re.match(r"\d+ +(\w+\(|<\.\.\. )", line)) and "<unfinished" not in line for line in lines)


def run_in_a_row(product: Product, image: str, trace: Path, *, count: int) -> None:
    for _ in range(2):  # whatever is made once is there
        product.run(*QUICK, image, "true")
    before, journal = files(product), product.store / "events.jsonl"
    calls, sizes = [system_calls(product, trace, *QUICK, image, "true")], [journal.stat().st_size]
    for _ in range(count):
        product.run(*QUICK, image, "true")
        sizes.append(journal.stat().st_size)
    calls.append(system_calls(product, trace, *QUICK, image, "true"))
    settle(lambda: left_by(product), "afterwards")
    assert files(product) == before
    assert max(calls) <= min(calls) * 1.02
    steps = [after - size for size, after in itertools.pairwise(sizes) if after > size]
    assert max(steps) - min(steps) < 100  # lines of the journal; names differ in length


@pytest.mark.needs("strace")
def test_containers_in_a_row_leave_nothing_and_take_no_more_work(
    product: Product, busybox: str, tmp_path: Path
) -> None:
    run_in_a_row(product, busybox, tmp_path / "trace", count=10)


@pytest.mark.slow(sampled=False)
@pytest.mark.needs("strace")
def test_two_hundred_containers_in_a_row(product: Product, busybox: str, tmp_path: Path) -> None:
    run_in_a_row(product, busybox, tmp_path / "trace", count=200)


@pytest.mark.parametrize("count", [50])
def test_containers_at_once_leave_nothing(product: Product, busybox: str, count: int) -> None:
    product.run(*QUICK, busybox, "true")
    before = files(product)
    starts = [product.start(*QUICK, busybox, "true") for _ in range(count)]
    assert [process.wait(120) for process in starts] == [0] * count
    for process in starts:
        process.communicate()
    settle(lambda: left_by(product), "afterwards")
    assert files(product) == before


def test_monitor_keeps_no_descriptor_of_what_is_over(product: Product, busybox: str) -> None:
    """Of windows that were closed, of sessions, checks and runs that have ended."""
    check = ("--health-cmd=true", "--health-interval=50ms")
    product.run("run", "-d", "--restart=always", "--name=old", *check, busybox, "sleep", "1000")
    monitor = monitor_pid(product, "old")

    def use() -> None:
        window = product.start("attach", "--no-stdin", "old")
        wait_for(lambda: b"sleep" in read(container(), "cmdline"))
        product.run("exec", "old", "true")
        product.run("wait", "--condition=healthy", "old")
        window.kill()
        window.communicate()
        first = container()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: container() not in (0, first))

    def container() -> int:
        return int(str(record_of(product, "old")["pid"]))

    def held() -> list[str]:
        product.run("wait", "--condition=healthy", "old")  # the next prober is at work
        return [f"{read(pid, 'comm')!r} {len(os.listdir(f'/proc/{pid}/fd'))}" for pid in own(monitor)]

    use()
    before = held()
    for _ in range(2):
        use()
    assert len(before) == 2
    wait_for(lambda: held() == before)


def own(monitor: int) -> list[int]:
    """Return a monitor and its prober, without the container, helpers and checks under way."""
    found = [pid for pid in descendants(monitor) if read(pid, "comm") == b"rootless-health\n"]
    return [monitor, *found[:1]]


class Reader(threading.Thread):
    """Hash the first bytes that a command prints, then end the command."""

    def __init__(self, process: subprocess.Popen[bytes], size: int) -> None:
        super().__init__()
        self.process = process
        self.left = size
        self.hash = hashlib.sha256()
        self.start()

    def run(self) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while self.left and (data := os.read(fd, min(self.left, 1 << 20))):
            self.hash.update(data)
            self.left -= len(data)
        self.process.kill()
        self.process.communicate()

    def digest(self) -> str:
        self.join()
        return self.hash.hexdigest()


def read_by_five(product: Product, image: str, *, megabytes: int) -> None:
    """Let a log, three windows and an exec session read the same bytes at once."""
    make = f"dd if=/dev/urandom bs=1M count={megabytes * 3 // 4} 2>/dev/null | base64 -w 1000 >/data"
    script = f"{make}; touch /ready; read go; cat /data; sleep 1000"
    flood = product.run("run", "-di", "--network=none", image, "sh", "-c", script).out.strip()
    wait = "while [ ! -e /ready ]; do sleep 0.1; done; sha256sum </data; wc -c </data"
    facts = product.run("exec", flood, "sh", "-c", wait, timeout=300).out.split()
    digest, size = facts[0], int(facts[2])
    monitor = monitor_pid(product, flood)
    readers = [Reader(product.start("logs", "-f", flood), size)]
    readers += [Reader(product.start("attach", "--no-stdin", flood), size) for _ in range(3)]
    readers += [Reader(product.start("exec", flood, "cat", "/data"), size)]
    attached = ("events", "--since=1h", "--until=0s", "-f", "event=attach", "-f", f"container={flood}")
    wait_for(lambda: len(product.run(*attached).lines) == 3)
    starter = product.start("attach", flood, stdin=-1, stdout=-3)
    assert starter.stdin is not None
    starter.stdin.write(b"go\n")
    starter.stdin.flush()
    digests = [reader.digest() for reader in readers]
    peak = status_field(monitor, "VmHWM")
    starter.kill()
    starter.communicate()
    assert digests == [digest] * 5
    assert peak < MEMORY_KB
    assert product.run("logs", "--tail=1", flood).out.strip()


def test_flood_reaches_five_readers(product: Product, busybox: str) -> None:
    read_by_five(product, busybox, megabytes=30)


@pytest.mark.slow(sampled=False)
@pytest.mark.timeout(900)
def test_flood_of_a_gigabyte_reaches_five_readers(product: Product, busybox: str) -> None:
    read_by_five(product, busybox, megabytes=1000)


def pipe_through(product: Product, image: str, tmp_path: Path, *, megabytes: int) -> None:
    """Send bytes of all values through `cat` in a container, there and back."""
    path = tmp_path / "data"
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 20))
    with path.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    container = product.run("run", "-d", "--network=none", image, "sleep", "1000").out.strip()
    quiet = (*QUICK, "-i", "--log-driver=none", image)
    for words in ((*quiet, "cat"), ("exec", "-i", container, "cat")):
        with path.open("rb") as file, product.start(*words, stdin=file) as process:
            assert process.stdout is not None
            assert hashlib.file_digest(process.stdout, "sha256").hexdigest() == expected  # type: ignore[arg-type]
            assert process.wait(60) == 0


def test_pipes_are_exact_both_ways(product: Product, busybox: str, tmp_path: Path) -> None:
    pipe_through(product, busybox, tmp_path, megabytes=30)


@pytest.mark.slow(sampled=False)
@pytest.mark.timeout(900)
def test_pipes_of_gigabytes_are_exact_both_ways(product: Product, busybox: str, tmp_path: Path) -> None:
    pipe_through(product, busybox, tmp_path, megabytes=2000)


@pytest.mark.needs("strace")
@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow(sampled=False))])
def test_idle_monitor_and_prober_make_no_system_call(
    product: Product, busybox: str, tmp_path: Path, seconds: int
) -> None:
    """Hazard: a timer that wakes the processor for every container, for ever."""
    pids = []
    for words in ((), ("--restart=always",), ("--health-cmd=true", "--health-interval=1h", "-it")):
        name = product.run("run", "-d", "--network=none", *words, busybox, "sleep", "1000").out.strip()
        pids += own(monitor_pid(product, name))
    assert len(pids) == 4
    wait_for(lambda: not switches(pids))
    trace = tmp_path / "trace"
    attach = [word for pid in pids for word in ("-p", str(pid))]
    with subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), *attach]) as strace:
        time.sleep(seconds)  # nothing can be waited for: nothing happens
        strace.send_signal(signal.SIGINT)
    lines = trace.read_text().splitlines()
    assert sorted(int(line.split()[0]) for line in lines) == sorted(pids), lines  # what each was in before


def switches(pids: list[int]) -> int:
    """Return how often processes wait anew within a moment."""
    before = [status_field(pid, "voluntary_ctxt_switches") for pid in pids]
    time.sleep(0.2)
    return sum(status_field(pid, "voluntary_ctxt_switches") for pid in pids) - sum(before)
