"""kill -9 at random moments of what makes, moves and removes images: nothing that was told is lost."""

from __future__ import annotations

import random
import tarfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.killing import bad_blobs, duration, kill_after
from tests.helpers.product import QUICK, copy_store, make_product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

    Interrupt = Callable[["Trial", int], None]

BASE = "localhost/base:1"
COUNT = "head -c 8000000 /dev/urandom >/big; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
FILES = "cat /data?/* | md5sum"


@pytest.fixture(scope="module")
def template(short_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A store with an image of several layers."""
    dice = random.Random(1)
    layers = [busybox_layer()]
    for number in range(4):
        layer = Layer().directory(f"data{number}")
        for file in range(50):
            layer.file(f"data{number}/{file}", dice.randbytes(8000))
        layers.append(layer)
    layout = Layout(tmp_path_factory.mktemp("killed") / "layout")
    layout.image(BASE, layers, config={"Cmd": ["true"]})
    product = make_product(short_directory / "killed")
    product.run("pull", "-q", f"oci:{layout.path}:{BASE}")
    product.run(*QUICK, BASE)
    yield product
    product.remove()


class Trial:
    """What each test kills in: a store with the image, a directory and a registry of its own."""

    def __init__(self, product: Product, directory: Path, registry: Registry) -> None:
        self.product = product
        self.directory = directory
        self.registry = registry
        self.dice = random.Random(directory.name)
        self.sum = product.run(*QUICK, BASE, "sh", "-c", FILES).out

    def kill(self, whole: float, *words: str, turn: int) -> bool:
        """Kill a command somewhere in the time that it takes; True when it was faster."""
        return kill_after(self.product, self.dice.uniform(0.05, whole), *words, group=bool(turn % 2)) == 0

    def assert_whole(self, *images: str) -> None:
        """Nothing is wrong that a repair does not mend, and these images are as they were."""
        assert bad_blobs(self.product) == []
        checked = self.product.attempt("system", "check")
        if checked.code:
            self.product.run("system", "check", "--repair")
            self.product.run("system", "check")
        for image in images:
            assert self.product.run(*QUICK, image, "sh", "-c", FILES).out == self.sum


@pytest.fixture
def trial(fresh_product: Product, template: Product, registry: Registry, tmp_path: Path) -> Trial:
    copy_store(template, fresh_product)
    return Trial(fresh_product, tmp_path, registry)


def interrupt_load(trial: Trial, moments: int) -> None:
    product, archive = trial.product, str(trial.directory / "saved.tar")
    product.run("save", "-o", archive, BASE)
    product.run("rmi", BASE)
    whole = duration(product, "load", "-q", "-i", archive)
    for turn in range(moments):
        product.run("rmi", BASE)
        if trial.kill(whole, "load", "-q", "-i", archive, turn=turn):
            trial.assert_whole(BASE)
        else:
            trial.assert_whole()
        product.run("load", "-q", "-i", archive)
        trial.assert_whole(BASE)


def interrupt_commit(trial: Trial, moments: int) -> None:
    product = trial.product
    product.run("run", "-d", "--network=none", "--name=busy", BASE, "sh", "-c", COUNT)
    while not product.run("logs", "busy").out:
        pass
    whole = duration(product, "commit", "busy", "localhost/made:0")
    for turn in range(moments):
        done = trial.kill(whole, "commit", "busy", f"localhost/made:{turn + 1}", turn=turn)
        assert wait_until(
            lambda: product.run("inspect", "-f", "{{.State.Status}}", "busy").out == "running\n"
        )
        trial.assert_whole(BASE, "localhost/made:0", *([f"localhost/made:{turn + 1}"] if done else ()))
    product.run("commit", "busy", "localhost/made:last")
    trial.assert_whole("localhost/made:last")


def interrupt_push(trial: Trial, moments: int) -> None:
    product = trial.product
    for turn in range(moments + 1):
        image = f"{trial.registry.address}/killed-{trial.directory.name.replace('_', '-')}-{turn}:1"
        product.run("tag", BASE, image)
        if not turn:
            whole = duration(product, "push", "-q", image)
            continue
        trial.kill(whole, "push", "-q", image, turn=turn)
        trial.assert_whole(BASE)
        product.run("push", "-q", image)
        copy = Layout(trial.directory / f"there{turn}")
        product.run("copy", f"docker://{image}", f"oci:{copy.path}:x")  # verifies every byte
        product.run("rmi", image)
    assert [path for path in product.runtime.rglob("uploads/*") if path.stat().st_size] == []


def interrupt_prune(trial: Trial, moments: int) -> None:
    product = trial.product
    archive = trial.directory / "files.tar"
    for turn, verb in zip(range(moments), ("image", "system") * moments, strict=False):
        for number in range(4):
            with tarfile.open(archive, "w") as tar:
                info = tarfile.TarInfo(f"f{turn}-{number}")
                tar.addfile(info)
            product.run("import", str(archive))
        trial.kill(0.25, verb, "prune", "-f", turn=turn)
        trial.assert_whole(BASE)
    product.run("image", "prune", "-f")
    assert product.run("images", "-aq").lines == product.run("images", "-q", BASE).lines
    trial.assert_whole(BASE)


def interrupt_copy(trial: Trial, moments: int) -> None:
    product = trial.product
    image = f"{trial.registry.address}/killed-copy:1"
    product.run("tag", BASE, image)
    product.run("push", "-q", image)
    product.run("rmi", image)
    for turn in range(moments):
        target = str(trial.directory / str(turn))
        kinds = (
            f"oci:{target}",
            f"oci-archive:{target}.tar",
            f"docker-archive:{target}.tar",
            f"dir:{target}",
        )
        kind = kinds[turn % len(kinds)]
        done = trial.kill(0.4, "copy", f"docker://{image}", kind, turn=turn)
        archives = list(trial.directory.glob("*.tar"))
        if not done:
            assert [path for path in archives if path.name == f"{turn}.tar"] == [], "whole, or not there"
        product.run("copy", f"docker://{image}", kind)
        product.run("rmi", BASE)
        copied = product.run("pull", "-q", kind).out.strip()
        product.run("tag", copied, BASE)
        trial.assert_whole(BASE)
        assert {path.name.partition(".")[0] for path in trial.directory.iterdir()} <= set(
            map(str, range(turn + 1))
        ), "nothing half-made is left beside"


def wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


CASES = (interrupt_load, interrupt_commit, interrupt_push, interrupt_prune, interrupt_copy)


@pytest.mark.parametrize("interrupt", CASES, ids=lambda case: case.__name__.removeprefix("interrupt_"))
def test_killed(trial: Trial, interrupt: Interrupt) -> None:
    interrupt(trial, 1)


@pytest.mark.slow(sampled=False)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("interrupt", CASES, ids=lambda case: case.__name__.removeprefix("interrupt_"))
def test_killed_at_many_moments(trial: Trial, interrupt: Interrupt) -> None:
    interrupt(trial, 20)


def test_container_goes_on_when_the_commit_that_paused_it_is_killed(trial: Trial) -> None:
    product = trial.product
    name = product.run("run", "-d", "--network=none", "--name=busy", BASE, "sh", "-c", COUNT).out.strip()
    while not product.run("logs", "busy").out:
        pass
    record = product.store / "containers" / name / "state.json"
    with product.start("commit", "busy", "localhost/made:1", start_new_session=True) as process:
        assert wait_until(lambda: '"paused"' in record.read_text())
        with suppress(ProcessLookupError):
            process.kill()
        assert process.wait(20) == -9
    assert wait_until(lambda: '"running"' in record.read_text())
    before = product.run("logs", "--tail=1", "busy").out
    assert wait_until(lambda: product.run("logs", "--tail=1", "busy").out != before)
    product.fail(1, "image", "inspect", "localhost/made:1")
