from __future__ import annotations

import os

import pytest

from rootless.linux import procfs

STAT = b"4242 (a) R (b) c) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 18446"


def test_start_time_is_found_after_a_hostile_command_name() -> None:
    assert procfs.parse_start_time(STAT) == 987654


def test_parent_is_found_after_a_hostile_command_name() -> None:
    assert procfs.parse_parent(STAT) == (b"S", 17)


def test_own_start_time_agrees_with_is_alive() -> None:
    started = procfs.start_time(os.getpid())
    assert started > 0
    assert procfs.is_alive(os.getpid(), started)
    assert not procfs.is_alive(os.getpid(), started + 1)


def test_zombie_is_not_alive() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not procfs.is_alive(pid, procfs.start_time(pid))
    os.waitpid(pid, 0)
    assert procfs.start_time(pid) == 0


@pytest.mark.parametrize(
    "text", [b"", b"         0       1001          1\n         1     100000      65536\n"]
)
def test_id_map_round_trip(text: bytes) -> None:
    extents = procfs.parse_id_map(text)
    assert procfs.parse_id_map(procfs.format_id_map(extents)) == extents
    assert len(extents) == text.count(b"\n")


def test_argument_area_holds_our_command_line() -> None:
    start, end = procfs.parse_argument_area(procfs.read("/proc/self/stat"))
    assert end - start == len(procfs.read("/proc/self/cmdline"))


def test_boot_id_is_a_uuid() -> None:
    assert [len(part) for part in procfs.boot_id().split("-")] == [8, 4, 4, 4, 12]
