"""`cp`: which of its two arguments is in a container."""

from __future__ import annotations

import pytest

from rootless.cli import cp
from rootless.cli.cp import split_operand
from rootless.errors import UsageError


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("web:/etc", ("web", "/etc")),
        ("web:etc", ("web", "etc")),
        ("web:", ("web", "")),
        ("web:/a:b", ("web", "/a:b")),
        ("file", ("", "file")),
        ("-", ("", "-")),
        ("/tmp/a:b", ("", "/tmp/a:b")),
        ("./a:b", ("", "./a:b")),
        ("../a:b", ("", "../a:b")),
        (".", ("", ".")),
    ],
)
def test_operand_is_split_as_docker_splits_it(word: str, expected: tuple[str, str]) -> None:
    assert split_operand(word) == expected


@pytest.mark.parametrize(
    "words",
    [("a", "b"), ("c:a", "d:b"), ("c:", "b"), ("a", "c:"), ("", "c:/"), ("c:/", ""), ("a",), ("a", "b", "c")],
)
def test_impossible_pairs_are_usage_errors(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        cp.main(list(words), None)  # type: ignore[arg-type]
