"""Docker's rules for where a copy goes (docs.docker.com, `docker container cp`), line by line."""

from __future__ import annotations

import pytest

from rootless.errors import RootlessError
from rootless.model.copying import AS, CONTENTS, INTO, own_name, place, wants_contents, wants_directory

FILE, DIRECTORY, MISSING = "file", "directory", "missing"


@pytest.mark.parametrize(
    ("source", "target", "there", "how"),
    [
        ("f", "t", MISSING, AS),
        ("f", "t", FILE, AS),
        ("f", "t", DIRECTORY, INTO),
        ("f", "t/", DIRECTORY, INTO),
        ("d/", "t", MISSING, AS),
        ("d/", "t/", MISSING, AS),
        ("d/", "t", DIRECTORY, INTO),
        ("d/.", "t", DIRECTORY, CONTENTS),
        ("d/.", "t", MISSING, AS),
        ("d/.", "t/.", DIRECTORY, CONTENTS),
    ],
)
def test_copy_goes_where_docker_puts_it(source: str, target: str, there: str, how: str) -> None:
    assert decide(source, target, there) == how


@pytest.mark.parametrize(
    ("source", "target", "there", "message"),
    [
        ("f", "t/", MISSING, "no such directory"),
        ("f", "t/.", MISSING, "no such directory"),
        ("d/", "t", FILE, "a directory over a file"),
        ("d/.", "t", FILE, "a directory over a file"),
        ("f", "t/", FILE, "not a directory"),
    ],
)
def test_what_docker_refuses_is_refused(source: str, target: str, there: str, message: str) -> None:
    with pytest.raises(RootlessError, match=message) as caught:
        decide(source, target, there)
    assert caught.value.on == target


def decide(source: str, target: str, there: str) -> str:
    """Decide for a source that is a directory if it begins with "d"."""
    return place(
        is_directory=source.startswith("d"),
        contents=wants_contents(source),
        target=target,
        exists=there != MISSING,
        target_is_directory=there == DIRECTORY,
    )


@pytest.mark.parametrize(
    ("path", "name", "contents", "directory"),
    [
        ("/etc/passwd", "passwd", False, False),
        ("etc", "etc", False, False),
        ("/etc/", "etc", False, True),
        ("/etc/.", "etc", True, True),
        ("/", "", True, True),
        (".", "", True, True),
        ("/a/..", "", True, True),
        ("/a/b/..", "a", False, True),
        ("a/./b", "b", False, False),
        ("../../x", "x", False, False),
        ("//x", "x", False, False),
        ("/a/..b", "..b", False, False),
    ],
)
def test_paths_mean_what_they_mean_to_docker(path: str, name: str, contents: bool, directory: bool) -> None:
    assert (own_name(path), wants_contents(path), wants_directory(path)) == (name, contents, directory)
