"""The wrappers raise OSError with errno and path, and their descriptors close on exec."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rootless.linux import calls, const


def test_openat2_keeps_a_path_inside(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc/passwd")
    root = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(FileNotFoundError) as caught:
        calls.openat2(root, "out", os.O_RDONLY, resolve=const.RESOLVE_IN_ROOT)
    assert caught.value.filename == "out"
    os.close(root)


def test_openat2_descriptor_closes_on_exec() -> None:
    fd = calls.openat2(const.AT_FDCWD, b"/", const.O_PATH)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_clone_without_namespaces_is_a_fork() -> None:
    pid = calls.clone(0)
    if pid == 0:
        os._exit(42)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


def test_failed_mount_names_its_target() -> None:
    with pytest.raises(OSError) as caught:
        calls.mount(None, "/nowhere", "tmpfs", 0)
    assert caught.value.errno in (errno.EPERM, errno.ENOENT)
    assert caught.value.filename == "/nowhere"


def test_close_range_closes_its_range_only() -> None:
    pid = calls.clone(0)
    if pid == 0:
        keep, close = os.open("/", os.O_RDONLY), os.open("/", os.O_RDONLY)
        calls.close_range(close)
        try:
            os.fstat(keep)
            os.fstat(close)
        except OSError as exc:
            os._exit(0 if exc.errno == errno.EBADF else 1)
        os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_capget_matches_proc_status() -> None:
    status = dict(
        line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    effective, permitted, inheritable = calls.capget()
    assert (effective, permitted, inheritable) == tuple(
        int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh")
    )


def test_statfs_type_of_proc() -> None:
    fd = os.open("/proc", const.O_PATH)
    assert calls.fstatfs_type(fd) == const.PROC_SUPER_MAGIC
    os.close(fd)


def test_each_session_keyring_is_a_new_one() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if calls.join_session_keyring() != calls.join_session_keyring() else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_renameat2_refuses_to_replace(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    with pytest.raises(FileExistsError):
        calls.renameat2(
            const.AT_FDCWD, str(tmp_path / "a"), const.AT_FDCWD, str(tmp_path / "b"), const.RENAME_NOREPLACE
        )


def test_command_line_is_overwritten_in_place() -> None:
    from rootless.linux import procfs

    pid = os.fork()
    if pid == 0:
        calls.overwrite_command_line(*procfs.parse_argument_area(procfs.read("/proc/self/stat")), b"hidden")
        os._exit(0 if procfs.read("/proc/self/cmdline").rstrip(b"\0") == b"hidden" else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_clone_into_what_is_no_cgroup_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.clone_into(0, fd)
    os.close(fd)
