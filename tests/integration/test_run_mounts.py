"""-v, --mount, --tmpfs, --read-only, --shm-size: what a container sees of other file systems."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.helpers.product import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product


def test_bind_mount_is_the_hosts_directory(product: Product, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    script = "cat /data/in; echo from the container > /data/out"
    assert (
        product.run(*QUICK, "-v", f"{tmp_path}:/data", busybox, "sh", "-c", script).out == "from the host\n"
    )
    assert (tmp_path / "out").read_text() == "from the container\n"
    assert (tmp_path / "out").stat().st_uid == os.geteuid()


def test_read_only_bind_refuses_writes(product: Product, busybox: str, tmp_path: Path) -> None:
    result = product.fail(1, *QUICK, "-v", f"{tmp_path}:/data:ro", busybox, "touch", "/data/x")
    assert "Read-only file system" in result.err
    assert list(tmp_path.iterdir()) == []


def test_read_only_bind_cannot_be_remounted_writable(product: Product, busybox: str, tmp_path: Path) -> None:
    # In its own user namespace a program has every capability; the kernel locks flags of inherited mounts.
    words = ("--security-opt=nesting", "-v", f"{tmp_path}:/data:ro", busybox, "unshare", "-Urm", "sh", "-c")
    result = product.attempt(*QUICK, *words, "mount -o remount,rw,bind /data; touch /data/x")
    assert result.code != 0
    assert list(tmp_path.iterdir()) == []


def test_single_file_can_be_bound(product: Product, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("welcome\n")
    words = ("-v", f"{tmp_path}/motd:/etc/deep/motd:ro")
    assert product.run(*QUICK, *words, busybox, "cat", "/etc/deep/motd").out == "welcome\n"


def test_volume_option_makes_a_missing_source_and_mount_option_refuses(
    product: Product, busybox: str, tmp_path: Path
) -> None:
    product.run(*QUICK, "-v", f"{tmp_path}/made/by/v:/data", busybox, "touch", "/data/x")
    assert (tmp_path / "made/by/v/x").exists()
    words = ("--mount", f"type=bind,source={tmp_path}/missing,target=/data")
    result = product.fail(125, *QUICK, *words, busybox, "true")
    assert f"{tmp_path}/missing" in result.err
    assert not (tmp_path / "missing").exists()


def test_mount_option_binds_read_only(product: Product, busybox: str, tmp_path: Path) -> None:
    words = ("--mount", f"type=bind,src={tmp_path},dst=/data,readonly")
    product.fail(1, *QUICK, *words, busybox, "touch", "/data/x")


def test_named_volume_is_filled_from_the_image_and_persists(product: Product, busybox: str) -> None:
    words = ("-v", "kept:/etc")
    assert "root:x:0:0" in product.run(*QUICK, *words, busybox, "cat", "/etc/passwd").out
    product.run(*QUICK, *words, busybox, "sh", "-c", "echo added > /etc/added")
    assert product.run(*QUICK, "-v", "kept:/somewhere", busybox, "cat", "/somewhere/added").out == "added\n"


def test_volumes_nest_whatever_the_order(product: Product, busybox: str, tmp_path: Path) -> None:
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    words = ("-v", f"{tmp_path}/inner:/data/below", "-v", f"{tmp_path}/outer:/data")
    script = "ls /data/outer /data/below/inner"
    product.run(*QUICK, *words, busybox, "sh", "-c", script)


@pytest.mark.parametrize("target", ["relative", "", "/", "/data/../.."])
def test_impossible_volume_targets_are_refused(product: Product, busybox: str, target: str) -> None:
    product.fail(125, *QUICK, "-v", f"/tmp:{target}", busybox, "true")


def test_target_below_a_link_stays_in_the_container(product: Product, busybox: str, tmp_path: Path) -> None:
    # /usr/sbin of the image is a link to ../bin
    (tmp_path / "tool").write_text("bound\n")
    words = ("-v", f"{tmp_path}:/usr/sbin/extra")
    assert product.run(*QUICK, *words, busybox, "cat", "/bin/extra/tool").out == "bound\n"


def test_tmpfs_has_its_size_and_mode(product: Product, busybox: str) -> None:
    script = "stat -c %a /scratch; stat -f -c '%b %s' /scratch; touch /scratch/x; mount | grep ' /scratch '"
    words = ("--tmpfs", "/scratch:size=1m,mode=1770")
    mode, size, options = product.run(*QUICK, *words, busybox, "sh", "-c", script).lines
    blocks, block_size = map(int, size.split())
    assert (mode, blocks * block_size) == ("1770", 1 << 20)
    assert {"nosuid", "nodev"} <= set(options[options.index("(") + 1 : -1].split(","))


def test_read_only_root_keeps_the_writable_places(product: Product, busybox: str) -> None:
    product.fail(1, *QUICK, "--read-only", busybox, "touch", "/etc/x")
    script = "touch /dev/shm/x && touch /scratch/x && echo fine"
    words = ("--read-only", "--tmpfs", "/scratch")
    assert product.run(*QUICK, *words, busybox, "sh", "-c", script).out == "fine\n"


@pytest.mark.parametrize(("size", "bytes_"), [(None, 64 << 20), ("1m", 1 << 20), ("128m", 128 << 20)])
def test_shm_size(product: Product, busybox: str, size: str | None, bytes_: int) -> None:
    words = (f"--shm-size={size}",) if size else ()
    out = product.run(*QUICK, *words, busybox, "stat", "-f", "-c", "%b %s", "/dev/shm").out
    blocks, block_size = map(int, out.split())
    assert blocks * block_size == bytes_


def test_writes_go_to_the_container_not_to_the_image(product: Product, busybox: str) -> None:
    product.run(*QUICK, busybox, "sh", "-c", "echo changed > /etc/passwd; rm -r /home; mkdir /home")
    assert "root:x:0:0" in product.run(*QUICK, busybox, "cat", "/etc/passwd").out
    product.run(*QUICK, busybox, "ls", "-d", "/home/app")


def test_device_nodes_are_the_standard_ones(product: Product, busybox: str) -> None:
    script = "cd /dev; ls; echo x > null; head -c 4 zero | od -An -tx1; head -c 2 urandom | wc -c; : > full"
    result = product.attempt(*QUICK, busybox, "sh", "-c", script)
    expected = {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "ptmx"}
    assert expected <= set(result.lines)
    assert {"fd", "stdin", "stdout", "stderr"} <= set(result.lines)
    assert not {"fuse", "kmsg", "mem", "sda", "vda", "net"} & set(result.lines)
    assert " 00 00 00 00" in result.lines


@pytest.mark.needs("fuse")
def test_device_option_adds_one(product: Product, busybox: str) -> None:
    result = product.run(*QUICK, "--device", "/dev/fuse", busybox, "stat", "-c", "%F", "/dev/fuse")
    assert result.out == "character special file\n"
