"""What containers use: sums, shares, and the files of any kernel."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rootless.engine import stats
from rootless.engine.stats import NOTHING, Sample
from rootless.linux.processes import TICKS

NET_DEV = b"""\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0
  eth0: 100 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0
  tap0:3 1 0 0 0 0 0 0 4 1 0 0 0 0 0 0
"""
SECOND_NS = 1_000_000_000


def test_share_of_cpu_may_be_above_one() -> None:
    before = Sample(moment_ns=SECOND_NS, cpu_ns=5)
    after = Sample(moment_ns=3 * SECOND_NS, cpu_ns=3 * SECOND_NS + 5)
    assert stats.cpu_percent(before, after) == 150


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NOTHING, Sample(moment_ns=5, cpu_ns=5)),
        (Sample(moment_ns=5, cpu_ns=5), NOTHING),
        (Sample(moment_ns=5, cpu_ns=5), Sample(moment_ns=5, cpu_ns=9)),
        (Sample(moment_ns=5, cpu_ns=9), Sample(moment_ns=7, cpu_ns=5)),
    ],
)
def test_share_of_cpu_is_never_negative(before: Sample, after: Sample) -> None:
    assert stats.cpu_percent(before, after) == 0


def test_time_of_ended_children_counts_with_their_parent() -> None:
    members = [
        SimpleNamespace(own_ticks=TICKS, child_ticks=2 * TICKS),
        SimpleNamespace(own_ticks=1, child_ticks=0),
    ]
    assert stats.cpu_ns(members) == 3 * SECOND_NS + SECOND_NS // TICKS


def test_loopback_is_no_traffic() -> None:
    assert stats.parse_traffic(NET_DEV) == (103, 24)
    assert stats.parse_traffic(b"") == (0, 0)


def test_cache_that_can_go_is_no_use_of_memory() -> None:
    assert stats.working_set(100, {"inactive_file": 30}) == 70
    assert stats.working_set(100, {"inactive_file": 130}) == 100
    assert stats.working_set(100, {}) == 100


def test_keyed_files_of_processes() -> None:
    text = b"00400000-7fff [rollup]\nRss:  1364 kB\nPss:   284 kB\nread_bytes: 4096\nodd\n"
    assert stats.parse_keyed(text) == {b"Rss": 1364, b"Pss": 284, b"read_bytes": 4096}
