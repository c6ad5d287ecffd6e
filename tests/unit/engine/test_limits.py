"""What limits become: files of a cgroup, or substitutes that are named."""

from __future__ import annotations

import pytest

from rootless.engine import limits
from rootless.engine.limits import cpu_weight, notice, settings
from rootless.model.policy import Limits
from rootless.model.spec import Ulimit

MIB = 1 << 20


def files(**asked: object) -> dict[str, str]:
    return {setting.file: setting.value for setting in settings(Limits(**asked))}


def stand_in(asked: Limits, *missing: str, **more: object) -> limits.Substitutes:
    options = {"ulimits": (), "allowed": range(4), "per_namespace": True, "seed": 6} | more
    return limits.substitutes(asked, missing, **options)


def test_no_limit_writes_nothing() -> None:
    assert files() == {}
    assert files(pids=-1, memory_swap_bytes=-1) == {}


def test_every_limit_has_its_file() -> None:
    assert files(cpus=1500, cpu_shares=1024, cpuset_cpus="0-1", pids=100) == {
        "cpu.max": "150000 100000",
        "cpu.weight": "100",
        "cpuset.cpus": "0-1",
        "pids.max": "100",
    }


@pytest.mark.parametrize(
    ("swap", "expected"), [(0, str(64 * MIB)), (-1, "max"), (64 * MIB, "0"), (96 * MIB, str(32 * MIB))]
)
def test_swap_is_what_lies_above_memory(swap: int, expected: str) -> None:
    found = files(memory_bytes=64 * MIB, memory_swap_bytes=swap, memory_reservation_bytes=32 * MIB)
    assert found == {
        "memory.max": str(64 * MIB),
        "memory.swap.max": expected,
        "memory.low": str(32 * MIB),
    }


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(0, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (1 << 40, 10000)],
)
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert cpu_weight(shares) == weight


def test_memory_is_limited_for_each_process() -> None:
    found = stand_in(Limits(memory_bytes=64 * MIB), "--memory")
    assert found.ulimits == (Ulimit(name="data", soft=64 * MIB, hard=64 * MIB),)
    assert [option for option, _ in found.notes] == ["--memory"]


def test_what_the_user_limits_himself_stays() -> None:
    own = (Ulimit(name="data", soft=1, hard=1), Ulimit(name="nproc", soft=1, hard=1))
    found = stand_in(Limits(memory_bytes=64 * MIB, pids=9), "--memory", "--pids-limit", ulimits=own)
    assert found == limits.Substitutes()


def test_processes_are_counted_only_where_the_kernel_counts_the_container_alone() -> None:
    asked = Limits(pids=9)
    assert stand_in(asked, "--pids-limit").ulimits == (Ulimit(name="nproc", soft=10, hard=10),)
    assert stand_in(asked, "--pids-limit", per_namespace=False) == limits.Substitutes()


@pytest.mark.parametrize(
    ("asked", "missing", "expected"),
    [
        (Limits(cpus=2000), ["--cpus"], (2, 3)),
        (Limits(cpus=500), ["--cpus"], (2,)),
        (Limits(cpus=3001), ["--cpus"], ()),
        (Limits(cpuset_cpus="1,3"), ["--cpuset-cpus"], (1, 3)),
        (Limits(cpuset_cpus="0-2", cpus=1000), ["--cpuset-cpus", "--cpus"], (0,)),
        (Limits(cpuset_cpus="0-2", cpus=1000), ["--cpus"], (2,)),
        (Limits(cpuset_cpus="9"), ["--cpuset-cpus"], ()),
    ],
)
def test_cpus_become_affinity(asked: Limits, missing: list[str], expected: tuple[int, ...]) -> None:
    assert stand_in(asked, *missing).cpus == expected


@pytest.mark.parametrize(("shares", "nice"), [(2, 19), (512, 3), (1023, 0), (1024, 0), (4096, 0)])
def test_few_shares_become_nice(shares: int, nice: int) -> None:
    assert stand_in(Limits(cpu_shares=shares), "--cpu-shares").nice == nice


def test_one_line_says_what_does_not_hold() -> None:
    assert notice([], []) == ""
    assert notice(["--memory", "--memory-reservation"], [("--memory", "for each process alone")]) == (
        "limits not enforced: --memory-reservation; approximated: --memory (for each process alone); "
        "`rootless doctor` says why"
    )


def test_settings_that_the_kernel_does_not_take_are_told_by_option(tmp_path) -> None:
    (tmp_path / "pids.max").write_text("9")
    asked = settings(Limits(pids=5, memory_bytes=8 * MIB))
    assert limits.write_settings(str(tmp_path), asked) == ["--memory"]
    assert (tmp_path / "pids.max").read_text() == "5"
    assert limits.write_settings("", asked) == ["--memory", "--pids-limit"]


def test_update_writes_what_changes_and_lifts_what_is_gone() -> None:
    before = Limits(memory_bytes=64 * MIB, cpus=1000, pids=5)
    after = Limits(memory_bytes=64 * MIB, cpus=500)
    found = [(s.option, s.file, s.value) for s in limits.changed_settings(before, after)]
    assert found == [("--cpus", "cpu.max", "50000 100000"), ("--pids-limit", "pids.max", "max")]
    assert limits.changed_settings(before, before) == ()


def test_every_setting_can_be_lifted() -> None:
    everything = Limits(
        memory_bytes=64 * MIB,
        memory_reservation_bytes=MIB,
        cpus=10,
        cpu_shares=2,
        cpuset_cpus="0",
        pids=5,
    )
    lifted = limits.changed_settings(everything, Limits())
    assert [s.file for s in lifted] == [s.file for s in settings(everything)]


@pytest.mark.parametrize(
    ("events", "killed"), [("oom 3\noom_kill 1\n", True), ("oom_kill 0\n", False), (None, False)]
)
def test_kill_for_want_of_memory_is_known_at_the_end(tmp_path, events: str | None, killed: bool) -> None:
    if events is not None:
        (tmp_path / "memory.events").write_text(events)
    held = limits.Confinement(
        cgroup=str(tmp_path), made=None, substitutes=limits.Substitutes(), score=None, notice=""
    )
    assert held.end() is killed
    assert held.end() is False
