"""`system df`, `system prune` and `system check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layer, Layout, busybox_layer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product

OFFLINE = "--network=none"


@pytest.fixture
def store(fresh_product: Product, tmp_path: Path) -> Product:
    """An empty store with two images that share a layer: localhost/base:1 and localhost/more:1."""
    layout = Layout(tmp_path / "images")
    base = busybox_layer()
    layout.image("localhost/base:1", [base], config={"Cmd": ["true"]})
    layout.image("localhost/more:1", [base, Layer().file("more", b"m" * 5000)], config={"Cmd": ["true"]})
    for name in ("localhost/base:1", "localhost/more:1"):
        fresh_product.run("pull", "-q", f"oci:{layout.path}:{name}")
    return fresh_product


def shares(product: Product) -> dict[str, list[str]]:
    form = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}"
    return {
        line.split("|")[0]: line.split("|")[1:]
        for line in product.run("system", "df", "--format", form).lines
    }


def test_disk_usage_tells_what_is_used_and_what_is_not(store: Product) -> None:
    store.run(
        "run", OFFLINE, "--name=user", "-v", "/anonymous", "localhost/base:1", "sh", "-c", "echo abc >/x"
    )
    store.run("run", OFFLINE, "--rm", "-v", "free:/v", "localhost/base:1", "sh", "-c", "echo 12345 >/v/x")
    found = shares(store)
    assert found["Images"][:2] == ["2", "1"]
    assert found["Containers"][:2] == ["1", "0"]
    assert found["Local Volumes"] == ["2", "1", "6B", "6B (100%)"]
    assert found["Build Cache"] == ["0", "0", "0B", "0B"]
    told = json.loads(store.run("system", "df", "-v", "--format=json").out)
    more = next(image for image in told["Images"] if image["Repository"] == "localhost/more")
    assert (more["UniqueSize"], more["Containers"]) == ("10.2kB", "0")
    assert told["Images"][0]["SharedSize"] == told["Images"][1]["SharedSize"] != "0B"
    assert [(v["Name"], v["Links"]) for v in told["Volumes"] if v["Name"] == "free"] == [("free", "0")]
    assert "Containers space usage:" in store.run("system", "df", "-v").out


def test_prune_takes_what_nobody_uses(store: Product) -> None:
    container = store.run("create", "-v", "/data", "localhost/more:1").out.strip()
    store.run("volume", "create", "named")
    asked = store.run("system", "prune", "-a", "--volumes", input="n\n").out
    for doomed in ("stopped containers", "anonymous volumes", "images without at least one container"):
        assert f"  - all {doomed}" in asked
    assert store.run("system", "prune", "-f", "--filter=label=x").lines == ["Total reclaimed space: 0B"]
    first = store.run("system", "prune", "-f").lines
    assert first[:2] == ["Deleted Containers:", container]
    assert "Deleted Images:" not in first
    second = store.run("system", "prune", "-af", "--volumes").lines
    assert second[0] == "Deleted Volumes:"
    assert "untagged: localhost/more:1" in second
    assert second[-1].startswith("Total reclaimed space: ")
    assert shares(store)["Images"] == ["0", "0", "0B", "0B"]
    assert store.run("volume", "ls", "-q").out == "named\n"
    assert "until" in store.fail(125, "system", "prune", "--volumes", "--filter=until=1h").err
