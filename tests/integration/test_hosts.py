"""The same `run` on hosts that lack something, for both kinds of user."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hosts import simulated_host
from tests.helpers.product import QUICK, make_product

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.helpers.product import Product

pytestmark = pytest.mark.root
USERS = ["rl-ranges", "rl-single"]


@contextmanager
def product_on(
    user: str,
    *,
    without: Sequence[str] = (),
    filesystems: Mapping[str, str] | None = None,
    root: str = "",
) -> Iterator[Product]:
    """Simulate a host and yield the product of a user on it; BASE in paths is the user's directory."""
    account = pwd.getpwnam(user)
    base = Path(tempfile.mkdtemp(prefix="rlt-", dir="/tmp"))
    product = make_product(base / "p", root=root.replace("BASE", str(base)))
    for path in (base, base / "p", product.home, product.runtime):
        os.chown(path, account.pw_uid, account.pw_gid)
    places = {path.replace("BASE", str(base)): kind for path, kind in (filesystems or {}).items()}
    with simulated_host(user, without=without, filesystems=places) as host:
        product.wrap = lambda command: host.argv(*command)
        yield product
        product.remove()


def assert_runs(product: Product, image: str) -> str:
    """Run a container as anybody would; return what the engine said on stderr."""
    script = "id; cat /etc/passwd | head -n1; echo made > /tmp/x; cat /tmp/x"
    result = product.run("run", "--rm", image, "sh", "-c", script)
    assert result.lines == ["uid=0(root) gid=0(root) groups=0(root)", "root:x:0:0:root:/root:/bin/sh", "made"]
    return result.err


@pytest.mark.parametrize("user", USERS)
def test_host_without_newuidmap(user: str, busybox_ref: str) -> None:
    with product_on(user, without=["newuidmap"]) as product:
        assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
def test_host_where_newuidmap_has_lost_its_set_id_bit(user: str, busybox_ref: str) -> None:
    with product_on(user, without=["newuidmap-suid"]) as product:
        assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
def test_host_without_new_privileges(user: str, busybox_ref: str) -> None:
    with product_on(user, without=["new-privileges"]) as product:
        assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
def test_host_without_fuse_and_tun_says_that_the_network_is_the_hosts(user: str, busybox_ref: str) -> None:
    with product_on(user, without=["fuse", "tun"]) as product:
        assert "network" in assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
def test_host_without_network_programs(user: str, busybox_ref: str) -> None:
    with product_on(user, without=["pasta", "passt", "slirp4netns"]) as product:
        assert "network" in assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("kind", ["tmpfs:512m", "ramfs", "overlay"])
def test_store_on_other_file_systems(user: str, kind: str, busybox_ref: str) -> None:
    with product_on(user, filesystems={"BASE/store": kind}, root="BASE/store") as product:
        assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
def test_store_where_neither_overlay_nor_fuse_works(user: str, busybox_ref: str) -> None:
    places = {"BASE/store": "overlay"}
    with product_on(user, without=["fuse"], filesystems=places, root="BASE/store") as product:
        assert_runs(product, busybox_ref)
        assert_runs(product, busybox_ref)


@pytest.mark.parametrize("user", USERS)
def test_home_is_read_only_and_root_is_elsewhere(user: str, busybox_ref: str) -> None:
    with product_on(user, filesystems={"BASE/p/home": "readonly"}, root="BASE/p/elsewhere") as product:
        assert_runs(product, busybox_ref)
    with product_on(user, filesystems={"BASE/p/home": "readonly"}) as product:
        result = product.fail(125, *QUICK, busybox_ref, "true")
        assert "--root" in result.err


