"""Records on a disk that takes no new file: the truth is still kept, and told."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from rootless.engine import jsonfile, records
from rootless.model import lifecycle
from rootless.model.lifecycle import ContainerState
from rootless.model.spec import ContainerSpec, Process

if TYPE_CHECKING:
    from pathlib import Path

SPEC = ContainerSpec(
    id="a" * 64,
    name="full",
    image="i",
    image_id="sha256:" + "b" * 64,
    layers=(),
    process=Process(argv=("true",)),
)


@pytest.fixture
def container(tmp_path: Path) -> records.Container:
    state = ContainerState(
        status=lifecycle.RUNNING, pid=1, error="a text longer than the one that replaces it" * 9
    )
    (tmp_path / "state.json").write_text(json.dumps(state.to_json()))
    return records.Container(str(tmp_path), SPEC, state)


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every write into a new file fail; files that are there can be overwritten."""
    write, real_open, new = os.write, os.open, set()

    def open_(path: str, flags: int, *rest: int) -> int:
        fd = real_open(path, flags, *rest)
        if flags & os.O_CREAT:
            new.add(fd)
        else:
            new.discard(fd)
        return fd

    def write_(fd: int, data: bytes) -> int:
        if fd in new:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "write", write_)


def test_state_is_recorded_in_place_when_the_disk_is_full(
    container: records.Container, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill_disk(monkeypatch)
    records.apply_event(container, lifecycle.EXIT, exit_code=3, error="")
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]
    recorded = ContainerState.from_json(json.loads((tmp_path / "state.json").read_text()))
    assert (recorded.status, recorded.exit_code, recorded.error) == (lifecycle.EXITED, 3, "")


def test_dead_container_is_told_of_although_its_record_cannot_be_corrected(
    container: records.Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(jsonfile, "replace", refuse)
    assert records.observe(container).state.status == lifecycle.EXITED


def test_failed_record_names_its_file(
    container: records.Container, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left") as caught:
        jsonfile.replace(container.directory, "spec.json", {}, durable=False)
    assert caught.value.filename == str(tmp_path / "spec.json")
