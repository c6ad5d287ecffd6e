"""What `wait --condition` waits for, and when it refuses."""

import os
import threading

import pytest

from rootless.engine import conditions, health, records
from rootless.engine.conditions import NO_EXIT_CODE, wait
from rootless.engine.health import Health
from rootless.errors import NotFound, StateConflict
from rootless.model.policy import Healthcheck
from tests.helpers.store import Store

CHECK = Healthcheck(test=("CMD", "x"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return Store(str(tmp_path / "store"))


def waiting(store, container, condition, then):
    """Do `then` while somebody waits, once they sleep; return what they got."""
    found = []
    asleep = threading.Event()
    real = conditions.Watch.pause

    def tell(watch, *fds, **options):
        asleep.set()
        return real(watch, *fds, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(conditions.Watch, "pause", tell)
        thread = threading.Thread(target=lambda: found.append(wait(store.paths, container, condition)))
        thread.start()
        assert asleep.wait(10)
        then()
        thread.join(10)
    return found


@pytest.mark.parametrize("status", ["healthy", "unhealthy"])
def test_health_is_waited_for(store, status):
    web = store.running("web", pid=os.getpid(), healthcheck=CHECK)
    health.save(web, Health())
    assert waiting(store, web, status, lambda: health.save(web, Health(status=status))) == [NO_EXIT_CODE]
    assert wait(store.paths, web, status) == NO_EXIT_CODE


def test_start_is_waited_for(store):
    web = store.running("web", pid=os.getpid(), state={"status": "created"})
    assert waiting(store, web, "running", lambda: records.save_state(web, status="running")) == [NO_EXIT_CODE]


def test_removal_is_waited_for(store):
    web = store.add("web", state={"status": "exited", "exit_code": 3})
    assert waiting(store, web, "removed", lambda: records.hide(store.paths, web)) == [3]


def test_health_of_a_container_that_has_none(store):
    web = store.running("web", pid=os.getpid())
    with pytest.raises(StateConflict, match="has no health check"):
        wait(store.paths, web, "healthy")


def test_health_of_a_container_that_has_ended(store):
    web = store.add("web", healthcheck=CHECK, state={"status": "exited"})
    health.save(web, Health(status="healthy"))
    with pytest.raises(StateConflict, match="will not become healthy: it is exited"):
        wait(store.paths, web, "healthy")


def test_container_that_is_removed_meanwhile_is_told(store):
    web = store.add("web")
    os.rename(web.directory, web.directory + "-gone")
    with pytest.raises(NotFound):
        wait(store.paths, web, "running")
