"""Which images `images` shows, and in what order."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from layers.digest import digest_bytes
from layers.reference import Reference
from rootless.cli import images
from rootless.errors import NotFound, UsageError
from rootless.interface import store

NOW_S = store.created_seconds("2026-03-01T00:00:00Z")


def image(name: str | None, created: str = "2026-01-01T00:00:00Z", *, content: str = "", **labels: str):
    reference = Reference.parse(name) if name else None
    return SimpleNamespace(
        name=reference.canonical if reference else None,
        image_id=digest_bytes((content or name or "").encode()),
        entry=SimpleNamespace(reference=reference),
        created=created,
        labels=labels,
    )


OLD = image("old:1", "2025-01-01T00:00:00.123456789Z", role="db")
MIDDLE = image("quay.io/team/middle:2", "2026-01-01T00:00:00Z", role="web", tier="1")
NEW = image("new", "2026-02-28T23:00:00Z")
DANGLING = image(None, "2026-02-01T00:00:00+01:00", content="dangling")
AGELESS = image("ageless", "")
ALL = store.in_order([OLD, NEW, AGELESS, MIDDLE, DANGLING])


def names(*filters: str) -> list[str]:
    chosen: dict[str, list[str]] = {}
    for text in filters:
        name, _, value = text.partition("=")
        chosen.setdefault(name, []).append(value)
    shown = images.select(ALL, chosen, now_s=NOW_S)
    return [i.entry.reference.path.rpartition("/")[2] if i.name else "<none>" for i in shown]


def test_newest_comes_first_and_what_has_no_date_last() -> None:
    assert names() == ["new", "<none>", "middle", "old", "ageless"]


def test_images_of_one_moment_are_sorted_by_name_and_the_nameless_come_last() -> None:
    same = [image("b"), image(None, content="1"), image("a:2"), image("a:1"), image(None, content="2")]
    for given in (same, same[::-1]):
        found = store.in_order(given)
        assert [i.name for i in found[:3]] == [
            "docker.io/library/a:1",
            "docker.io/library/a:2",
            "docker.io/library/b:latest",
        ]
        assert [i.image_id for i in found[3:]] == sorted(i.image_id for i in same if i.name is None)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["until=2026-01-15"], ["middle", "old", "ageless"]),
        (["until=2h"], ["<none>", "middle", "old", "ageless"]),
        (["until=1h"], ["<none>", "middle", "old", "ageless"]),
        (["until=30m"], ["new", "<none>", "middle", "old", "ageless"]),
        (["until=1767225600"], ["old", "ageless"]),  # 2026-01-01T00:00:00Z itself is not before
        (["until=2h", "until=2026-01-15"], ["middle", "old", "ageless"]),
        (["before=quay.io/team/middle:2"], ["old", "ageless"]),
        (["since=old:1"], ["new", "<none>", "middle"]),
        (["since=old:1", "until=2026-01-15"], ["middle"]),
        (["dangling=true"], ["<none>"]),
        (["dangling=0"], ["new", "middle", "old", "ageless"]),
        (["label=role"], ["middle", "old"]),
        (["label=role=web"], ["middle"]),
        (["label=role", "label=tier=2"], []),
        (["reference=old"], ["old"]),
        (["reference=old:2"], []),
        (["reference=*/*/middle"], ["middle"]),
        (["reference=o*", "reference=new:latest"], ["new", "old"]),
    ],
)
def test_filters_select(filters: list[str], expected: list[str]) -> None:
    assert names(*filters) == expected


def test_filter_by_the_age_of_an_unknown_image_is_refused() -> None:
    with pytest.raises(NotFound, match="middle"):
        names("before=middle")


@pytest.mark.parametrize("text", ["until=yesterday", "until=", "dangling=maybe"])
def test_wrong_value_of_a_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        names(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("1970-01-01T01:00:00.123456789+01:00", 0.123456),
        ("0001-01-01T00:00:00Z", 0.0),
        ("", 0.0),
        ("yesterday", 0.0),
    ],
)
def test_date_of_an_image_that_makes_no_sense_is_none(text: str, seconds: float) -> None:
    assert store.created_seconds(text) == seconds
