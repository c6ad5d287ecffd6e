"""Containers on disk for the commands that read records."""

from __future__ import annotations

import pytest

from tests.helpers.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    return Store(str(tmp_path / "store"))
