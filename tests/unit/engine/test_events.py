"""The journal of events: whole lines, rotation among writers, and a disk that takes nothing."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from rootless.engine import events, records
from rootless.model.lifecycle import ContainerState
from rootless.model.spec import ContainerSpec, Process
from rootless.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

ID = "c" * 64


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(store=str(tmp_path), run=str(tmp_path / "run"))


def read(path: str) -> list[dict[str, Any]]:
    with open(path) as file:
        return [json.loads(line) for line in file if line != "\n"]


def emit(paths: Paths, count: int, *, size: int = 0) -> None:
    for number in range(count):
        events.record(paths, events.VOLUME, "create", id=f"v{number}", attributes={"pad": "x" * size})


def test_event_has_dockers_shape(paths: Paths) -> None:
    events.record(paths, events.CONTAINER, "die", id=ID, attributes={"exitCode": "3"})
    (event,) = read(events.journal_path(paths))
    nanoseconds = event.pop("timeNano")
    assert nanoseconds // 10**9 == event.pop("time")
    assert event == {
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": ID, "Attributes": {"exitCode": "3"}},
        "scope": "local",
    }


def test_container_event_tells_image_name_labels_and_more(paths: Paths) -> None:
    spec = ContainerSpec(
        id=ID,
        name="web",
        image="nginx",
        image_id="sha256:" + "d" * 64,
        layers=(),
        process=Process(argv=("true",)),
        labels=("a=b=c", "empty="),
    )
    events.record_container(paths, records.Container("/nowhere", spec, ContainerState()), "kill", signal="9")
    (event,) = read(events.journal_path(paths))
    assert event["Actor"]["Attributes"] == {
        "a": "b=c",
        "empty": "",
        "image": "nginx",
        "name": "web",
        "signal": "9",
    }


@pytest.mark.parametrize("text", ["line\nbreak", "\ud800 and \udcff", 'quote " and \\'])
def test_event_is_one_line_whatever_its_text(paths: Paths, text: str) -> None:
    events.record(paths, events.VOLUME, text, id=text, attributes={text: text})
    (event,) = read(events.journal_path(paths))
    assert event["Actor"]["ID"] == text


def test_full_journal_is_rotated_and_the_last_one_kept(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_BYTES", 1000)
    emit(paths, 30, size=100)
    sizes = [os.path.getsize(p) for p in (events.journal_path(paths), events.rotated_path(paths))]
    assert all(200 < size < 1300 for size in sizes)
    names = [
        event["Actor"]["ID"]
        for path in (events.rotated_path(paths), events.journal_path(paths))
        for event in read(path)
    ]
    assert names == [f"v{n}" for n in range(30)][-len(names) :]


def test_writers_that_rotate_at_once_lose_nothing_of_the_last_two_files(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_BYTES", 20_000)
    children = []
    for writer in range(4):
        pid = os.fork()
        if pid == 0:
            for number in range(200):
                events.record(paths, events.VOLUME, "create", id=f"{writer} {number}")
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    seen: dict[str, list[int]] = {}
    for path in (events.rotated_path(paths), events.journal_path(paths)):
        for event in read(path):
            writer, number = event["Actor"]["ID"].split()
            seen.setdefault(writer, []).append(int(number))
    for numbers in seen.values():
        assert numbers == list(range(numbers[0], 200))  # in order, and without a gap up to the last


def test_writer_that_a_rotation_overtakes_goes_on_in_the_new_journal(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit(paths, 1)
    lock, asked = events._lock, []

    def rotate_first(fd: int, operation: int) -> bool:
        if not asked:  # it has opened the file, and nothing more
            os.rename(events.journal_path(paths), events.rotated_path(paths))
        asked.append(operation)
        return lock(fd, operation)

    monkeypatch.setattr(events, "_lock", rotate_first)
    events.record(paths, events.VOLUME, "create", id="late")
    assert asked == [fcntl.LOCK_SH, fcntl.LOCK_SH]
    assert [e["Actor"]["ID"] for e in read(events.rotated_path(paths))] == ["v0"]
    assert [e["Actor"]["ID"] for e in read(events.journal_path(paths))] == ["late"]


def test_journal_is_not_rotated_while_another_writer_is_at_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_BYTES", 1)
    emit(paths, 1)
    with open(events.journal_path(paths)) as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        emit(paths, 2)
    assert not os.path.exists(events.rotated_path(paths))
    assert len(read(events.journal_path(paths))) == 3
    emit(paths, 1)
    assert len(read(events.rotated_path(paths))) == 3


def test_event_after_half_an_event_stands_on_a_line_of_its_own(paths: Paths) -> None:
    with open(events.journal_path(paths), "w") as file:
        file.write('{"Type":"conta')
    events.record(paths, events.VOLUME, "create", id="v")
    with open(events.journal_path(paths)) as file:
        lines = file.read().splitlines()
    assert lines[0] == '{"Type":"conta'
    assert json.loads(lines[1])["Actor"]["ID"] == "v"


def test_store_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    missing = Paths(store=str(tmp_path / "no" / "store"), run=str(tmp_path))
    events.record(missing, events.VOLUME, "create", id="v")
    assert not os.path.exists(missing.store)


def test_full_disk_stops_nobody(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    events.record(paths, events.VOLUME, "create", id="v")
