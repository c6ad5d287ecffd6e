"""A worker that was started early, and is not needed after all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rootless.engine import worker
from rootless.model.host import IdMapping

if TYPE_CHECKING:
    import pytest


def test_worker_that_is_told_nothing_ends_by_itself_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    early = worker.start(IdMapping(mode="none", uids=(), gids=(), key="none"), str(tmp_path))
    answers, errors = os.dup(early.answers), os.dup(early.errors)
    early.close()
    assert early.process.returncode == 0
    assert os.read(answers, 100) == b""
    assert os.pread(errors, 100, 0) == b""
    os.close(answers)
    os.close(errors)
