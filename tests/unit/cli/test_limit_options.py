"""Options that limit a container: their sizes and numbers, and what does not fit together."""

from __future__ import annotations

import pytest

from rootless.cli import limit_options, run_options
from rootless.errors import UsageError
from rootless.model.policy import Limits

MIB = 1 << 20


def parse(*words: str) -> Limits:
    return limit_options.parse_limits(run_options.TABLE.parse([*words, "image"]), online=4)


def test_nothing_said_is_no_limit() -> None:
    assert parse() == Limits()


def test_every_option_has_its_field() -> None:
    words = (
        "-m 64m --memory-swap=96m --memory-reservation=32m --cpus 1.5 -c 512 --cpuset-cpus 0-1,3 "
        "--pids-limit 100 --oom-score-adj=-5 --limits=require"
    )
    assert parse(*words.split()) == Limits(
        memory_bytes=64 * MIB,
        memory_swap_bytes=96 * MIB,
        memory_reservation_bytes=32 * MIB,
        cpus=1500,
        cpu_shares=512,
        cpuset_cpus="0-1,3",
        pids=100,
        oom_score_adj=-5,
        required=True,
    )


@pytest.mark.parametrize(
    ("words", "cpus"),
    [
        (["--cpus=.5"], 500),
        (["--cpus=2."], 2000),
        (["--cpus=0.01"], 10),
        (["--cpus=1.2345"], 1234),
        (["--cpus=0"], 0),
        (["--cpu-quota=50000"], 500),
        (["--cpu-quota=50000", "--cpu-period=25000"], 2000),
        (["--cpu-quota=-1"], 0),
    ],
)
def test_cpus_in_thousandths(words: list[str], cpus: int) -> None:
    assert parse(*words).cpus == cpus


@pytest.mark.parametrize(
    "words", [["--pids-limit=-1"], ["--pids-limit=0"], ["--memory=0", "--memory-swap=-1"]]
)
def test_words_for_no_limit(words: list[str]) -> None:
    found = parse(*words)
    assert (found.memory_bytes, max(found.pids, 0), max(found.memory_swap_bytes, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--memory=much"], "--memory"),
        (["--memory=5m"], "6 MB"),
        (["--memory=-1"], "--memory"),
        (["--memory-swap=64m"], "--memory-swap"),
        (["--memory=64m", "--memory-swap=32m"], "--memory-swap"),
        (["--memory=64m", "--memory-reservation=65m"], "--memory-reservation"),
        (["--cpus=two"], "--cpus"),
        (["--cpus=1_0"], "--cpus"),
        (["--cpus=."], "--cpus"),
        (["--cpus=5"], "4 CPUs"),
        (["--cpus=0.001"], "4 CPUs"),
        (["--cpus=1", "--cpu-quota=5"], "--cpu-quota"),
        (["--cpu-quota=500", "--cpu-period=5"], "--cpu-period"),
        (["--cpuset-cpus=4"], "CPUs 0 to 3"),
        (["--cpuset-cpus=2-1"], "--cpuset-cpus"),
        (["--cpuset-cpus=0,,1"], "--cpuset-cpus"),
        (["--cpuset-cpus=0-99999999999999"], "--cpuset-cpus"),
        (["--cpu-shares=-1"], "--cpu-shares"),
        (["--oom-score-adj=1001"], "--oom-score-adj"),
        (["--limits=perhaps"], "--limits"),
    ],
)
def test_wrong_value_is_named(words: list[str], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*words)
    assert named in f"{caught.value.message} {caught.value.hint}"


def test_update_keeps_what_it_does_not_name() -> None:
    before = Limits(memory_bytes=64 * MIB, pids=5, required=True)
    parsed = run_options.TABLE.parse(["--pids-limit=9", "image"])
    assert limit_options.change_limits(parsed, before, online=4) == before.replace(pids=9)
