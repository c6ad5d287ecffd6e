"""kill -9 at random moments: the next command works, `ps` tells the truth, nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.killing import bad_blobs, duration, kill_after
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

FILES = 200
MOMENTS = 10
MANY_MOMENTS = 50


@pytest.fixture(scope="module")
def image(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of several layers with enough files that every step of a pull takes a while."""
    randomness = random.Random(1)
    layers: list[Layer] = [busybox_layer()]
    for number in range(5):
        layer = Layer().directory(f"data{number}")
        for file in range(FILES):
            layer.file(f"data{number}/{file}", randomness.randbytes(4000))
        layers.append(layer)
    layout = Layout(tmp_path_factory.mktemp("crash"))
    layout.image("1", layers)
    return layout.push("1", f"{registry.address}/crash:1")


def assert_listing_is_true(product: Product) -> None:
    """Compare what `ps` says with the processes that there are."""
    ids = product.containers()
    for container in json.loads(product.run("inspect", *ids).out) if ids else []:
        state = container["State"]
        alive = state["Pid"] > 0 and Path(f"/proc/{state['Pid']}").exists()
        assert state["Running"] == alive, state
    assert set(product.run("ps", "-q", "--no-trunc").lines) <= set(ids)


def interrupt_pulls(product: Product, image: str, *, seed: int, moments: int) -> None:
    randomness = random.Random(seed)
    whole = duration(product, "pull", "-q", image)
    product.run("rmi", image)
    for number in range(moments):
        kill_after(product, randomness.uniform(0, whole * 1.1), "pull", "-q", image, group=bool(number % 2))
        product.run("images")
        assert bad_blobs(product) == []
        product.run("pull", "-q", image)
        script = "cat /data?/* | wc -c"
        assert product.run(*QUICK, image, "sh", "-c", script).out == f"{5 * FILES * 4000}\n"
        product.run("rmi", image)
        assert product.mounts() == []
    patterns = ("ingest/*.partial", "blobs/sha256/*", "snapshots/*/*")
    assert [path for pattern in patterns for path in product.store.glob(pattern)] == []


def interrupt_runs(product: Product, image: str, *, seed: int, moments: int) -> None:
    randomness = random.Random(seed)
    product.run("pull", "-q", image)
    whole = duration(product, *QUICK, image, "true")
    mark = f"7654{os.getpid()}"
    for number in range(moments):
        moment = randomness.uniform(0, whole * 1.5)
        words = ("run", "--network=none", f"--name=victim{number}", image, "sleep", mark)
        kill_after(product, moment, *words, group=bool(number % 2))
        assert_listing_is_true(product)
        product.run(*QUICK, image, "true")
        product.remove_containers()
        assert product.containers() == []
        assert product.mounts() == []
    deadline = time.monotonic() + 10
    while survivors := [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark in _text(p)]:
        assert time.monotonic() < deadline, survivors
        time.sleep(0.05)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return ""


def test_pull_killed_at_random_moments(fresh_product: Product, image: str) -> None:
    interrupt_pulls(fresh_product, image, seed=1, moments=MOMENTS)


def test_run_killed_at_random_moments(fresh_product: Product, image: str) -> None:
    interrupt_runs(fresh_product, image, seed=2, moments=MOMENTS)


@pytest.mark.slow(sampled=False)
@pytest.mark.timeout(900)
def test_pull_killed_at_many_random_moments(fresh_product: Product, image: str) -> None:
    interrupt_pulls(fresh_product, image, seed=3, moments=MANY_MOMENTS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_run_killed_at_many_random_moments(fresh_product: Product, image: str) -> None:
    interrupt_runs(fresh_product, image, seed=4, moments=MANY_MOMENTS)


def test_killed_monitor_takes_its_container_along_and_is_noticed(product: Product, busybox: str) -> None:
    container = product.run("run", "-d", "--network=none", busybox, "sleep", "1000").out.strip()
    state = json.loads((product.store / "containers" / container / "state.json").read_text())
    os.kill(state["monitor_pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while product.run("ps", "-q").out or Path(f"/proc/{state['pid']}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    product.run("rm", container)
