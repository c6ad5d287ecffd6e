"""Options of `docker run` that scripts pass and this release does not act upon."""

from __future__ import annotations

import pytest

from rootless.cli import run_options, run_unsupported
from rootless.errors import UsageError


def parse(*words: str):
    return run_options.TABLE.parse([*words, "image"])


def test_limits_are_taken_and_named_in_one_line() -> None:
    parsed = parse("--blkio-weight=5", "--cpuset-mems", "0-1", "--device-read-bps=/dev/sda:1m")
    run_unsupported.check(parsed)
    assert run_unsupported.notices(parsed) == [
        "not enforced on this container: --cpuset-mems, --blkio-weight, --device-read-bps",
    ]


def test_limit_that_is_required_and_not_supported_is_refused() -> None:
    with pytest.raises(UsageError, match="--blkio-weight"):
        run_unsupported.check(parse("--blkio-weight=5", "--limits=require"))


def test_words_for_no_limit_say_nothing() -> None:
    parsed = parse("--blkio-weight=0", "--kernel-memory=-1", "--oom-kill-disable=false", "--restart", "no")
    run_unsupported.check(parsed)
    assert run_unsupported.notices(parsed) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("--memory", "much"), ("--cpus", "two"), ("--restart", "sometimes"), ("--pid", "host")],
)
def test_value_that_cannot_be_honoured_is_refused_by_name(option: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        run_options.check_conflicts(parse(option, value))
    assert option in caught.value.message
    assert value in caught.value.message


@pytest.mark.parametrize("option", sorted(run_unsupported.REFUSED))
def test_option_that_would_change_the_container_is_refused_with_a_way_out(option: str) -> None:
    words = [f"--{option}"] if option == "use-api-socket" else [f"--{option}", "x"]
    with pytest.raises(UsageError) as caught:
        run_options.check_conflicts(parse(*words))
    assert f"--{option}" in caught.value.message
    assert caught.value.hint


def test_hidden_options_are_not_in_the_help() -> None:
    text = run_options.TABLE.help_text()
    assert "--sysctl" not in text
    assert "--memory" in text
