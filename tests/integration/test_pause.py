"""pause and unpause; what may be done to a paused container, and what may not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.helpers.product import Product

COUNT = "sleep 99 & i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
DETACHED = ["run", "-d", "--network=none"]


def status(product: Product, name: str) -> str:
    return product.run("inspect", "--format", "{{.State.Status}}", name).out.strip()


def wait_for_output(product: Product, name: str, more_than: int) -> int:
    """Return the last number that the container has counted to, once it is above a number."""
    deadline = time.monotonic() + 10
    while True:
        lines = product.run("logs", "--tail=1", name).lines
        if lines and int(lines[0]) > more_than:
            return int(lines[0])
        assert time.monotonic() < deadline


def test_paused_container_does_nothing_until_it_is_unpaused(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=pp", busybox, "sh", "-c", COUNT)
    product.run("exec", "-d", "pp", "sleep", "98")
    wait_for_output(product, "pp", 0)
    assert product.run("pause", "pp").out == "pp\n"
    assert status(product, "pp") == "paused"
    assert "(Paused)" in product.run("ps", "--filter", "name=pp").out
    pids = [line.split()[1] for line in product.run("top", "pp").lines[1:]]
    assert len(pids) >= 3
    before = [Path(f"/proc/{pid}/stat").read_text().split()[13] for pid in pids]
    count = product.run("logs", "--tail=1", "pp").out
    for words in (["exec", "pp", "true"], ["pause", "pp"], ["rm", "pp"], ["start", "pp"]):
        result = product.attempt(*words)
        assert result.code != 0
        assert "paused" in result.err
    assert product.run("logs", "--tail=1", "pp").out == count
    assert [Path(f"/proc/{pid}/stat").read_text().split()[13] for pid in pids] == before
    assert product.run("unpause", "pp").out == "pp\n"
    wait_for_output(product, "pp", int(count))
    assert "only a paused" in product.fail(1, "unpause", "pp").err


def test_paused_container_can_be_stopped_killed_and_removed(product: Product, busybox: str) -> None:
    trap = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    for name in ("stopped", "killed", "removed"):
        product.run(*DETACHED, "--init", f"--name={name}", busybox, "sh", "-c", trap)
        while not product.run("logs", name).out:
            pass
    product.run("pause", "stopped", "killed", "removed")
    product.run("stop", "stopped")
    assert product.run("wait", "stopped").out == "7\n"
    product.run("kill", "killed")
    assert product.run("wait", "killed").out == "137\n"
    product.run("rm", "-f", "removed")
    assert status(product, "stopped") == status(product, "killed") == "exited"
    result = product.fail(1, "pause", "stopped", "gone")
    assert "exited" in result.err
    assert "gone" in result.err
