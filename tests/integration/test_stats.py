"""stats and top: what containers use, and what runs in them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helpers.product import Product

DETACHED = ["run", "-d", "--network=none"]


def test_stats_tell_what_each_container_uses(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=busy", busybox, "sh", "-c", "while :; do :; done")
    product.run(*DETACHED, "--name=idle", "--init", busybox, "sleep", "100")
    product.run("create", "--name=new", busybox, "true")
    table = product.run("stats", "--no-stream", "--all").lines
    assert table[0].split("  ")[0] == "CONTAINER ID"
    assert " ".join(table[0].split()) == (
        "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS"
    )
    assert len(table) == 4
    form = "{{.Name}} {{.CPUPerc}} {{.PIDs}} {{.MemUsage}}"
    rows = [line.split() for line in product.run("stats", "--no-stream", "--format", form).lines]
    used = {name: (float(cpu.rstrip("%")), int(pids), memory) for name, cpu, pids, memory, *_ in rows}
    assert used.keys() == {"busy", "idle"}
    assert used["busy"][0] > 5 > used["idle"][0]
    assert (used["busy"][1], used["idle"][1]) == (1, 2)
    assert used["busy"][2] != "0B"
    line = product.run("stats", "--no-stream", "--no-trunc", "--format=json", "new").out
    found = json.loads(line)
    assert (found["Name"], found["CPUPerc"], found["PIDs"], len(found["ID"])) == ("new", "0.00%", "0", 64)
    assert "no such container" in product.fail(1, "stats", "--no-stream", "gone").err.lower()


def test_stats_refresh_a_terminal(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=shown", busybox, "sleep", "100")
    with product.terminal("stats", "shown") as terminal:
        for _ in range(2):
            terminal.expect("\x1b[H")
            terminal.expect("CONTAINER ID")
            terminal.expect("shown")
        terminal.type("\x03")
        terminal.wait()


def test_top_shows_the_containers_users_and_hosts_pids(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=tt", busybox, "sh", "-c", "sleep 98; true")
    product.run("exec", "-d", "-u", "app", "tt", "sleep", "97")
    rows = [line.split(None, 7) for line in product.run("top", "tt").lines]
    assert rows[0] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    found = {row[7]: row for row in rows[1:]}
    assert found.keys() == {"sh -c sleep 98; true", "sleep 98", "sleep 97"}
    assert (found["sleep 98"][0], found["sleep 97"][0]) == ("root", "app")
    assert found["sleep 98"][2] == found["sh -c sleep 98; true"][1]
    pid = product.run("inspect", "--format", "{{.State.Pid}}", "tt").out.strip()
    assert found["sh -c sleep 98; true"][1] == pid
    product.run("kill", "tt")
    product.run("wait", "tt")
    assert "not running" in product.fail(1, "top", "tt").err


@pytest.mark.skipif(not shutil.which("ps"), reason="needs ps")
def test_top_passes_options_to_ps(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=tt", busybox, "sleep", "96")
    rows = [line.split(None, 1) for line in product.run("top", "tt", "-o", "pid,args").lines]
    assert [row[1] for row in rows] == ["COMMAND", "sleep 96"]
    assert "PID" in product.fail(125, "top", "tt", "-o", "args").err
