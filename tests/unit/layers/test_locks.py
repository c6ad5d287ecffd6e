from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from layers.errors import LockTimeout
from layers.locks import FileLock

if TYPE_CHECKING:
    from pathlib import Path


def test_exclusive_lock_excludes_every_other(tmp_path: Path) -> None:
    with FileLock(str(tmp_path), "a") as held:
        assert held.held
        assert not FileLock(str(tmp_path), "a").try_acquire()
        assert not FileLock(str(tmp_path), "a", shared=True).try_acquire()
        with FileLock(str(tmp_path), "b"):
            pass
    with FileLock(str(tmp_path), "a", wait_s=0):
        pass


def test_shared_locks_go_together(tmp_path: Path) -> None:
    with FileLock(str(tmp_path), "a", shared=True), FileLock(str(tmp_path), "a", shared=True, wait_s=0):
        assert not FileLock(str(tmp_path), "a").try_acquire()


def test_waiting_ends_at_the_deadline(tmp_path: Path) -> None:
    with (
        FileLock(str(tmp_path), "a"),
        pytest.raises(LockTimeout, match=r"held it for 0\.01 s"),
        FileLock(str(tmp_path), "a", wait_s=0.01),
    ):
        pass


def test_directory_is_made_private(tmp_path: Path) -> None:
    with FileLock(str(tmp_path / "x" / "locks"), "a"):
        assert (tmp_path / "x" / "locks").stat().st_mode & 0o777 == 0o700


def test_unlinked_lock_leaves_no_file_and_still_excludes(tmp_path: Path) -> None:
    first = FileLock(str(tmp_path), "a", unlink=True)
    with first:
        assert not FileLock(str(tmp_path), "a", unlink=True).try_acquire()
    assert os.listdir(tmp_path) == []


def test_lock_whose_file_was_replaced_is_not_mistaken_for_the_lock(tmp_path: Path) -> None:
    """Opened before the last holder removed the file: that inode means nothing any more."""
    opened = os.open(tmp_path / "a", os.O_CREAT | os.O_RDWR)
    holder = FileLock(str(tmp_path), "a", unlink=True)
    with holder:
        pass
    with FileLock(str(tmp_path), "a", unlink=True):
        from layers.locks import _is_current

        assert not _is_current(opened, str(tmp_path / "a"))
    os.close(opened)


def test_lock_survives_that_its_directory_is_cleaned_away(tmp_path: Path) -> None:
    lock = FileLock(str(tmp_path / "locks"), "a", unlink=True)
    with lock:
        (tmp_path / "locks" / "a").unlink()
        (tmp_path / "locks").rmdir()
    with lock:
        pass


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0"])
def test_name_that_is_no_file_name_is_a_bug(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a file name"):
        FileLock(str(tmp_path), name)


def test_symlink_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        FileLock(str(tmp_path), "a").acquire()
    assert not (tmp_path / "victim").exists()


def test_killed_holder_releases_the_lock(tmp_path: Path) -> None:
    program = (
        "import sys, time; from layers.locks import FileLock\n"
        f"FileLock({str(tmp_path)!r}, 'a', unlink=True).acquire(); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert child.stdout
        assert child.stdout.readline() == b"held\n"
        assert not FileLock(str(tmp_path), "a", unlink=True).try_acquire()
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    with FileLock(str(tmp_path), "a", unlink=True, wait_s=5):
        pass


def test_many_processes_count_without_losing_a_step(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    program = (
        "import sys; from pathlib import Path; from layers.locks import FileLock\n"
        f"root = Path({str(tmp_path)!r})\n"
        "for _ in range(50):\n"
        "  with FileLock(str(root / 'locks'), 'a', unlink=True):\n"
        "    (root / 'count').write_text(str(int((root / 'count').read_text()) + 1))\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert (tmp_path / "count").read_text() == "200"
