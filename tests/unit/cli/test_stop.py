"""`stop` and `rm` on real processes that stand in for containers."""

import contextlib
import os
import subprocess
import time
from types import SimpleNamespace

import pytest

from rootless.cli import ps, rm, stop
from rootless.engine import containers, damaged, modes, records
from rootless.errors import StateConflict

DEAF = "trap '' TERM; echo; while :; do sleep 0.05; done"


@pytest.fixture
def start(store):
    """Start a process that stands for a container's init; `script` says what it does."""
    started = []

    def make(name, script="echo; exec sleep 60", **changes):
        process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
        started.append(process)
        process.stdout.readline()  # traps are set
        store.running(name, pid=process.pid, **changes)
        return process

    yield make
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait()


def test_stop_ends_containers_and_prints_what_was_asked_for(store, start, capfd):
    one, two = start("one"), start("two")
    assert stop.main(["one", b"two".hex()], store.options) == 0
    assert capfd.readouterr().out == f"one\n{b'two'.hex()}\n"
    assert (one.wait(), two.wait()) == (-15, -15)


def test_stop_waits_for_all_together_and_kills_the_deaf(store, start):
    processes = [start(name, DEAF) for name in ("one", "two", "three")]
    begin = time.monotonic()
    assert stop.main(["-t", "1", "one", "two", "three"], store.options) == 0
    assert time.monotonic() - begin < 2
    assert [process.wait() for process in processes] == [-9, -9, -9]


def test_stop_sends_the_signal_that_is_asked_for(store, start):
    process = start("one")
    assert stop.main(["--signal", "USR1", "one"], store.options) == 0
    assert process.wait() == -10  # not INT: a test run in the background ignores it, and so would `one`


def test_stop_goes_on_past_what_does_not_exist(store, start, capfd):
    process = start("one")
    assert stop.main(["ghost", "one"], store.options) == 1
    assert "no such container: ghost" in capfd.readouterr().err
    assert process.wait() == -15


def test_stop_of_a_stopped_container_is_no_error(store, capfd):
    store.add("one", state={"status": "exited"})
    assert stop.main(["one"], store.options) == 0
    assert capfd.readouterr().out == "one\n"


@pytest.fixture
def removed(monkeypatch):
    """Record what `rm` removes, in place of the user namespace that it takes."""
    found = []

    def remove(paths, container, *, mapping, force, with_volumes):
        if container.state.status == "running" and not force:
            raise StateConflict("cannot remove")
        found.append((container.spec.name, with_volumes))

    monkeypatch.setattr(containers, "remove", remove)
    monkeypatch.setattr(modes, "load_store_modes", lambda paths: (None, SimpleNamespace(mapping=None)))
    return found


def test_rm_removes_the_others_when_one_cannot_be(store, removed, capfd):
    store.add("one")
    store.running("two", pid=os.getpid())
    store.add("three")
    assert rm.main(["one", "two", "ghost", "-v", "three"], store.options) == 1
    assert removed == [("one", True), ("three", True)]
    assert capfd.readouterr().out == "one\nthree\n"


def test_rm_force_is_content_with_absence_but_not_with_ambiguity(store, removed, capfd):
    store.add("one", id="aa" + "0" * 62)
    store.add("two", id="ab" + "0" * 62)
    assert rm.main(["-f", "ghost"], store.options) == 0
    assert capfd.readouterr() == ("", "notice: no such container: ghost\n")
    assert rm.main(["-f", "a"], store.options) == 1
    assert removed == []
    assert "2 ids start with `a`" in capfd.readouterr().err


def no_object(container):
    with open(container.path("spec.json"), "w") as file:
        file.write("{")


def no_field(container):
    with open(container.path("state.json"), "w") as file:
        file.write('{"status": "exited", "pid": "')


def no_file(container):
    os.unlink(container.path("spec.json"))


def no_regular_file(container):
    os.unlink(container.path("spec.json"))
    os.mkdir(container.path("spec.json"))


@pytest.mark.parametrize("damage", [no_object, no_field, no_file, no_regular_file])
def test_damaged_container_is_shown_as_dead_and_removed_by_force(store, removed, damage, capfd):
    store.add("sound", created_ns=2)
    container = store.add("one")
    damage(container)
    assert ps.main(["--format", "{{.Names}} {{.State}}"], store.options) == 0
    assert capfd.readouterr().out == ""
    assert ps.main(["-a", "--format", "{{.ID}} {{.Names}} {{.Status}}"], store.options) == 0
    shown = capfd.readouterr().out.splitlines()
    assert f"{container.spec.id[:12]} one Dead (its record is damaged)" in shown
    assert len(shown) == 2
    with contextlib.suppress(OSError):
        assert rm.main(["one"], store.options) == 1
    assert rm.main(["-f", container.spec.id[:6]], store.options) == 0
    assert removed == [("one", False)]


def test_stand_in_for_a_damaged_record_frees_its_name(store):
    container = store.add("one")
    os.unlink(container.path("state.json"))
    no_object(container)
    stand_in = damaged.find(store.paths, "one")
    assert stand_in
    records.hide(store.paths, stand_in)
    assert records.read_names(store.paths) == {}
    assert records.list_ids(store.paths) == []
