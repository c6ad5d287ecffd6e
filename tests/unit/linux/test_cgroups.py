"""Where a process is in the tree of control groups, as the kernel tells it in all its set-ups."""

from __future__ import annotations

import pytest

from rootless.linux import cgroups, mountinfo

HYBRID = b"""\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
LEGACY = b"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
UNIFIED = b"25 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
BOUND_INTO_A_CONTAINER = b"25 23 0:22 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n"
WITH_A_BLANK = b"25 23 0:22 / /mnt/my\\040tree rw - cgroup2 cgroup2 rw\n"


def directory(path: str, mounts: bytes) -> str:
    return cgroups.find_directory(path, mountinfo.parse(mounts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"9:name=systemd:/a\n4:memory:/b\n0::/user.slice/x.scope\n", "/user.slice/x.scope"),
        (b"0::/\n", "/"),
        (b"0::/../sibling\n", "/../sibling"),
        (b"0::/gone (deleted)\n", "/gone"),
        (b"9:name=systemd:/a\n4:memory:/b\n", ""),
        (b"", ""),
        (b"nonsense\n0:\n", ""),
    ],
)
def test_own_path_is_that_of_the_unified_tree(text: bytes, expected: str) -> None:
    assert cgroups.parse_membership(text) == expected


@pytest.mark.parametrize(
    ("mounts", "version"), [(HYBRID, "hybrid"), (LEGACY, "v1"), (UNIFIED, "v2"), (b"", "none")]
)
def test_version_is_told_by_what_is_mounted(mounts: bytes, version: str) -> None:
    assert cgroups.find_version(mountinfo.parse(mounts)) == version


@pytest.mark.parametrize(
    ("path", "mounts", "expected"),
    [
        ("/a/b", UNIFIED, "/sys/fs/cgroup/a/b"),
        ("/", UNIFIED, "/sys/fs/cgroup"),
        ("/a", HYBRID, "/sys/fs/cgroup/unified/a"),
        ("/a", LEGACY, ""),
        ("/docker/abc/x", BOUND_INTO_A_CONTAINER, "/sys/fs/cgroup/x"),
        ("/docker/abc", BOUND_INTO_A_CONTAINER, "/sys/fs/cgroup"),
        ("/docker/abcd", BOUND_INTO_A_CONTAINER, ""),
        ("/../other", UNIFIED, ""),
        ("", UNIFIED, ""),
        ("/a", WITH_A_BLANK, "/mnt/my tree/a"),
    ],
)
def test_directory_is_found_below_the_mount_that_shows_it(path: str, mounts: bytes, expected: str) -> None:
    assert directory(path, mounts) == expected


def test_flat_files_of_any_kernel_are_read() -> None:
    assert cgroups.parse_flat(b"usage_usec 12\nnr_bursts 0\nbroken\nword max\n") == {
        "usage_usec": 12,
        "nr_bursts": 0,
    }


def test_traffic_of_all_devices_is_added_up() -> None:
    text = b"8:0 rbytes=10 wbytes=1 rios=5 dbytes=7\n8:16 rbytes=20 wbytes=2\n253:0\n"
    assert cgroups.parse_io(text) == (30, 3)
    assert cgroups.parse_io(b"") == (0, 0)


def test_files_that_are_missing_or_say_max_are_no_numbers(tmp_path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "pids.current").write_text("7\n")
    assert cgroups.read_number(str(tmp_path), "memory.max") == -1
    assert cgroups.read_number(str(tmp_path), "pids.current") == 7
    assert cgroups.read_number(str(tmp_path), "gone") == -1
    assert cgroups.read_text(str(tmp_path), "gone") == b""
