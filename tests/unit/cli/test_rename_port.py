"""Names and ports of containers: `rename`, `port`, and links, which there are none of."""

import os
import time

import pytest

from rootless.cli import port, rename, rm
from rootless.engine import event_reader, records
from rootless.errors import NotFound, StateConflict, UsageError
from rootless.model import lifecycle

PORTS = (
    {"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp"},
    {"host_ip": "::1", "host_port": 53, "container_port": 53, "protocol": "udp"},
)


@pytest.fixture
def web(store):
    return store.running("web", pid=os.getpid(), state={"ports": PORTS})


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["web"], "53/udp -> [::1]:53\n80/tcp -> 0.0.0.0:8080\n"),
        (["web", "80"], "0.0.0.0:8080\n"),
        (["web", "80/TCP"], "0.0.0.0:8080\n"),
        (["web", "53/udp"], "[::1]:53\n"),
    ],
)
def test_published_ports_are_told(store, web, capfd, words, out):
    assert port.main(words, store.options) == 0
    assert capfd.readouterr().out == out


def test_port_that_is_not_published_is_told(store, web):
    with pytest.raises(NotFound, match="no public port `53/tcp` published for web"):
        port.main(["web", "53"], store.options)


@pytest.mark.parametrize("text", ["", "http", "0", "65536", "-1", "80/", "٣", "9" * 5000])
def test_what_is_no_port_is_refused(store, web, text):
    with pytest.raises((UsageError, NotFound)):
        port.main(["--", "web", text], store.options)


def test_container_that_does_not_run_has_no_ports(store, capfd):
    store.add("old", state={"status": lifecycle.EXITED, "ports": PORTS})
    assert port.main(["old"], store.options) == 0
    assert capfd.readouterr().out == ""


def test_new_name_is_the_only_one_from_now_on(store, web, capfd):
    assert rename.main(["web", "front"], store.options) == 0
    assert records.find(store.paths, "front").spec.id == web.spec.id
    assert records.load(store.paths, web.spec.id).spec.name == "front"
    with pytest.raises(NotFound):
        records.find(store.paths, "web")
    store.add("web", id="d" * 64)  # the old name is free


def test_rename_is_an_event_with_the_old_name(store, web):
    rename.main(["web", "/front"], store.options)
    *_, event = event_reader.read(store.paths, since_ns=0, until_ns=time.time_ns())
    assert event["Action"] == "rename"
    attributes = event["Actor"]["Attributes"]
    assert (attributes["oldName"], attributes["name"]) == ("/web", "front")


@pytest.mark.parametrize("name", ["", "x", "-x", "a/b", "a b", "\n", "n" * 256, ".hidden"])
def test_what_is_no_name_is_refused(store, web, name):
    with pytest.raises(UsageError):
        rename.main(["--", "web", name], store.options)
    assert records.find(store.paths, "web").spec.name == "web"


def test_name_that_is_taken_is_refused(store, web):
    other = store.add("other")
    with pytest.raises(StateConflict, match=f"already in use by container {other.spec.id[:12]}"):
        rename.main(["web", "other"], store.options)
    assert records.find(store.paths, "web").spec.id == web.spec.id
    with pytest.raises(StateConflict, match="that is its name already"):
        rename.main(["web", "web"], store.options)


def test_link_is_nothing_that_could_be_removed(store, web):
    with pytest.raises(NotFound, match="no such link: /web/db"):
        rm.main(["--link", "/web/db"], store.options)
