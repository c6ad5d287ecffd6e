from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.registry.hosts import api_host, host_of, is_inward, is_loopback
from rootless.registry.settings import Deadlines


def test_deadlines_are_read_by_name() -> None:
    deadlines = Deadlines.parse("idle_s=0.5,attempts=2")
    assert (deadlines.idle_s, deadlines.attempts) == (0.5, 2)
    assert deadlines.connect_s == Deadlines().connect_s


@pytest.mark.parametrize("text", ["idle_s", "idle_s=x", "idle_s=-1", "idle_s=nan", "idle_s=inf", "other=1"])
def test_wrong_deadline_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Deadlines.parse(text)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1"]
)
def test_loopback_is_known_by_its_form(host: str) -> None:
    assert is_loopback(host)
    assert is_inward(host)


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "notlocalhost", "128.0.0.1", "10.0.0.1", "a.example"]
)
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)
    assert not is_inward(host)


def test_host_and_port_are_split() -> None:
    assert host_of("[::1]:5000") == "::1"
    assert host_of("a.example:5000") == host_of("a.example") == "a.example"


def test_docker_hub_has_another_name_for_its_api() -> None:
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("q.io:5000") == "q.io:5000"
