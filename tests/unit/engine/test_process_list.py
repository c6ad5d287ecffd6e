"""Processes as `ps -ef` shows them."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from rootless.engine import process_list
from rootless.linux.processes import TICKS
from rootless.runtime import users


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "?"), (0x8800, "pts/0"), (0x8807, "pts/7"), (0x8900, "pts/256"), (0x0401, "tty1"), (0x0105, "?")],
)
def test_terminals_have_names(number: int, text: str) -> None:
    assert process_list.tty_text(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00"), (3661, "01:01:01"), (86400 * 3 + 59, "03-00:00:59")]
)
def test_time_has_days_when_it_needs_them(seconds: int, text: str) -> None:
    assert process_list.time_text(seconds) == text


def test_start_is_as_exact_as_it_is_recent() -> None:
    noon = time.mktime((2026, 7, 15, 12, 0, 0, 0, 0, -1))
    assert process_list.start_text(noon - 3600, noon) == "11:00"
    assert process_list.start_text(noon - 86400 * 14, noon) == "Jul01"
    assert process_list.start_text(noon - 86400 * 365, noon) == "2025"


def test_share_of_cpu_is_over_the_whole_life() -> None:
    busy = SimpleNamespace(own_ticks=5 * TICKS)
    assert process_list.cpu_share(busy, 10) == 50
    assert process_list.cpu_share(busy, 1) == 99
    assert process_list.cpu_share(busy, 0) == 0


@pytest.mark.parametrize(("uid", "inside"), [(1000, 0), (100000, 1), (100032, 33), (5, 5)])
def test_users_are_the_containers(uid: int, inside: int) -> None:
    assert process_list.map_inside(uid, ((0, 1000, 1), (1, 100000, 65535))) == inside


def test_first_name_of_a_uid_counts_and_broken_lines_do_not() -> None:
    passwd = b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nbroken\n:x:5:5::/:\nweb:x:33:33\nbad:x:x:1::/:\n"
    assert users.parse_names(passwd) == {0: "root", 33: "web"}


def test_process_that_has_ended_has_no_user() -> None:
    assert process_list.container_uid(2**22 + 1) is None
    assert process_list.container_uid(os.getpid()) == os.geteuid()
