"""Many commands at once on one store: all succeed, and share what they can."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.helpers.images import Layer, Layout, busybox_layer
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry


def at_once(product: Product, commands: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    """Start all commands, wait for all; return exit code, output and errors of each."""
    processes = [product.start(*words) for words in commands]
    results = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        results.append((process.returncode, out.decode(), err.decode()))
    return results


def test_twenty_containers_start_at_once(product: Product, busybox: str) -> None:
    product.run(*QUICK, busybox, "true")  # hears what is told once a boot
    commands = [(*QUICK, busybox, "sh", "-c", f"echo {n}; exit {n}") for n in range(20)]
    assert at_once(product, commands) == [(n, f"{n}\n", "") for n in range(20)]
    assert product.containers() == []


def test_first_containers_of_a_fresh_boot_start_at_once(fresh_product: Product, busybox_ref: str) -> None:
    """Nothing is there yet: host facts, namespace holder, image; everybody wants to make them."""
    commands = [(*QUICK, busybox_ref, "echo", str(n)) for n in range(6)]
    results = at_once(fresh_product, commands)
    assert [(code, out) for code, out, _ in results] == [(0, f"{n}\n") for n in range(6)], results


def test_eight_pulls_that_share_layers(fresh_product: Product, registry: Registry, tmp_path: Path) -> None:
    randomness = random.Random(1)
    shared: list[Layer] = [busybox_layer()]
    for number in range(3):
        layer = Layer().directory(f"shared{number}")
        for file in range(200):
            layer.file(f"shared{number}/{file}", randomness.randbytes(3000))
        shared.append(layer)
    layout = Layout(tmp_path / "layout")
    names = []
    for number in range(8):
        layout.image(f"v{number}", [*shared, Layer().file("version", f"{number}\n".encode())])
        names.append(layout.push(f"v{number}", f"{registry.address}/shared:v{number}"))
    results = at_once(fresh_product, [("pull", "-q", name) for name in names])
    assert [code for code, _, _ in results] == [0] * 8, results
    for number, name in enumerate(names):
        script = "cat version; cat shared?/* | wc -c"
        expected = [str(number), str(3 * 200 * 3000)]
        assert fresh_product.run(*QUICK, "--pull=never", name, "sh", "-c", script).lines == expected
    blobs = list((fresh_product.store / "blobs/sha256").iterdir())
    assert len(blobs) == 4 + 8 + 8 + 8  # shared layers, own layers, configs, manifests


def test_exec_sessions_at_once(product: Product, busybox: str) -> None:
    container = product.run("run", "-d", "--network=none", busybox, "sleep", "1000").out.strip()
    results = at_once(product, [("exec", container, "echo", str(n)) for n in range(10)])
    assert results == [(0, f"{n}\n", "") for n in range(10)]


def test_name_is_given_to_one_of_many(product: Product, busybox: str) -> None:
    commands = [("run", "--network=none", "--name=wanted", busybox, "true")] * 8
    codes = sorted(code for code, _, _ in at_once(product, commands))
    assert codes == [0] + [125] * 7
    assert len(product.containers()) == 1
