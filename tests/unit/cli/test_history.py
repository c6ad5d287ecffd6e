"""Which steps `history` shows, and how."""

from __future__ import annotations

from types import SimpleNamespace

from layers.config import HistoryEntry
from rootless.cli import history
from rootless.interface.store import created_seconds

NOW_S = created_seconds("2026-03-01T00:00:00Z")


def step(created_by: str, *, empty: bool = False, created: str = "2026-02-28T23:00:00Z") -> HistoryEntry:
    return HistoryEntry(created=created, created_by=created_by, author="", comment="c", empty_layer=empty)


def shown(*history_: HistoryEntry, sizes: tuple[int, ...]) -> list[tuple[str, int]]:
    found = history.steps(SimpleNamespace(history=history_), sizes)
    return [(entry.created_by if entry else "?", size) for entry, size in found]


def test_sizes_belong_to_the_steps_that_made_layers() -> None:
    assert shown(step("ADD"), step("ENV", empty=True), step("RUN"), sizes=(5, 7)) == [
        ("ADD", 5),
        ("ENV", 0),
        ("RUN", 7),
    ]


def test_history_that_does_not_fit_the_layers_is_not_believed() -> None:
    assert shown(step("ADD"), sizes=(5, 7)) == [("?", 5), ("?", 7)]
    assert shown(sizes=(5,)) == [("?", 5)]
    assert shown(step("a"), step("b"), sizes=(5,)) == [("?", 5)]


def test_step_is_short_for_people_and_exact_for_programs() -> None:
    long = step("x" * 50 + "\ty")
    people = history.row(long, 1234, now_s=NOW_S, human=True, truncate=True)
    assert people["CreatedBy"] == "x" * 44 + "…"
    assert (people["Size"], people["CreatedSince"]) == ("1.23kB", "About an hour ago")
    programs = history.row(long, 1234, now_s=NOW_S, human=False, truncate=False)
    assert programs["CreatedBy"] == "x" * 50 + " y"
    assert programs["Size"] == "1234"
    assert created_seconds(programs["CreatedAt"]) == NOW_S - 3600


def test_step_without_a_date_says_so() -> None:
    assert (
        history.row(step("a", created="soon"), 0, now_s=NOW_S, human=True, truncate=True)["CreatedSince"]
        == "N/A"
    )
    assert history.row(None, 0, now_s=NOW_S, human=True, truncate=True)["CreatedBy"] == ""
