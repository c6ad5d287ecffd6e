"""Host ports on this machine's loopback: chosen, held, refused by name."""

from __future__ import annotations

import errno
import socket

import pytest

from rootless.errors import RuntimeSetupError
from rootless.model.spec import Port
from rootless.network import reserve as module
from rootless.network.reserve import reserve

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
kinds = pytest.mark.parametrize("kind", KINDS)


def loopback(port: int = 0, *, last: int = 0, kind: str = "tcp") -> Port:
    return Port(container_port=80, host_port=port, host_port_last=last, host_ip="127.0.0.1", protocol=kind)


def bind(port: int, kind: str, *, reuse: bool = False) -> socket.socket:
    s = socket.socket(socket.AF_INET, KINDS[kind])
    try:
        if reuse:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        if kind == "tcp":
            s.listen()
    except OSError:
        s.close()
        raise
    return s


@kinds
def test_port_zero_is_chosen_and_held_from_others(kind: str) -> None:
    with reserve([loopback(kind=kind), loopback(kind=kind)]) as held:
        one, two = (port.host_port for port in held.ports)
        assert one
        assert two
        assert one != two
        with pytest.raises(OSError, match="in use"):
            bind(one, kind)
    bind(one, kind).close()


@kinds
def test_helper_takes_a_held_port_over(kind: str) -> None:
    with reserve([loopback(kind=kind)]) as held:
        taken = bind(held.ports[0].host_port, kind, reuse=True)
    with taken, pytest.raises(RuntimeSetupError):
        reserve([loopback(taken.getsockname()[1], kind=kind)])


@kinds
def test_taken_port_is_refused_by_name(kind: str) -> None:
    with bind(0, kind, reuse=True) as other:
        port = other.getsockname()[1]
        with pytest.raises(RuntimeSetupError) as caught:
            reserve([loopback(port, kind=kind)])
        assert caught.value.message == f"cannot publish 127.0.0.1:{port}/{kind}: port is already allocated"
        assert caught.value.reference == "port-allocated"


def test_range_gives_the_first_free_port_and_says_when_all_are_taken() -> None:
    with reserve([loopback()]) as held:
        first = held.ports[0].host_port
        with bind(first, "tcp", reuse=True), reserve([loopback(first, last=first + 20)]) as chosen:
            assert first < chosen.ports[0].host_port <= first + 20
            assert chosen.ports[0].host_port_last == 0
    with bind(0, "tcp", reuse=True) as other:
        port = other.getsockname()[1]
        with pytest.raises(RuntimeSetupError) as caught:
            reserve([loopback(port, last=port)])
    assert f"127.0.0.1:{port}-{port}/tcp: port is already allocated" in caught.value.message


def test_released_protocol_is_free_at_once() -> None:
    with reserve([loopback(kind="udp"), loopback(kind="tcp")]) as held:
        held.release("udp")
        bind(held.ports[0].host_port, "udp").close()
        with pytest.raises(OSError, match="in use"):
            bind(held.ports[1].host_port, "tcp")


def test_failure_lets_go_of_what_was_held() -> None:
    with bind(0, "tcp") as other, reserve([loopback()]) as spare:
        free = spare.ports[0].host_port
        spare.close()
        with pytest.raises(RuntimeSetupError):
            reserve([loopback(free), loopback(other.getsockname()[1])])
        bind(free, "tcp").close()


def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(RuntimeSetupError, match=r"192\.0\.2\.1 is not an address of this host"):
        reserve([Port(container_port=80, host_port=8080, host_ip="192.0.2.1")])


def test_forbidden_port_is_refused_with_the_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(address: str, port: int, *, protocol: str) -> socket.socket:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(module, "_bind", forbid)
    with pytest.raises(RuntimeSetupError) as caught:
        reserve([loopback(80)])
    assert caught.value.reference == "port-privileged"
    assert "sysctl -w net.ipv4.ip_unprivileged_port_start=80" in str(caught.value.hint)


def test_host_without_ipv6_publishes_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._bind

    def bind4(address: str, port: int, *, protocol: str) -> socket.socket:
        if ":" in address:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return real("127.0.0.1", port, protocol=protocol)

    monkeypatch.setattr(module, "_bind", bind4)
    with reserve([Port(container_port=80)]) as held:
        assert held.ports[0].host_port
