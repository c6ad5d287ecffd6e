"""When a container counts as stopped."""

from __future__ import annotations

import pytest

from rootless.engine.freezer import is_quiet


@pytest.mark.parametrize("threads", [[], ["T"], ["T", "TTT"], ["t", "Z"], ["D", "TD"], [""]])
def test_nothing_runs(threads: list[str]) -> None:
    assert is_quiet(threads)


@pytest.mark.parametrize("threads", [["R"], ["T", "TS"], ["S"]])
def test_something_runs_or_can_be_woken(threads: list[str]) -> None:
    assert not is_quiet(threads)
