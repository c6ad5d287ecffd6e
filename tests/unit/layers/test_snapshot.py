"""Snapshots: names, temporaries, commits that race, sweeping; removal of trees that resist."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from layers import snapshot, unsynced
from layers.digest import Digest
from layers.snapshot import Snapshots, Temporary, remove_tree

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = Digest("sha256:" + "1" * 64), Digest("sha256:" + "2" * 64)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(str(tmp_path / "snapshots"), "key")


def commit(snapshots: Snapshots, chain_id: Digest) -> None:
    with snapshots.new_temporary() as temporary:
        open(os.path.join(temporary, "file"), "w").close()
        assert snapshots.commit(temporary, chain_id)


def test_snapshot_is_there_once_committed(snapshots: Snapshots) -> None:
    assert not snapshots.has(ONE)
    commit(snapshots, ONE)
    assert snapshots.has(ONE)
    assert snapshots.path(ONE) == os.path.join(snapshots.directory, "1" * 64)
    assert snapshots.chain_ids() == ["1" * 64]
    assert os.listdir(snapshots.directory) == ["1" * 64]


def test_lowers_are_in_the_order_given_and_must_exist(snapshots: Snapshots) -> None:
    commit(snapshots, ONE)
    assert snapshots.missing([ONE, TWO]) == [TWO]
    with pytest.raises(FileNotFoundError):
        snapshots.lowers([ONE, TWO])
    commit(snapshots, TWO)
    assert snapshots.lowers([TWO, ONE]) == [snapshots.path(TWO), snapshots.path(ONE)]


def test_second_commit_of_a_chain_id_loses_and_keeps_its_temporary(snapshots: Snapshots) -> None:
    with snapshots.new_temporary() as first, snapshots.new_temporary() as second:
        assert first.path != second.path
        for temporary in (first, second):
            open(os.path.join(temporary, "file"), "w").close()
        assert snapshots.commit(first, ONE)
        assert not snapshots.commit(second, ONE)
        assert os.listdir(second.path) == ["file"]


def test_commit_that_loses_at_the_last_moment_keeps_the_winner(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(snapshots, ONE)
    monkeypatch.setattr(Snapshots, "has", lambda *_: False)  # the other process came after this look
    with snapshots.new_temporary() as temporary:
        open(os.path.join(temporary, "other"), "w").close()
        assert not snapshots.commit(temporary, ONE)
    assert os.listdir(snapshots.path(ONE)) == ["file"]


def test_temporary_is_private_and_empty(snapshots: Snapshots) -> None:
    with snapshots.new_temporary() as temporary:
        assert os.stat(temporary).st_mode == 0o040700
        assert os.listdir(temporary) == []
        assert os.stat(snapshots.directory).st_mode == 0o040700


def test_temporary_that_is_being_made_is_not_stale_and_one_given_up_is(snapshots: Snapshots) -> None:
    temporary = snapshots.new_temporary()
    assert snapshots.stale() == []
    temporary.close()
    temporary.close()
    assert snapshots.stale() == [temporary.path]


def test_temporary_is_not_stale_before_it_is_locked(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hazard: two pulls at once; the sweep of one deletes what the other has just begun."""
    lock, seen = snapshot._lock, []

    def sweep_first(fd: int) -> bool:
        seen.append(snapshots.stale())
        return lock(fd)

    monkeypatch.setattr(snapshot, "_lock", sweep_first)
    with snapshots.new_temporary():
        assert seen == [[]]


