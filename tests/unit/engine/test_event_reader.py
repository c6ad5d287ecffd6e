"""Reading the journal of events: its order, its bounds, and following it across rotations."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from rootless.engine import event_reader, events
from rootless.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(store=str(tmp_path), run=str(tmp_path / "run"))


def emit(paths: Paths, *ids: str) -> None:
    for id in ids:
        events.record(paths, events.VOLUME, "create", id=id)


def past(paths: Paths, *, since_ns: int | None = 0) -> list[str]:
    until_ns = time.time_ns()
    return [e["Actor"]["ID"] for e in event_reader.read(paths, since_ns=since_ns, until_ns=until_ns)]


def test_past_events_come_in_their_order_and_then_it_ends(paths: Paths) -> None:
    emit(paths, "a", "b", "c")
    assert past(paths) == ["a", "b", "c"]
    assert past(paths, since_ns=None) == []


def test_since_and_until_bound_what_is_shown(paths: Paths) -> None:
    moments = []
    for id in ("a", "b", "c"):
        emit(paths, id)
        moments.append(time.time_ns())
    assert [e["Actor"]["ID"] for e in event_reader.read(paths, since_ns=moments[0], until_ns=moments[1])] == [
        "b"
    ]


def test_store_without_events_has_none(paths: Paths) -> None:
    assert past(paths) == []


def test_rotated_file_is_read_first(paths: Paths) -> None:
    emit(paths, "a", "b")
    os.rename(events.journal_path(paths), events.rotated_path(paths))
    assert past(paths) == ["a", "b"]
    emit(paths, "c")
    assert past(paths) == ["a", "b", "c"]


def test_lines_that_are_no_events_are_passed_over(paths: Paths) -> None:
    emit(paths, "a")
    with open(events.journal_path(paths), "a") as file:
        file.write('{"Type":"container","Act\n[]\nnull\n{"Actor":[]}\n' + "[" * 100_000 + "\n\xff\n")
        file.write('{"Type":1,"Action":"x","Actor":{"ID":"y","Attributes":{}},"timeNano":1}\n')
        file.write('{"Type":"x","Action":"x","Actor":{"ID":"y","Attributes":{}},"timeNano":"1"}\n')
    emit(paths, "b")
    assert past(paths) == ["a", "b"]


def test_reading_goes_on_without_an_end(paths: Paths) -> None:
    emit(paths, "old")
    stream = event_reader.read(paths, since_ns=0, until_ns=None)
    assert next(stream)["Actor"]["ID"] == "old"
    emit(paths, "new")
    assert next(stream)["Actor"]["ID"] == "new"
    stream.close()


@pytest.mark.parametrize("existing", [0, 1, 2], ids=["no file", "a journal", "a rotated file alone"])
def test_follower_crosses_rotations_without_loss(paths: Paths, existing: int) -> None:
    if existing:
        emit(paths, "old")
    if existing == 2:
        os.rename(events.journal_path(paths), events.rotated_path(paths))
    reader = event_reader._Reader(paths)
    reader.skip_to_end()
    seen: list[str] = []

    def look() -> None:
        seen.extend(event_reader.parse(line)["Actor"]["ID"] for line in reader.lines())  # type: ignore[index]

    emit(paths, "a")
    look()
    emit(paths, "b")
    os.rename(events.journal_path(paths), events.rotated_path(paths))
    emit(paths, "c")
    look()
    os.rename(events.journal_path(paths), events.rotated_path(paths))
    look()
    emit(paths, "d")
    os.rename(events.journal_path(paths), events.rotated_path(paths))
    emit(paths, "e")
    look()
    reader.close()
    assert seen == ["a", "b", "c", "d", "e"]


def test_waiting_ends_when_something_is_written(paths: Paths) -> None:
    reader = event_reader._Reader(paths)
    reader.skip_to_end()
    reader.wait(0)
    pid = os.fork()
    if pid == 0:
        emit(paths, "a")
        os._exit(0)
    reader.wait(60)  # the test's own time limit is shorter than a few of these
    os.waitpid(pid, 0)
    assert len(list(reader.lines())) == 1
    reader.close()


def test_reading_ends_at_a_moment_to_come(paths: Paths) -> None:
    emit(paths, "a")
    until_ns = time.time_ns() + 50_000_000
    assert len(list(event_reader.read(paths, since_ns=0, until_ns=until_ns))) == 1
    assert time.time_ns() > until_ns


def test_half_a_line_waits_for_its_other_half(paths: Paths) -> None:
    emit(paths, "a")
    with open(events.journal_path(paths), "r+b") as file:
        whole = file.read()
        file.truncate(10)
    reader = event_reader._Reader(paths)
    assert list(reader.lines()) == []
    with open(events.journal_path(paths), "ab") as file:
        file.write(whole[10:])
    assert [event_reader.parse(line) is not None for line in reader.lines()] == [True]
    reader.close()
