"""The pure parts of the last steps: environment, search path, what the kernel gets."""

from __future__ import annotations

import pytest

from rootless.errors import RuntimeSetupError
from rootless.model.host import IdMapping
from rootless.model.spec import Process, Security
from rootless.runtime.process_plan import ProcessPlan, candidates, environment, plan_process

SINGLE = IdMapping(mode="single", uids=((0, 1000, 1),), gids=((0, 1000, 1),), key="single")


def make(*env: str, argv: tuple[str, ...] = ("a",), security: Security | None = None) -> ProcessPlan:
    return plan_process(Process(argv=argv, env=env), security or Security(), SINGLE)


def test_environment_is_the_plans_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    assert environment(make("A=1"), "/home/u") == {b"A": b"1", b"HOME": b"/home/u"}


def test_later_value_wins_and_values_may_hold_anything() -> None:
    assert environment(make("A=1", "A=x=y\n\udcff", "B=", "=no", "bare"), "") == {
        b"A": b"x=y\n\xff",
        b"B": b"",
        b"HOME": b"/",
    }


def test_given_home_is_kept() -> None:
    assert environment(make("HOME=/x"), "/root")[b"HOME"] == b"/x"


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("sh", "/bin:/usr/bin", ["/bin/sh", "/usr/bin/sh"]),
        ("sh", ":/bin", ["./sh", "/bin/sh"]),
        ("./sh", "/bin", ["./sh"]),
        ("/bin/sh", None, ["/bin/sh"]),
        ("", "/bin", []),
    ],
)
def test_command_is_searched_as_execvp_does(name: str, path: str | None, expected: list[str]) -> None:
    assert candidates(name, path) == expected


@pytest.mark.parametrize(
    "process", [{"argv": ("a\0b",)}, {"argv": ("a",), "env": ("A=\0",)}, {"argv": ("a",), "cwd": "/\0"}]
)
def test_nul_byte_is_refused(process: dict) -> None:
    with pytest.raises(RuntimeSetupError, match="NUL"):
        plan_process(Process(**process), Security(), SINGLE)


def test_privileged_has_no_filter() -> None:
    assert make(security=Security(privileged=True)).seccomp == b""
    assert len(make().seccomp) % 8 == 0


def test_number_of_mapped_ids_is_summed() -> None:
    mapping = IdMapping(mode="ranges", uids=((0, 5, 1), (1, 100, 10)), gids=((0, 5, 1),), key="k")
    plan = plan_process(Process(argv=("a",)), Security(), mapping)
    assert (plan.uids, plan.gids, plan.single) == (11, 1, False)
