"""What the host's ps says, restricted to a container."""

from __future__ import annotations

import pytest

from rootless.cli import top
from rootless.errors import UsageError


def test_lines_of_others_are_left_out() -> None:
    text = "  PID USER     COMMAND\n    7 me       sh -c  a  b\n    8 you      sleep 1\n  xx broken\n"
    assert top.select_rows(text, {7}) == [["PID", "USER", "COMMAND"], ["7", "me", "sh -c  a  b"]]


@pytest.mark.parametrize("text", ["", "COMMAND\nsh\n"])
def test_without_pids_nothing_can_be_said(text: str) -> None:
    with pytest.raises(UsageError, match="PID"):
        top.select_rows(text, {7})
