"""What `events` shows of an event, and which events it picks."""

import json
import time

import pytest

from rootless.cli import events as command
from rootless.engine import events
from rootless.errors import UsageError

ID = "ab" * 32


def message(kind="container", action="start", id=ID, **attributes):
    moment = {"scope": "local", "time": 1, "timeNano": 1_000_000_002}
    return {"Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": attributes}, **moment}


@pytest.fixture
def zone(monkeypatch):
    def choose(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("UTC", "1970-01-01T00:00:01.000000002Z"),
        ("XXX-05:30", "1970-01-01T05:30:01.000000002+05:30"),
        ("XXX+03:30", "1969-12-31T20:30:01.000000002-03:30"),
    ],
)
def test_line_is_dockers(zone, name, moment):
    zone(name)
    line = command.text_line(message(name="web", image="nginx", a=""))
    assert line == f"{moment} container start {ID} (a=, image=nginx, name=web)"
    assert command.text_line(message(kind="volume", action="create", id="v")) == (f"{moment} volume create v")


@pytest.mark.parametrize(
    ("filters", "event", "wanted"),
    [
        ({}, message(), True),
        ({"type": ["container"]}, message(), True),
        ({"type": ["volume", "image"]}, message(), False),
        ({"event": ["die", "start"]}, message(), True),
        ({"event": ["health_status"]}, message(action="health_status: healthy"), True),
        ({"event": ["health_status: healthy"]}, message(action="health_status: unhealthy"), False),
        ({"event": ["exec"]}, message(action="exec_create: sh"), False),
        ({"container": ["web"]}, message(name="web"), True),
        ({"container": ["web"]}, message(name="web2"), False),
        ({"container": ["abab"]}, message(), True),
        ({"container": ["abab"]}, message(kind="image"), False),
        ({"image": ["nginx"]}, message(image="nginx:1.27"), True),
        ({"image": ["nginx:1.27"]}, message(image="nginx:1.27"), True),
        ({"image": ["nginx:1"]}, message(image="nginx:1.27"), False),
        ({"image": ["host:5000/x"]}, message(image="host:5000/x"), True),
        ({"image": ["host"]}, message(image="host:5000/x"), False),
        ({"image": ["nginx"]}, message(kind="image", action="pull", id="nginx:1.27"), True),
        ({"image": ["nginx"]}, message(kind="volume", id="nginx", image="x"), False),
        ({"label": ["tier=front", "x"]}, message(tier="front", x="1"), True),
        ({"label": ["tier=front", "y"]}, message(tier="front", x="1"), False),
        ({"volume": ["data"]}, message(kind="volume", id="data"), True),
        ({"volume": ["data"]}, message(kind="container", id="data"), False),
        ({"type": ["container"], "event": ["die"]}, message(), False),
        ({"scope": ["local"]}, message(), True),
        ({"scope": ["swarm"]}, message(), False),
    ],
)
def test_filters(filters, event, wanted):
    assert command.make_test(filters)(event) is wanted


@pytest.fixture
def shown(store, capfd):
    """Record two events and return what the command prints with more options."""
    for name in ("one", "two"):
        events.record(store.paths, events.VOLUME, "create", id=name, attributes={"driver": "local"})

    def run(*words):
        assert command.main(["--since", "1h", "--until", "0s", *words], store.options) == 0
        return capfd.readouterr().out

    return run


def test_json_is_one_object_a_line(shown):
    lines = [json.loads(line) for line in shown("--format", "json").splitlines()]
    assert [line["Actor"]["ID"] for line in lines] == ["one", "two"]


def test_template_names_dockers_fields(shown):
    form = "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.driver}} {{.Status}} {{.Scope}}"
    assert shown("--format", form, "-f", "volume=two") == "volume create two local create local\n"


def test_end_without_a_beginning_shows_all(store, shown, capfd):
    command.main(["--until", "0s", "--format", "{{.ID}}"], store.options)
    assert capfd.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "1m", "--until", "2m"],
        ["--since", "never"],
        ["-f", "colour=red"],
        ["--format", "{{"],
        ["x"],
    ],
)
def test_wrong_words_are_refused(store, words):
    with pytest.raises(UsageError):
        command.main(words, store.options)
