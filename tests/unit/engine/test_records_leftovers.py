"""What killed commands leave of a container's records."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootless.engine import records
from rootless.paths import Paths

DRAFT, HIDDEN, LIVING = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(store=str(tmp_path / "store"), run=str(tmp_path / "run"))
    paths.ensure()
    os.mkdir(paths.names)
    for directory in (f".new-{DRAFT}", f".gone-{HIDDEN}", LIVING):
        os.mkdir(os.path.join(paths.containers, directory))
    for name, owner in (("red", DRAFT), ("green", HIDDEN), ("blue", LIVING)):
        os.symlink(owner, os.path.join(paths.names, name))
        Path(paths.locks, f"{owner}.lock").touch()
    return paths


def test_leftovers_are_found_and_give_their_names_and_locks_back(paths: Paths) -> None:
    found = records.list_leftovers(paths)
    assert sorted(map(records.leftover_id, found)) == [DRAFT, HIDDEN]
    assert os.listdir(paths.names) == ["blue"]
    assert sorted(os.listdir(paths.locks)) == [f"{LIVING}.lock", "names.lock"]


def test_name_that_was_given_away_again_is_kept(paths: Paths) -> None:
    link = os.path.join(paths.names, "red")
    os.unlink(link)
    os.symlink(LIVING, link)
    records.list_leftovers(paths)
    assert os.readlink(link) == LIVING


def test_store_that_never_had_a_name_gives_its_leftovers_back(tmp_path: Path) -> None:
    paths = Paths(store=str(tmp_path / "store"), run=str(tmp_path / "run"))
    paths.ensure()
    os.mkdir(os.path.join(paths.containers, f".new-{DRAFT}"))
    assert list(map(records.leftover_id, records.list_leftovers(paths))) == [DRAFT]
