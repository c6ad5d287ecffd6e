"""Which registries are asked for an image: prefixes, mirrors, locations, short names."""

from __future__ import annotations

import pytest

from layers.reference import Reference
from rootless.errors import RegistryError
from rootless.registry.registries import DIGEST_ONLY, TAG_ONLY, Mirror, Registries, Registry

DIGEST = "sha256:" + "a" * 64


def asked(registries: Registries, name: str, *, doing: str = "pull") -> list[str]:
    return [
        f"{place.repository} {place.tag_or_digest}"
        for place in registries.places(Reference.parse(name), doing=doing)
    ]


@pytest.mark.parametrize(
    ("prefix", "name", "matches"),
    [
        ("example.com", "example.com/x:1", True),
        ("example.com", "example.com:5000/x:1", False),
        ("example.com", "example.com.evil.org/x:1", False),
        ("example.com:5000", "example.com:5000/x:1", True),
        ("example.com:50", "example.com:5000/x:1", False),
        ("example.com/team", "example.com/team/x:1", True),
        ("example.com/team", "example.com/team:1", True),
        ("example.com/team", "example.com/team2/x:1", False),
        ("example.com/x:1", "example.com/x:1", True),
        ("example.com/x:1", "example.com/x:12", False),
        ("*.example.com", "a.b.example.com/x:1", True),
        ("*.example.com", "a.example.com:5000/x:1", True),
        ("*.example.com", "example.com/x:1", False),
        ("*.example.com", "evilexample.com/x:1", False),
        ("docker.io/library", "debian", True),
        ("docker.io/debian", "debian", False),
    ],
)
def test_prefix_ends_where_a_part_of_the_name_ends(prefix: str, name: str, matches: bool) -> None:
    assert bool(Registry(prefix).matched(Reference.parse(name).canonical)) is matches


def test_longest_prefix_counts_alone() -> None:
    registries = Registries(
        (
            Registry("*.a-very-long-domain.example.com", blocked=True),
            Registry("example.com", location="one.org"),
            Registry("example.com/team", location="two.org/ours"),
            Registry("x.a-very-long-domain.example.com"),
        )
    )
    assert asked(registries, "example.com/team/x:1") == ["two.org/ours/x 1"]
    assert asked(registries, "example.com/other/x:1") == ["one.org/other/x 1"]
    assert asked(registries, "x.a-very-long-domain.example.com/x") == [
        "x.a-very-long-domain.example.com/x latest"
    ]


def test_mirrors_come_before_the_place_and_serve_what_they_are_for() -> None:
    mirrors = (
        Mirror("one.org/hub"),
        Mirror("two.org", pull_from=DIGEST_ONLY),
        Mirror("three.org", pull_from=TAG_ONLY),
    )
    registries = Registries((Registry("docker.io", mirrors=mirrors),))
    assert asked(registries, "debian:12") == [
        "one.org/hub/library/debian 12",
        "three.org/library/debian 12",
        "docker.io/library/debian 12",
    ]
    assert asked(registries, f"debian@{DIGEST}") == [
        f"one.org/hub/library/debian {DIGEST}",
        f"two.org/library/debian {DIGEST}",
        f"docker.io/library/debian {DIGEST}",
    ]


def test_push_goes_to_the_location_and_to_no_mirror() -> None:
    registries = Registries((Registry("a.org", location="b.org/x", mirrors=(Mirror("c.org"),)),))
    assert asked(registries, "a.org/box:1", doing="push") == ["b.org/x/box 1"]


def test_mirror_of_a_wildcard_takes_the_place_of_the_host() -> None:
    registries = Registries((Registry("*.example.com", mirrors=(Mirror("box:5000/all"),)),))
    assert asked(registries, "a.example.com/x:1") == ["box:5000/all/x 1", "a.example.com/x 1"]


def test_name_stays_wherever_the_image_comes_from() -> None:
    registries = Registries((Registry("docker.io", location="b.org"),))
    (place,) = registries.places(Reference.parse("debian"))
    assert place.name == "docker.io/library/debian:latest"
    assert place.on == "docker.io/library/debian:latest at b.org/library/debian"


def test_blocked_names_the_file() -> None:
    registries = Registries((Registry("a.org/bad", blocked=True, source="/etc/x.conf"),))
    with pytest.raises(RegistryError, match=r"cannot push: `a\.org/bad` is blocked") as caught:
        registries.places(Reference.parse("a.org/bad/x"), doing="push")
    assert caught.value.hint == "/etc/x.conf blocks it"
    assert asked(registries, "a.org/good") == ["a.org/good latest"]


def expanded(registries: Registries, text: str) -> list[str]:
    return [reference.canonical for reference in registries.expand(text)]


def test_short_name_is_docker_hubs_where_nothing_is_said() -> None:
    assert expanded(Registries(), "debian") == ["docker.io/library/debian:latest"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("box", ["a.org/box:latest", "docker.io/library/box:latest"]),
        ("team/box:2", ["a.org/team/box:2", "docker.io/team/box:2"]),
        ("docker.io/box", ["docker.io/library/box:latest"]),
        ("docker.io/library/box", ["docker.io/library/box:latest"]),
        ("index.docker.io/box", ["docker.io/library/box:latest"]),
        ("localhost/box", ["localhost/box:latest"]),
        ("mine", ["b.org/team/mine:latest"]),
        ("mine:2", ["b.org/team/mine:2"]),
        (f"mine@{DIGEST}", [f"b.org/team/mine@{DIGEST}"]),
        ("docker.io/library/mine", ["docker.io/library/mine:latest"]),
    ],
)
def test_short_name_is_an_alias_or_searched_for(text: str, found: list[str]) -> None:
    registries = Registries(search=("a.org", "docker.io"), aliases={"mine": "b.org/team/mine"})
    assert expanded(registries, text) == found