def test_draft_of_a_killed_process_goes_and_one_that_lives_is_made_again(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hazard: a pull killed between making the directory and locking it leaves it for good."""
    lock, swept = snapshot._lock, []

    def sweep_first(fd: int) -> bool:
        if not swept:
            swept.extend(os.listdir(snapshots.directory))
            snapshots.drop_drafts()
            assert os.listdir(snapshots.directory) == []
        return lock(fd)

    monkeypatch.setattr(snapshot, "_lock", sweep_first)
    with snapshots.new_temporary() as temporary:
        assert len(swept) == 1
        snapshots.drop_drafts()
        assert os.listdir(snapshots.directory) == [os.path.basename(temporary)]


def test_temporary_of_a_killed_process_is_stale(snapshots: Snapshots) -> None:
    code = (
        "import os, sys; from layers.snapshot import Snapshots\n"
        "t = Snapshots(sys.argv[1], 'key').new_temporary(); print(t.path, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, os.path.dirname(snapshots.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout is not None
    path = process.stdout.readline().strip()
    assert snapshots.stale() == []
    process.kill()
    process.communicate()
    assert snapshots.stale() == [path]


def test_without_locks_only_old_temporaries_are_stale(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")  # what NFS says of flock on a directory

    monkeypatch.setattr(snapshot.fcntl, "flock", refuse)
    temporary = snapshots.new_temporary()
    temporary.close()
    assert snapshots.stale() == []
    monkeypatch.setattr(snapshot, "UNLOCKED_AGE_S", -1)
    assert snapshots.stale() == [temporary.path]


def test_nothing_is_stale_before_the_first_snapshot(snapshots: Snapshots) -> None:
    assert snapshots.stale() == []
    assert snapshots.chain_ids() == []


def test_commit_takes_a_path_too(snapshots: Snapshots) -> None:
    temporary: Temporary = snapshots.new_temporary()
    temporary.close()
    assert snapshots.commit(temporary.path, ONE)


def test_remove_tree_is_idempotent_and_takes_files_and_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    os.symlink(outside, tmp_path / "link")
    (tmp_path / "file").touch()
    for name in ("link", "file", "absent", "absent/below"):
        remove_tree(tmp_path / name)
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_remove_tree_does_not_follow_links_within(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = tmp_path / "top"
    top.mkdir()
    os.symlink(outside, top / "link")
    os.symlink("..", top / "up")
    remove_tree(str(top) + "/")
    assert os.listdir(outside) == ["kept"]


@pytest.mark.parametrize("mode", [0, 0o100, 0o400, 0o500, 0o600])
def test_remove_tree_opens_directories_that_are_closed(tmp_path: Path, mode: int) -> None:
    for path in ("top/a/b/c", "top/a/d"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "file").touch(mode=0)
    for path in ("top/a/b/c", "top/a/b", "top/a", "top"):
        (tmp_path / path).chmod(mode)
    remove_tree(tmp_path / "top")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("depth", [63, 64, 65, 3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_remove_tree_of_any_depth(tmp_path: Path, depth: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for n in range(depth):
        os.mkdir("d", 0o700, dir_fd=fd)
        if n % 100 == 0:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(top)
    assert os.listdir(tmp_path) == []


def test_remove_tree_beside_another_that_removes_the_same(tmp_path: Path) -> None:
    for n in range(200):
        (tmp_path / f"top/{n % 20}/{n}").mkdir(parents=True)
    code = "import sys; from layers.snapshot import remove_tree; remove_tree(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "top")]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    others = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [other.wait() for other in others] == [0, 0, 0]
    assert os.listdir(tmp_path) == []


def test_remove_tree_of_deep_closed_directories(tmp_path: Path) -> None:
    path = tmp_path / "top"
    for _ in range(100):
        path = path / "d"
    path.mkdir(parents=True)
    while path != tmp_path:
        path.chmod(0o500)
        path = path.parent
    remove_tree(tmp_path / "top")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("files", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_remove_tree_of_many_files(tmp_path: Path, files: int) -> None:
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for n in range(files):
        os.close(os.open(str(n), os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    remove_tree(top)
    assert os.listdir(tmp_path) == []


def mark(snapshots: Snapshots, chain_id: Digest, boot: str) -> None:
    directory = os.path.join(snapshots.directory, unsynced.NAME)
    os.makedirs(directory, exist_ok=True)
    open(os.path.join(directory, f"{chain_id.encoded}.{boot}.1"), "w").close()


def test_snapshot_marked_in_this_boot_is_there_and_settled_after_its_commit(snapshots: Snapshots) -> None:
    commit(snapshots, TWO)
    unsynced.make(snapshots.directory, ONE)
    unsynced.settle(snapshots.directory)
    assert [found.chain for found in unsynced.marks(snapshots.directory)] == [ONE.encoded]
    commit(snapshots, ONE)
    assert snapshots.has(ONE)
    unsynced.settle(snapshots.directory)
    assert snapshots.has(ONE)
    assert sorted(os.listdir(snapshots.directory)) == [ONE.encoded, TWO.encoded]


def test_snapshot_marked_in_another_boot_counts_as_absent_and_is_hidden(snapshots: Snapshots) -> None:
    commit(snapshots, ONE)
    commit(snapshots, TWO)
    mark(snapshots, ONE, "another-boot")
    assert snapshots.missing([ONE, TWO]) == [ONE]
    unsynced.settle(snapshots.directory)
    assert not snapshots.has(ONE), "a later sync cannot bring back what was lost"
    snapshots.hide_doubted()
    assert snapshots.chain_ids() == [TWO.encoded]
    assert len(snapshots.stale()) == 1
    commit(snapshots, ONE)
    assert snapshots.has(ONE)


def test_mark_of_another_boot_without_a_snapshot_is_forgotten(snapshots: Snapshots) -> None:
    commit(snapshots, TWO)
    mark(snapshots, ONE, "another-boot")
    snapshots.hide_doubted()
    assert list(unsynced.marks(snapshots.directory)) == []


def test_mark_of_what_is_not_made_after_all_is_dropped(snapshots: Snapshots) -> None:
    commit(snapshots, TWO)
    unsynced.make(snapshots.directory, ONE)
    unsynced.make(snapshots.directory, TWO)
    unsynced.drop(snapshots.directory, ONE)
    assert [found.chain for found in unsynced.marks(snapshots.directory)] == [TWO.encoded]


def test_unknown_boot_or_shared_file_system_gets_no_marks(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(snapshots, ONE)
    monkeypatch.setattr(unsynced, "boot_id", lambda: "")
    assert not unsynced.serves(snapshots.directory)
    monkeypatch.undo()
    assert not unsynced.serves("/proc")
