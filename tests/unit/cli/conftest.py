"""Containers on disk for the commands that read records."""

from __future__ import annotations

import pytest

from rootless._entry import GlobalOptions
from rootless.engine import records
from rootless.linux import procfs
from rootless.model import lifecycle
from rootless.model.spec import ContainerSpec, Process
from rootless.paths import find_paths

SECOND = 1_000_000_000


class Store:
    """A store in a temporary directory; `options` make commands use it."""

    def __init__(self, root: str) -> None:
        self.options = GlobalOptions(root=root)
        self.paths = find_paths(root)
        self.paths.ensure()

    def add(self, name: str, *, id: str = "", state: dict | None = None, **changes) -> records.Container:
        """Record a container; `state` replaces fields of its state."""
        fields = {
            "id": id or name.encode().hex().ljust(64, "0")[:64],
            "name": name,
            "image": "debian",
            "image_id": "sha256:" + "a" * 64,
            "layers": (),
            "process": Process(argv=("sh", "-c", "sleep 1")),
            "entrypoint_length": 1,
            "created_ns": SECOND,
        }
        container = records.create(self.paths, ContainerSpec(**(fields | changes)))
        if state:
            records.save_state(container, **state)
        return container

    def running(self, name: str, *, pid: int, **changes) -> records.Container:
        """Record a container whose first process, and monitor, is an existing process."""
        start = procfs.start_time(pid)
        state = {
            "status": lifecycle.RUNNING,
            "pid": pid,
            "pid_start": start,
            "monitor_pid": pid,
            "monitor_start": start,
            "started_ns": SECOND,
        }
        return self.add(name, state=state | changes.pop("state", {}), **changes)


@pytest.fixture
def store(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    return Store(str(tmp_path / "store"))
