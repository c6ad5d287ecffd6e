"""Health checks: what they run, what they decide, how they end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.images import busybox_layer
from tests.helpers.processes import processes_with, wait_for
from tests.integration.test_lifecycle import detached

if TYPE_CHECKING:
    from tests.helpers.images import Layout
    from tests.helpers.product import Product

OFTEN = ("--health-interval=100ms", "--health-timeout=5s", "--health-retries=2")


def health(product: Product, container: str) -> dict[str, Any]:
    path = product.store / "containers" / container / "health.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def prober(product: Product, container: str) -> int:
    """Return the pid of the process that checks a container, 0 for none."""
    monitor = product.run("inspect", "--format", "{{.State.Pid}}", container).out.strip()
    parent = int(Path(f"/proc/{monitor}/stat").read_text().rpartition(")")[2].split()[1])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next(
        (int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "rootless-health\n"), 0
    )


def test_container_becomes_healthy_unhealthy_and_healthy_again(product: Product, busybox: str) -> None:
    container = detached(
        product, "--health-cmd=cat /state; test -e /ok", *OFTEN, "-e", "WHO=me", busybox, "sleep", "1000"
    )
    assert health(product, container) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    product.run("wait", "--condition=unhealthy", container)
    found = health(product, container)
    assert found["FailingStreak"] >= 2
    assert found["Log"][-1]["ExitCode"] == 1
    assert "cat: can't open '/state'" in found["Log"][-1]["Output"]
    product.run("exec", container, "sh", "-c", "echo fine > /state; touch /ok")
    product.run("wait", "--condition=healthy", container)
    found = health(product, container)
    assert (found["Status"], found["FailingStreak"], found["Log"][-1]["Output"]) == ("healthy", 0, "fine\n")
    assert len(found["Log"]) <= 5
    events = product.run("events", "--since=1m", "--until=0s", "--filter", f"container={container}").out
    assert events.index("health_status: unhealthy") < events.index("health_status: healthy")


def test_check_is_like_exec(product: Product, busybox: str) -> None:
    """The container's user, environment and directory; its confinement; no terminal and no input."""
    check = "pwd; echo $WHO; cat; grep -E '^(CapEff|Seccomp):' /proc/self/status"
    options = ("-e", "WHO=me", "-w", "/var", "--cap-drop=ALL", "-t")
    container = detached(product, f"--health-cmd={check}", *OFTEN, *options, busybox, "sleep", "1000")
    product.run("wait", "--condition=healthy", container)
    output = health(product, container)["Log"][0]["Output"].split("\n")
    assert output == ["/var", "me", "CapEff:\t0000000000000000", "Seccomp:\t2", ""]


def test_image_says_how_it_is_checked(product: Product, busybox_layout: Layout) -> None:
    healthcheck = {"Test": ["CMD", "echo", "from the image"], "Interval": 10**8, "Retries": 1}
    busybox_layout.image(
        "checked", [busybox_layer()], config={"Cmd": ["sleep", "1000"], "Healthcheck": healthcheck}
    )
    image = "localhost/checked"
    product.run("pull", "-q", f"oci:{busybox_layout.path}:checked")
    container = detached(product, image)
    product.run("wait", "--condition=healthy", container)
    assert health(product, container)["Log"][0]["Output"] == "from the image\n"
    unchecked = detached(product, "--no-healthcheck", image)
    assert prober(product, unchecked) == 0
    assert "no health check" in product.fail(1, "wait", "--condition=healthy", unchecked).err


def test_check_that_hangs_is_killed_with_its_children(product: Product, busybox: str) -> None:
    mark = f"sleep 9{os.getpid()}"
    check = f"echo begun; {mark} & setsid {mark} & {mark}"
    container = detached(
        product, f"--health-cmd={check}", "--health-interval=1s", "--health-timeout=300ms",
        "--health-retries=1", busybox, "sleep", "1000",
    )  # fmt: skip
    product.run("wait", "--condition=unhealthy", container)
    result = health(product, container)["Log"][0]
    assert result["ExitCode"] == -1
    assert result["Output"] == "Health check exceeded timeout (0.3s): begun\n"
    wait_for(lambda: not processes_with(mark.replace(" ", "\0")))


def test_checks_that_cannot_run_or_talk_too_much(product: Product, busybox: str) -> None:
    container = detached(
        product,
        "--health-cmd=head -c 100000 /dev/zero | tr '\\0' x; exit 7",
        *OFTEN,
        busybox,
        "sleep",
        "1000",
    )
    product.run("wait", "--condition=unhealthy", container)
    result = health(product, container)["Log"][-1]
    assert (result["ExitCode"], result["Output"]) == (7, "x" * 4096 + "...")


def test_start_period_forgives(product: Product, busybox: str) -> None:
    container = detached(
        product, "--health-cmd=test -e /ok", "--health-interval=100ms", "--health-retries=1",
        "--health-start-period=1h", "--health-start-interval=100ms", busybox, "sleep", "1000",
    )  # fmt: skip
    wait_for(lambda: len(health(product, container)["Log"]) >= 3)
    assert (health(product, container)["Status"], health(product, container)["FailingStreak"]) == (
        "starting",
        0,
    )
    product.run("exec", container, "touch", "/ok")
    product.run("wait", "--condition=healthy", container)


def test_prober_ends_with_its_container_and_with_its_monitor(product: Product, busybox: str) -> None:
    command = ("--health-cmd=true", "--health-interval=1h", busybox, "sleep", "1000")
    container = detached(product, *command)
    first = prober(product, container)
    assert first
    switches = Path(f"/proc/{first}/status").read_text().partition("voluntary_ctxt_switches")[2]
    product.run("exec", container, "true")
    assert Path(f"/proc/{first}/status").read_text().partition("voluntary_ctxt_switches")[2] == switches
    assert not [
        fd for fd in Path(f"/proc/{first}/fd").iterdir() if os.readlink(fd).startswith(("pipe", "socket"))
    ]
    product.run("restart", "-t", "0", container)
    assert not Path(f"/proc/{first}").exists()
    second = prober(product, container)
    os.kill(int(Path(f"/proc/{second}/stat").read_text().rpartition(")")[2].split()[1]), 9)
    wait_for(
        lambda: (
            not Path(f"/proc/{second}").exists() or "(zombie)" in Path(f"/proc/{second}/status").read_text()
        )
    )
    result = product.attempt("wait", "--condition=healthy", container)
    assert "will not become healthy" in result.err


def test_paused_container_is_not_checked(product: Product, busybox: str) -> None:
    container = detached(product, "--health-cmd=true", *OFTEN, busybox, "sleep", "1000")
    product.run("wait", "--condition=healthy", container)
    product.run("pause", container)
    before = health(product, container)
    product.run("unpause", container)
    wait_for(lambda: health(product, container) != before)
    assert health(product, container)["Status"] == "healthy"
