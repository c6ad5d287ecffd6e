"""`events`: what happens is told in its order, as it happens, and afterwards."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.images import Layout, busybox_layer
from tests.helpers.product import QUICK

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.product import Product


def now() -> str:
    return f"{time.time():.9f}"


def read(process: subprocess.Popen[bytes], last: str) -> list[dict[str, Any]]:
    """Read events up to one with an action."""
    found: list[dict[str, Any]] = []
    assert process.stdout is not None
    while not found or found[-1]["Action"] != last:
        line = process.stdout.readline()
        assert line, f"it ended before {last}: {found}"
        found.append(json.loads(line))
    return found


@pytest.fixture
def follower(product: Product, busybox: str) -> Iterator[subprocess.Popen[bytes]]:
    """`events` of a container called `told`, and all volumes, from now on."""
    words = ("--format", "json", "--since", now(), "-f", "type=container", "-f", "type=volume")
    with product.start("events", *words) as process:
        yield process
        process.kill()


def test_life_of_a_container_is_told_as_it_happens(
    product: Product, busybox: str, follower: subprocess.Popen[bytes]
) -> None:
    words = ("--network=none", "--name=told", "--label=tier=front", "-v", "/data")
    container = product.run("run", "-d", *words, busybox, "sleep", "1000").out.strip()
    first = read(follower, "start")
    assert {e["Action"] for e in first if e["Type"] == "volume"} == {"create", "mount"}
    assert [e["Action"] for e in first if e["Type"] == "container"] == ["create", "start"]
    assert first[-1]["Actor"]["ID"] == container
    assert first[-1]["Actor"]["Attributes"] == {"image": busybox, "name": "told", "tier": "front"}

    product.fail(3, "exec", "told", "sh", "-c", "exit 3")
    ran = read(follower, "exec_die")
    assert [e["Action"] for e in ran] == [
        "exec_create: sh -c exit 3",
        "exec_start: sh -c exit 3",
        "exec_die",
    ]
    assert len({e["Actor"]["Attributes"]["execID"] for e in ran}) == 1
    assert ran[-1]["Actor"]["Attributes"]["exitCode"] == "3"

    product.run("rename", "told", "renamed")
    assert read(follower, "rename")[-1]["Actor"]["Attributes"]["oldName"] == "/told"
    product.run("rm", "-f", "-v", "renamed")
    last = read(follower, "destroy")
    assert [e["Action"] for e in last] == ["kill", "die", "unmount", "destroy"]
    assert last[0]["Actor"]["Attributes"]["signal"] == "9"
    died = next(e for e in last if e["Action"] == "die")
    assert died["Actor"]["Attributes"]["exitCode"] == "137"
    assert [e["Type"] for e in read(follower, "destroy")] == ["volume"]


def test_past_is_told_and_then_it_ends(product: Product, busybox: str) -> None:
    since = now()
    product.fail(7, *QUICK, "--name=brief", busybox, "sh", "-c", "exit 7")
    shown = product.run("events", "--since", since, "--until", "0s", "-f", "container=brief")
    words = [line.split()[2] for line in shown.lines]
    assert words[:3] == ["create", "attach", "start"]
    assert words[-1] == "destroy"
    died = next(line for line in shown.lines if " die " in line)
    assert f"(exitCode=7, image={busybox}, name=brief)" in died
    assert "tier" not in product.run("system", "events", "--until", since, "-f", "container=brief").out


def test_images_are_told_of(fresh_product: Product, busybox_ref: str) -> None:
    fresh_product.run("pull", "-q", busybox_ref)
    fresh_product.run("rmi", busybox_ref)
    shown = fresh_product.run("events", "--until", "0s", "--format", "{{.Type}} {{.Action}}").lines
    assert shown == ["image pull", "image untag", "image delete"]


def test_events_of_an_image_tell_its_labels(fresh_product: Product, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "labelled")
    layout.image("localhost/labelled:1", [busybox_layer()], config={"Labels": {"tier": "db"}})
    fresh_product.run("pull", "-q", f"oci:{layout.path}:localhost/labelled:1")
    fresh_product.run("tag", "localhost/labelled:1", "localhost/labelled:2")
    fresh_product.run("rmi", "localhost/labelled:2", "localhost/labelled:1")
    form = "{{.Action}} {{.Actor.Attributes.tier}} {{.Actor.Attributes.name}}"
    filters = ("--filter", "label=tier=db")
    shown = fresh_product.run("events", "--until", "0s", "--format", form, *filters).lines
    assert shown == [
        "pull db localhost/labelled",
        "tag db localhost/labelled:2",
        "untag db localhost/labelled:2",
        "untag db localhost/labelled:1",
    ]


def test_end_to_come_is_waited_for(product: Product, busybox: str) -> None:
    began = time.time()
    product.run("events", "--until", f"{began + 1:.3f}")
    assert time.time() > began + 1


def test_follower_ends_by_a_signal_and_by_a_closed_pipe(product: Product, busybox: str) -> None:
    since = now()
    product.run("volume", "create", "noted")
    with product.start("events", "--since", since) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"")
    with product.start("events", "--since", since) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        product.run("volume", "rm", "noted")
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


def test_read_only_and_missing_journal_stop_nothing(fresh_product: Product, busybox_ref: str) -> None:
    product = fresh_product
    product.run("pull", "-q", busybox_ref)
    journal = product.store / "events.jsonl"
    journal.chmod(0o400)
    product.run(*QUICK, busybox_ref, "true")
    journal.unlink()
    journal.mkdir()
    product.run(*QUICK, busybox_ref, "true")
    journal.rmdir()
    product.run("volume", "create", "data")
    shown = product.run("events", "--until", "0s", "--format", "{{.Action}}")
    assert shown.out == "create\n"


def actions_of(product: Product, name: str) -> list[str]:
    words = ("--since=1h", "--until=0s", f"--filter=container={name}", "--format={{.Action}}")
    return product.run("events", *words).lines


def test_stop_tells_its_signals(product: Product, busybox: str) -> None:
    product.run("run", "-d", "--network=none", "--name=signalled", busybox, "sleep", "1000")
    product.run("restart", "-t0", "signalled")
    told = ["kill", "kill", "die", "stop", "start", "restart"]
    assert actions_of(product, "signalled") == ["create", "start", *told]


def test_windows_are_told_when_they_open_and_are_left(product: Product, busybox: str) -> None:
    with product.terminal("run", "-it", "--network=none", "--name=seen", busybox, "sh") as terminal:
        terminal.expect("# ")
        terminal.type("\x10\x11")
        assert terminal.wait()[0] == 0
    with product.terminal("attach", "seen") as terminal:
        terminal.expect("# ")
        terminal.type("exit\n")
        assert terminal.wait()[0] == 0
    told = ["create", "attach", "start", "detach", "attach", "die"]
    assert [action for action in actions_of(product, "seen") if action != "resize"] == told
