"""Paths of a hostile root file system: whatever is there, the result lies inside, or there is an error."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from rootless.errors import RuntimeSetupError
from rootless.runtime import rootfs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A "host" directory with a secret, and a root file system in it."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("host")
    (tmp_path / "root").mkdir()
    return tmp_path


@pytest.fixture
def root_fd(host: Path) -> object:
    fd = os.open(host / "root", os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def place(fd: int) -> str:
    """Return where a descriptor points, and close it."""
    path = os.readlink(f"/proc/self/fd/{fd}")
    os.close(fd)
    return path


def listing(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


@pytest.mark.parametrize("path", ["/a/b/c", "a/b/c", "/a//b/./c/"])
def test_missing_directories_are_made(host: Path, root_fd: int, path: str) -> None:
    assert place(rootfs.ensure_directory(root_fd, path)) == str(host / "root/a/b/c")


def test_missing_file_is_made_with_its_directories(host: Path, root_fd: int) -> None:
    assert place(rootfs.ensure_file(root_fd, "/etc/x/hosts")) == str(host / "root/etc/x/hosts")
    assert (host / "root/etc/x/hosts").read_bytes() == b""


@pytest.mark.parametrize("target", ["{host}/secret", "../../../../../../{host}/secret", "../secret"])
@pytest.mark.parametrize("ensure", [rootfs.ensure_directory, rootfs.ensure_file])
def test_link_out_of_the_root_stays_inside(host: Path, root_fd: int, target: str, ensure: object) -> None:
    (host / "root/link").symlink_to(target.format(host=host))
    before = listing(host / "secret")
    found = place(ensure(root_fd, "/link/new"))  # type: ignore[operator]
    assert found.startswith(str(host / "root") + "/")
    assert listing(host / "secret") == before


def test_dangling_absolute_link_is_made_inside(host: Path, root_fd: int) -> None:
    (host / "root/etc").mkdir()
    (host / "root/etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
    found = place(rootfs.ensure_file(root_fd, "/etc/resolv.conf"))
    assert found == str(host / "root/run/systemd/resolve/stub-resolv.conf")


def test_dangling_relative_link_is_made_inside(host: Path, root_fd: int) -> None:
    (host / "root/etc").mkdir()
    (host / "root/etc/resolv.conf").symlink_to("../run/x/resolv.conf")
    assert place(rootfs.ensure_file(root_fd, "/etc/resolv.conf")) == str(host / "root/run/x/resolv.conf")


def test_dot_dot_beyond_the_root_stays_inside(host: Path, root_fd: int) -> None:
    assert place(rootfs.ensure_directory(root_fd, "/../../../a")) == str(host / "root/a")


@pytest.mark.parametrize("ensure", [rootfs.ensure_directory, rootfs.ensure_file])
def test_loop_of_links_is_an_error(host: Path, root_fd: int, ensure: object) -> None:
    (host / "root/a").symlink_to("b")
    (host / "root/b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        ensure(root_fd, "/a/x")  # type: ignore[operator]
    assert caught.value.errno == errno.ELOOP


def test_chain_of_dangling_links_ends(host: Path, root_fd: int) -> None:
    for number in range(100):
        (host / f"root/l{number}").symlink_to(f"l{number + 1}")
    with pytest.raises(OSError) as caught:
        rootfs.ensure_directory(root_fd, "/l0")
    assert caught.value.errno == errno.ELOOP


def test_file_on_the_way_is_an_error(host: Path, root_fd: int) -> None:
    (host / "root/etc").write_text("a file")
    with pytest.raises(NotADirectoryError):
        rootfs.ensure_file(root_fd, "/etc/hosts")


def test_directory_in_the_place_of_a_file_is_an_error(host: Path, root_fd: int) -> None:
    (host / "root/etc/hosts").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        rootfs.ensure_file(root_fd, "/etc/hosts")


def test_fifo_in_the_place_of_a_file_does_not_block(host: Path, root_fd: int) -> None:
    os.mkfifo(host / "root/hosts")
    fd = rootfs.ensure_file(root_fd, "/hosts")
    assert stat.S_ISFIFO(os.fstat(fd).st_mode)
    os.close(fd)


def test_magic_link_is_not_followed(root_fd: int) -> None:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(OSError) as caught:
        rootfs.open_in_root(proc, "self/cwd")
    assert caught.value.errno == errno.ELOOP
    os.close(proc)


@pytest.mark.parametrize("kind", ["absolute link", "relative link", "dangling link", "file", "fifo"])
def test_kernel_file_systems_need_a_plain_directory(host: Path, root_fd: int, kind: str) -> None:
    path = host / "root/proc"
    (host / "root/real").mkdir()
    if kind == "file":
        path.write_text("")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(
            {"absolute link": str(host / "secret"), "relative link": "real", "dangling link": "no"}[kind]
        )
    with pytest.raises(RuntimeSetupError) as caught:
        rootfs.open_plain_directory(root_fd, "proc")
    assert caught.value.reference == "hostile-rootfs"
    assert "/proc" in caught.value.message


def test_missing_kernel_directory_is_made(host: Path, root_fd: int) -> None:
    assert place(rootfs.open_plain_directory(root_fd, "proc")) == str(host / "root/proc")


def test_read_file_follows_links_inside_only(host: Path, root_fd: int) -> None:
    (host / "root/etc").mkdir()
    (host / "root/real").write_text("inside")
    (host / "root/etc/passwd").symlink_to("/real")
    (host / "root/etc/group").symlink_to(host / "secret/file")
    assert rootfs.read_file(root_fd, "etc/passwd", max_bytes=100) == b"inside"
    assert rootfs.read_file(root_fd, "etc/group", max_bytes=100) == b""


def test_read_file_of_a_fifo_is_empty_and_does_not_block(host: Path, root_fd: int) -> None:
    (host / "root/etc").mkdir()
    os.mkfifo(host / "root/etc/passwd")
    assert rootfs.read_file(root_fd, "etc/passwd", max_bytes=100) == b""


def test_read_file_that_cannot_be_read_is_empty() -> None:
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
    assert rootfs.read_file(root_fd, "proc/self/mem", max_bytes=100) == b""  # its start is never mapped
    os.close(root_fd)


def test_read_file_of_a_directory_is_empty(host: Path, root_fd: int) -> None:
    (host / "root/etc/passwd").mkdir(parents=True)
    assert rootfs.read_file(root_fd, "etc/passwd", max_bytes=100) == b""


def test_read_file_refuses_a_sparse_giant(host: Path, root_fd: int) -> None:
    with open(host / "root/passwd", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RuntimeSetupError, match="1099511627776 bytes are too many"):
        rootfs.read_file(root_fd, "passwd", max_bytes=1 << 20)
