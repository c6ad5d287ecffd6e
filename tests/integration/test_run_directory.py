"""The run directory while containers live: removed at a logout, made by somebody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless.errors import HostUnsupported
from rootless.paths import ensure_private_directory
from tests.helpers.processes import wait_for

if TYPE_CHECKING:
    from tests.helpers.product import Product

DETACHED = ("run", "-d", "--network=none")
EARS = 'trap "exit 3" TERM; echo ready; while :; do sleep 0.05; done'


def state(product: Product, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(product.run("inspect", "--format", "{{json .State}}", name).out)
    return found


def end_first_process(product: Product, name: str) -> None:
    """Kill the container from outside: its policy starts it again."""
    os.kill(int(str(state(product, name)["Pid"])), signal.SIGKILL)


def log_out(product: Product) -> None:
    """Remove what lies in $XDG_RUNTIME_DIR."""
    shutil.rmtree(product.runtime / "rootless", ignore_errors=True)


def test_containers_outlive_the_run_directory(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=ears", busybox, "sh", "-c", EARS)
    product.run(*DETACHED, "--name=ever", "--restart=always", busybox, "sleep", "1000")
    wait_for(lambda: "ready" in product.run("logs", "ears").out)
    log_out(product)
    assert sorted(product.run("ps", "--format={{.Names}}").lines) == ["ears", "ever"]
    assert product.run("exec", "ears", "echo", "hi").out == "hi\n"
    log_out(product)
    assert "rootless restart ever" in product.fail(1, "attach", "--no-stdin", "ever").err
    product.run("stop", "ears")
    assert state(product, "ears")["ExitCode"] == 3
    assert state(product, "ears")["Error"] == ""
    log_out(product)
    end_first_process(product, "ever")
    wait_for(lambda: list((product.runtime / "rootless").glob("store-*/run/*/monitor.sock")))


def test_container_that_backs_off_unheard_is_stopped(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=bouncing", "--restart=always", busybox, "false")
    wait_for(lambda: state(product, "bouncing")["Status"] == "restarting")
    for path in (product.runtime / "rootless").glob("store-*/run/*/monitor.sock"):
        path.unlink()
    product.run("stop", "bouncing")
    wait_for(lambda: state(product, "bouncing")["Status"] == "exited")
    product.run("rm", "bouncing")


def test_monitor_outlives_the_login_that_started_it(fresh_product: Product, busybox_ref: str) -> None:
    """A logout removes all of $XDG_RUNTIME_DIR; commands use another run directory from then on."""
    product = fresh_product
    command = (*DETACHED, "-q", "--name=ever", "--restart=always", busybox_ref, "sleep", "1000")
    container_id = product.run(*command).out.strip()
    first = state(product, "ever")["Pid"]
    shutil.rmtree(product.runtime)
    elsewhere = Path(f"/tmp/rootless-{os.geteuid()}")
    end_first_process(product, "ever")
    wait_for(lambda: state(product, "ever")["Pid"] not in (0, first))
    product.run("stop", "-t0", "ever")
    assert state(product, "ever")["ExitCode"] == 137
    product.run("start", "ever")
    product.run("rm", "-f", "ever")
    assert not list(elsewhere.glob(f"store-*/run/{container_id[:24]}"))


def test_run_directory_that_others_may_enter_is_refused(product: Product, busybox: str) -> None:
    product.run(*DETACHED, "--name=safe", busybox, "sleep", "1000")
    directory = product.runtime / "rootless"
    directory.chmod(0o777)
    try:
        result = product.fail(1, "rm", "-f", "safe")
        assert "not a private directory of this user" in result.err
        assert product.fail(125, "run", busybox).err == result.err
    finally:
        directory.chmod(0o700)
    product.run("rm", "-f", "safe")


def test_run_directory_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(HostUnsupported):
        ensure_private_directory(str(tmp_path / "link"))
