"""Limits on a host that gives its users no cgroup: as close as can be, and said in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from tests.helpers.product import Product

DETACHED = ["run", "-d", "--network=none"]
SHOW = """\
grep -E '^Max (data|processes)' /proc/self/limits
grep Cpus_allowed_list /proc/self/status
cat /proc/self/oom_score_adj
cut -d' ' -f19 /proc/self/stat
"""


def shown(lines: list[str]) -> dict[str, str]:
    """Return what SHOW printed."""
    data, processes, cpus, score, nice = lines
    return {
        "data": data.split()[3],
        "processes": processes.split()[2],
        "cpus": cpus.split()[1],
        "score": score,
        "nice": nice,
    }


@pytest.mark.needs("no-cgroup")
def test_limits_without_a_cgroup_are_approximated_for_all_processes_and_named(
    product: Product, busybox: str
) -> None:
    options = "-m 64m --pids-limit 20 --cpuset-cpus 0 -c 512 --oom-score-adj 300 --memory-reservation 32m"
    result = product.run(*DETACHED, "--name=lim", *options.split(), busybox, "sleep", "100")
    (notice,) = [line for line in result.err.splitlines() if "limits" in line]
    assert "not enforced: --memory-reservation;" in notice
    for option in ("--memory", "--pids-limit", "--cpuset-cpus", "--cpu-shares"):
        assert f"{option} (" in notice
    pid = product.run("inspect", "--format", "{{.State.Pid}}", "lim").out.strip()
    nice = os.nice(0) + 3
    expected = {"data": str(64 << 20), "processes": "21", "cpus": "0", "score": "300", "nice": str(nice)}
    inside = product.run("exec", "lim", "sh", "-c", SHOW)
    assert (shown(inside.lines), inside.err) == (expected, "")
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "300\n"
    assert os.sched_getaffinity(int(pid)) == {0}


@pytest.mark.needs("no-cgroup")
def test_limits_stop_what_exceeds_them(product: Product, busybox: str) -> None:
    result = product.attempt(
        *QUICK, "--memory=16m", busybox, "dd", "if=/dev/zero", "of=/dev/null", "bs=40M", "count=1"
    )
    assert "out of memory" in result.err
    forks = "for i in 1 2 3 4 5 6; do sleep 1 & done; echo done"
    assert "can't fork" in product.attempt(*QUICK, "--pids-limit=4", busybox, "sh", "-c", forks).err


@pytest.mark.needs("no-cgroup")
def test_required_limits_that_cannot_be_kept_are_an_error(product: Product, busybox: str) -> None:
    result = product.fail(125, *QUICK, "--limits=require", "-m=64m", "--pids-limit=9", busybox, "true")
    assert "cannot enforce --memory, --pids-limit" in result.err
    assert "hint:" in result.err
    assert product.containers() == []
    assert product.run(*QUICK, "--limits=require", "--pids-limit=-1", busybox, "echo", "ok").out == "ok\n"


def test_lower_oom_score_needs_privilege(product: Product, busybox: str) -> None:
    result = product.run(*QUICK, "--oom-score-adj=-900", busybox, "true")
    assert "not enforced: --oom-score-adj" in result.err


@pytest.mark.needs("no-cgroup")
def test_update_changes_what_the_next_start_gets(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=upd", busybox, "sh", "-c", "ulimit -d; exec sleep 100")
    result = product.run("update", "--memory=64m", "--restart=on-failure:3", "upd")
    assert result.out == "upd\n"
    assert "--memory" in result.err
    product.run("restart", "-t=0", "upd")
    assert product.run("logs", "upd").lines == ["unlimited", "65536"]
    assert "nothing to change" in product.fail(125, "update", "upd").err
    assert "--memory-swap" in product.fail(1, "update", "--memory-swap=32m", "upd").err
    assert "no such container" in product.fail(1, "update", "--memory=64m", "gone").err.lower()