@pytest.mark.parametrize("user", USERS)
def test_full_disk_is_a_clear_error_and_nothing_is_half_made(user: str, debian_ref: str) -> None:
    with product_on(user, filesystems={"BASE/store": "tmpfs:600m"}, root="BASE/store") as product:
        product.run("images")
        ballast = f"{product.store}/ballast"
        fill = product.wrap(["dd", "if=/dev/zero", f"of={ballast}", "bs=1M", "count=536", "status=none"])
        run_here(fill)
        result = product.attempt("pull", "-q", debian_ref, timeout=120)
        assert result.code != 0
        assert "No space left" in result.err
        assert "debian" in result.err
        assert product.run("images", "-q").out == ""
        left = run_here(product.wrap(["sh", "-c", f"ls {product.store}/snapshots/* 2>/dev/null; exit 0"]))
        assert "tmp-" not in left
        run_here(product.wrap(["rm", ballast]))
        product.run("pull", "-q", debian_ref, timeout=120)
        assert product.run(*QUICK, debian_ref, "cat", "/etc/debian_version").out.startswith("12")


@pytest.mark.parametrize("user", USERS)
def test_disk_that_fills_up_under_a_container_hurts_only_it(user: str, busybox_ref: str) -> None:
    with product_on(user, filesystems={"BASE/store": "tmpfs:32m"}, root="BASE/store") as product:
        script = "dd if=/dev/zero of=/big bs=1M count=100 2>/dev/null; echo tried"
        run = ("run", "--network=none", "--name=full", busybox_ref)
        assert product.run(*run, "sh", "-c", script).out == "tried\n"
        logs = product.run("logs", "full")
        assert logs.out == ""
        assert re.fullmatch(r"notice: \d+ bytes of this log are lost: the disk was full\n", logs.err)
        product.run("rm", "full")
        assert product.run(*QUICK, busybox_ref, "echo", "again").out == "again\n"


@pytest.mark.parametrize("user", USERS)
def test_run_on_a_full_disk_is_a_clear_error_until_space_is_freed(user: str, busybox_ref: str) -> None:
    with product_on(user, filesystems={"BASE/store": "tmpfs:32m"}, root="BASE/store") as product:
        product.run("pull", "-q", busybox_ref)
        ballast = f"{product.store}/ballast"
        run_here(product.wrap(["sh", "-c", f"dd if=/dev/zero of={ballast} bs=4k 2>/dev/null; exit 0"]))
        result = product.fail(125, *QUICK, busybox_ref, "true")
        assert "No space left" in result.err
        assert str(product.store) in result.err
        assert product.containers() == []
        run_here(product.wrap(["rm", ballast]))
        assert product.run(*QUICK, busybox_ref, "echo", "again").out == "again\n"


@pytest.mark.parametrize("user", USERS)
def test_load_commit_and_packing_anew_on_a_full_disk_leave_nothing(user: str, busybox_ref: str) -> None:
    with product_on(user, filesystems={"BASE/store": "tmpfs:64m"}, root="BASE/store") as product:
        product.run("pull", "-q", busybox_ref)
        script = "head -c 4000000 /dev/urandom >/big"
        product.run("run", "--network=none", "--name=made", busybox_ref, "sh", "-c", script)
        product.run("commit", "made", "localhost/made:1")
        archive, ballast = f"{product.home}/made.tar", f"{product.store}/ballast"
        product.run("save", "-o", archive, "localhost/made:1")
        product.run("rmi", "localhost/made:1")
        images = product.run("images", "-aq").out
        run_here(product.wrap(["sh", "-c", f"dd if=/dev/zero of={ballast} bs=4k 2>/dev/null; exit 0"]))
        for words in (
            ("load", "-i", archive),
            ("commit", "made", "localhost/made:2"),
            ("push", "--compression=zstd", busybox_ref),
        ):
            result = product.fail(1, *words)
            assert "No space left" in result.err, str(result)
            assert "a bug" not in result.err, str(result)
        assert product.run("images", "-aq").out == images
        run_here(product.wrap(["rm", ballast]))
        product.run("system", "check")
        product.run("load", "-i", archive)
        assert product.run(*QUICK, "localhost/made:1", "wc", "-c", "/big").out == "4000000 /big\n"


@pytest.mark.parametrize("user", USERS)
def test_host_without_user_namespaces_is_told_what_to_do(user: str, busybox_ref: str) -> None:
    with product_on(user, without=["userns"]) as product:
        result = product.attempt(*QUICK, busybox_ref, "id", "-u")
        if result.code:  # a mode without namespaces would be as good
            assert result.code == 125
            assert "hint:" in result.err


def run_here(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
