"""A worker that was started early: what it finds out, and its end when it is not needed after all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rootless.engine import modes, worker
from rootless.errors import HostUnsupported
from rootless.model.host import HostFacts, IdMapping
from rootless.paths import Paths
from tests.helpers.images import Layer, digest

if TYPE_CHECKING:
    import pytest

NO_NAMESPACES = HostFacts(uid=1000, gid=1000, user_namespaces="refused in this test")


def find_nothing(_: Paths) -> HostFacts:
    raise HostUnsupported("cannot look at this host")


def test_worker_that_is_told_nothing_ends_by_itself_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    early = worker.start(IdMapping(mode="none", uids=(), gids=(), key="none"), str(tmp_path))
    assert last_words(early) == (0, b"", b"")


def test_forked_worker_says_first_what_this_host_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "load_facts", lambda _: NO_NAMESPACES)
    forked = worker.fork(Paths(store=str(tmp_path), run=str(tmp_path)))
    assert forked.receive_facts() == NO_NAMESPACES
    assert last_words(forked) == (0, b"", b"")


def test_forked_worker_that_cannot_look_at_this_host_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "load_facts", find_nothing)
    forked = worker.fork(Paths(store=str(tmp_path), run=str(tmp_path)))
    assert forked.receive_facts() is None
    code, answers, errors = last_words(forked)
    assert (code, answers) == (1, b"")
    assert b"cannot look at this host" in errors


def test_worker_takes_another_layer_after_one_that_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    process = worker.start(IdMapping(mode="none", uids=(), gids=(), key="none"), str(tmp_path))
    os.set_blocking(process.answers, True)
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        data = Layer().file(name, name.encode()).bytes()
        request = {"compression": "none", "diff_id": digest(data), "owners": "recorded", "sync": False}
        process.tell({"root": str(tmp_path / name), **request})
        os.write(process.layer, data)
        process.close_layer()
        with open(process.answers, closefd=False) as answers:
            assert json.loads(answers.readline())["event"] == "extracted"
            process.tell({"parents": []})
            assert json.loads(answers.readline())["event"] == "finished"
        assert (tmp_path / name / name).read_text() == name
        process.renew()
    assert last_words(process) == (0, b"", b"")


def last_words(process: worker.WorkerProcess) -> tuple[int | None, bytes, bytes]:
    """Close a worker; return its exit code, what else it answered, and what stands in its stderr."""
    answers, errors = os.dup(process.answers), os.dup(process.errors)
    process.close()
    try:
        return process.process.returncode, os.read(answers, 100), os.pread(errors, 4000, 0)
    finally:
        os.close(answers)
        os.close(errors)
