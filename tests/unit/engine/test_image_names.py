"""Which names can be given to images."""

from __future__ import annotations

import pytest

from rootless.engine.image_names import parse_target
from rootless.errors import UsageError


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
    ],
)
def test_name_is_completed(target: str, name: str) -> None:
    assert parse_target(target).canonical == name


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("UPPER", "lower case"),
        ("a" * 64, "image id"),
        ("x@sha256:" + "0" * 64, "digest"),
        ("../../etc", "invalid reference"),
        ("x:\x1b[31m", "not a tag"),
        ("x:\n", "not a tag"),
        ("-x", "not a repository name"),
        ("", "empty"),
    ],
)
def test_what_is_no_name_is_refused(target: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_target(target)
    assert problem in caught.value.message
    assert "\x1b" not in caught.value.render()
