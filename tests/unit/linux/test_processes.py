"""The processes of a container among those of the host."""

from __future__ import annotations

import os

import pytest

from rootless.linux import processes
from rootless.linux.processes import Process, descendants

STAT = (
    b"%d (%s) S %d 1 1 34816 1 4194560 100 2000 0 0 7 3 11 2 20 0 4 0 %d 2322432 410 "
    b"18446744073709551615 1 1 0 0 0 0 0 0 65538 1 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def process(pid: int, parent: int, name: bytes = b"sh") -> Process:
    return Process(STAT % (pid, name, parent, 555))


def test_line_of_the_kernel_is_read() -> None:
    found = process(17, 5)
    assert (found.pid, found.parent, found.state, found.name) == (17, 5, "S", b"sh")
    assert (found.own_ticks, found.child_ticks, found.threads, found.start_ticks) == (10, 13, 4, 555)
    assert found.tty == 34816
    assert found.rss_bytes == 410 * processes.PAGE_BYTES


def test_name_may_hold_anything() -> None:
    found = process(17, 5, b"a) R 1 (b\n c")
    assert (found.name, found.parent) == (b"a) R 1 (b\n c", 5)


@pytest.mark.parametrize("text", [b"", b"17 (sh", b"17 (sh) S", b"x (sh) S 1 " + b"1 " * 30])
def test_what_is_no_such_line_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        Process(text)


def test_descendants_come_after_their_parents() -> None:
    table = {pid: process(pid, parent) for pid, parent in ((9, 1), (3, 9), (4, 3), (5, 4), (6, 9), (7, 2))}
    assert [p.pid for p in descendants((9,), table)] == [9, 3, 6, 4, 5]
    assert descendants((8,), table) == []


def test_process_that_replaced_the_first_one_is_not_taken_for_it() -> None:
    own = processes.read_all()[os.getpid()]
    assert processes.find_members(own.pid, started=own.start_ticks)[0].pid == own.pid
    assert processes.find_members(own.pid, started=own.start_ticks + 1) == []


def test_threads_have_one_letter_each() -> None:
    assert processes.thread_states(os.getpid())[:1] == "R"
    assert processes.thread_states(2**22 + 1) == ""
