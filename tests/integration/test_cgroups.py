"""Containers on hosts that give their users a part of cgroup 2, for both kinds of user."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hosts import simulated_host
from tests.helpers.product import make_product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.hosts import Host
    from tests.helpers.product import Product

pytestmark = pytest.mark.root
USERS = ["rl-ranges", "rl-single"]
BUSY = ["run", "-d", "--network=none"]
CONTROLLERS = """\
import os
from rootless.linux import cgroups as files
from rootless.runtime import cgroups
own = files.own_directory()
available = files.parse_words(files.read_text(own, "cgroup.controllers"))
cgroups.CONTROLLERS = tuple(available)
made = cgroups.make(cgroups.find_home(), "c" * 64)
assert available and made.controllers == available, (available, made.controllers)
assert files.own_directory() == own + "/rootless-engine", files.own_directory()
again = cgroups.make(cgroups.find_home(), "d" * 64)
assert os.path.dirname(again.path) == os.path.dirname(made.path) == own
made.remove(), again.remove()
"""


@contextmanager
def product_in(user: str, place: str) -> Iterator[tuple[Product, Host]]:
    """Yield the product of a user whose commands run in the cgroup `place` of his part of the tree."""
    account = pwd.getpwnam(user)
    base = Path(tempfile.mkdtemp(prefix="rlt-", dir="/tmp"))
    product = make_product(base / "p")
    for path in (base, base / "p", product.home, product.runtime):
        os.chown(path, account.pw_uid, account.pw_gid)
    with simulated_host(user, cgroup=place) as host:
        product.wrap = lambda command: host.argv(*command)
        yield product, host
        product.remove()


def children(host: Host) -> list[str]:
    """Return the cgroups that were made in the user's part."""
    found = subprocess.run(host.argv("ls", "-F", host.cgroup), check=True, capture_output=True, text=True)
    return [line[:-1] for line in found.stdout.split() if line.endswith("/") and line != "leaf/"]


def read(host: Host, path: str) -> str:
    return subprocess.run(host.argv("cat", path), check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("place", ["own", "leaf"])
@pytest.mark.parametrize("user", USERS)
def test_container_lives_in_a_cgroup_of_its_own(user: str, place: str, busybox_ref: str) -> None:
    with product_in(user, place) as (product, host):
        loop = "sleep 50 & echo made; while :; do :; done"
        result = product.run(*BUSY, "--name=one", "--cpus=1", busybox_ref, "sh", "-c", loop)
        name = f"rootless-{result.lines[-1]}"
        cgroup = f"{host.cgroup}/{name}"
        controllers = read(host, f"{cgroup}/cgroup.controllers").split()
        assert ("--cpus" in result.err) == ("cpu" not in controllers)
        assert name in children(host)
        shown = "grep ^0:: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs"
        inside = product.run("exec", "one", "sh", "-c", shown).lines
        assert inside[0] == "0::/"
        assert inside[1] == "1"
        assert len(read(host, f"{cgroup}/cgroup.procs").split()) == 2
        product.run("pause", "one")
        assert read(host, f"{cgroup}/cgroup.freeze") == "1\n"
        assert "frozen 1" in read(host, f"{cgroup}/cgroup.events")
        used = read(host, f"{cgroup}/cpu.stat").split()[1]
        assert "0.00%" in product.run("stats", "--no-stream", "one").out
        assert read(host, f"{cgroup}/cpu.stat").split()[1] == used
        product.run("unpause", "one")
        assert "frozen 0" in read(host, f"{cgroup}/cgroup.events")
        product.run("pause", "one")
        product.run("stop", "-t=0", "one")
        assert name not in children(host)


@pytest.mark.parametrize("user", USERS)
def test_cgroup_of_a_killed_monitor_goes_with_its_container(user: str, busybox_ref: str) -> None:
    with product_in(user, "leaf") as (product, host):
        kept = product.run(*BUSY, "--name=kept", busybox_ref, "sleep", "50").lines[-1]
        gone = product.run(*BUSY, "--rm", "--name=gone", busybox_ref, "sleep", "50").lines[-1]
        assert {f"rootless-{kept}", f"rootless-{gone}"} <= set(children(host))
        for name in ("kept", "gone"):
            pid = product.run("inspect", "--format={{.State.Pid}}", name).out.strip()
            monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            subprocess.run(host.argv("kill", "-9", monitor), check=True)
        product.run("wait", "kept")
        product.run("start", "kept")
        assert [name for name in children(host) if name != "rootless-engine"] == [f"rootless-{kept}"]
        product.run("rm", "-f", "kept")
        assert [name for name in children(host) if name != "rootless-engine"] == []


def test_processes_move_into_a_leaf_when_controllers_are_handed_down() -> None:
    with simulated_host(USERS[1], cgroup="own") as host:
        if not read(host, f"{host.cgroup}/cgroup.controllers").split():
            pytest.skip("no controller of this host is free for version 2")
        result = host.run(sys.executable, "-c", CONTROLLERS)
        assert result.returncode == 0, result.stderr
