"""Where containers' cgroups may be made, and that they come and go: on plain directories."""

from __future__ import annotations

import os

import pytest

from rootless.runtime import cgroups
from rootless.runtime.cgroups import Home, Level, choose_home

ALL = frozenset(("cpu", "memory", "pids"))
USER_SLICE = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"
ID = "c" * 64


def level(path: str, **fields: object) -> Level:
    return Level(**({"path": path, "controllers": ALL, "populated": True} | fields))


def test_nothing_is_made_where_nothing_was_given() -> None:
    own = level("/sys/fs/cgroup/user.slice/session-3.scope", writable=False)
    assert choose_home(own, level("/sys/fs/cgroup/user.slice", writable=False)) is None


def test_sibling_of_the_own_cgroup_moves_nobody() -> None:
    parent = level("/sys/fs/cgroup/mine", enabled=frozenset(("pids",)), populated=False)
    assert choose_home(level("/sys/fs/cgroup/mine/shell"), parent) == Home(path=parent.path, controllers=ALL)


def test_parent_with_processes_gives_what_it_gives_already() -> None:
    parent = level("/sys/fs/cgroup/mine", enabled=frozenset(("pids",)))
    home = choose_home(level("/sys/fs/cgroup/mine/shell"), parent)
    assert home == Home(path=parent.path, controllers=frozenset(("pids",)))


def test_top_of_a_given_tree_is_used_itself() -> None:
    own = level("/sys/fs/cgroup/mine")
    home = Home(path=own.path, controllers=ALL, crowded=True)
    assert choose_home(own, level("/sys/fs/cgroup", writable=False)) == home
    assert choose_home(own, None) == home


@pytest.mark.parametrize(
    ("parent", "own"),
    [
        ("app.slice", "app-terminal.scope"),
        (".", "old.service"),
    ],
)
def test_what_systemd_manages_is_left_to_it(parent: str, own: str) -> None:
    above = os.path.normpath(f"{USER_SLICE}/{parent}")
    assert choose_home(level(f"{above}/{own}"), level(above, delegated=True)) is None


def test_unit_that_systemd_delegated_is_used() -> None:
    own = level(f"{USER_SLICE}/app.slice/mine.scope", delegated=True)
    home = choose_home(own, level(f"{USER_SLICE}/app.slice"))
    assert home == Home(path=own.path, controllers=ALL, crowded=True)


@pytest.fixture
def home(tmp_path) -> Home:
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (tmp_path / name).write_text("")
    return Home(path=str(tmp_path), controllers=ALL)


def test_cgroup_is_made_with_the_controllers_and_goes_without_trace(home: Home, tmp_path) -> None:
    made = cgroups.make(home, ID)
    assert made.path == f"{tmp_path}/rootless-{ID}"
    assert "pids" in (tmp_path / "cgroup.subtree_control").read_text()
    os.makedirs(f"{made.path}/made/by/the/container")
    made.remove()
    assert not os.path.exists(made.path)


def test_leftover_is_swept_unless_a_monitor_holds_it(home: Home, tmp_path) -> None:
    alive = cgroups.make(home, "a" * 64)
    (tmp_path / f"rootless-{'b' * 64}").mkdir()
    (tmp_path / "rootless-engine").mkdir()
    (tmp_path / "others").mkdir()
    cgroups.sweep(home.path)
    left = sorted(entry.name for entry in tmp_path.iterdir() if entry.is_dir())
    assert left == ["others", f"rootless-{'a' * 64}", "rootless-engine"]
    alive.remove()


def test_cgroup_of_a_killed_monitor_is_taken_over(home: Home, tmp_path) -> None:
    (tmp_path / f"rootless-{ID}").mkdir()
    made = cgroups.make(home, ID)
    assert os.path.isdir(made.path)
    made.remove()


def test_removing_what_is_gone_is_no_failure(tmp_path) -> None:
    assert cgroups.remove(str(tmp_path / "gone"))
