"""Finding drivers, their options, and the command lines of the helpers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rootless.errors import UsageError
from rootless.network import pasta, slirp4netns
from rootless.network.driver import DRIVER_NAMES, DriverUnusable, NetTarget, find_driver, read_options
from rootless.network.ports import parse_publish

if TYPE_CHECKING:
    from rootless.model.spec import Port

TARGET = NetTarget(42)


@pytest.mark.parametrize("name", DRIVER_NAMES)
def test_each_driver_is_found_by_its_name(name: str) -> None:
    assert find_driver(name).facts.name == name


def test_driver_that_does_not_publish_says_so() -> None:
    warning = "published ports are discarded when using --network=host"
    assert find_driver("host").facts.discards_ports == warning
    assert find_driver("pasta").facts.discards_ports == ""


def test_unknown_driver_is_refused_with_the_names() -> None:
    with pytest.raises(UsageError) as caught:
        find_driver("bridge")
    assert caught.value.message == "no network driver is called `bridge`"
    assert "pasta" in str(caught.value.hint)


def test_finding_a_driver_imports_no_other() -> None:
    code = (
        "import sys; from rootless.network.driver import find_driver; find_driver('none');"
        "print(sorted(m for m in sys.modules if m.startswith('rootless.network.') or m == 'socket'))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "['rootless.network.driver', 'rootless.network.none']\n"


@pytest.mark.parametrize("words", [("mtu=1400,host-loopback",), ("mtu=1400", "host_loopback=true")])
def test_options_are_read_in_both_spellings(words: tuple[str, ...]) -> None:
    assert read_options(words, pasta.DRIVER.facts) == {"mtu": "1400", "host-loopback": "true"}


@pytest.mark.parametrize(
    "word",
    ["", "mtu", "mtu=", "mtu=-1", "mtu=1e3", "nothing", "host-loopback=yes", "--map-gw", "interface=--trace"],
)
def test_wrong_option_is_refused_with_the_known_ones(word: str) -> None:
    """Hazard: an option that becomes one of the helper's own command line."""
    with pytest.raises(UsageError) as caught:
        read_options((word,), pasta.DRIVER.facts)
    assert caught.value.hint == "its options: host-loopback, interface, mtu"


def pasta_command(*ports: Port, maps_guest: bool = False, **options: str) -> list[str]:
    return pasta.command(
        "/usr/bin/pasta", TARGET, ports=ports, options=options, ready="/r", maps_guest=maps_guest
    )


def test_pasta_forwards_nothing_by_itself() -> None:
    assert " ".join(pasta_command()) == (
        "/usr/bin/pasta --foreground --quiet --config-net --ns-ifname eth0 --pid /r "
        "--dns-forward 169.254.1.1 --no-map-gw --tcp-ports none --udp-ports none --tcp-ns none --udp-ns none "
        "--userns /proc/42/ns/user --netns /proc/42/ns/net"
    )


def test_pasta_publishes_by_protocol_and_address() -> None:
    ports = [
        *parse_publish("8080:80"),
        *parse_publish("[::1]:81:81"),
        *parse_publish("127.0.0.1:53:5353/udp"),
    ]
    argv = " ".join(pasta_command(*ports))
    assert " --tcp-ports 8080:80 --tcp-ports ::1/81:81 --udp-ports 127.0.0.1/53:5353 --tcp-ns " in argv


def test_pasta_options() -> None:
    argv = " ".join(pasta_command(maps_guest=True, mtu="1400", interface="wan0", **{"host-loopback": "true"}))
    assert "--map-guest-addr 169.254.1.2 --mtu 1400 --interface wan0" in argv
    assert "--no-map-gw" not in argv


def test_pasta_publishes_on_each_family_that_it_routes() -> None:
    (port,) = parse_publish("8080:80")
    assert [p.host_ip for p in pasta.published((port,), ipv6=True)] == ["0.0.0.0", "::"]
    assert [p.host_ip for p in pasta.published((port,), ipv6=False)] == ["0.0.0.0"]
    assert [p.host_ip for p in pasta.published((port.replace(host_ip="::1"),), ipv6=True)] == ["::1"]


def test_old_pasta_says_which_udp_packets_it_loses() -> None:
    assert pasta.lossy_udp(tuple(parse_publish("53:53/udp") + parse_publish("80:81"))) == ()
    (notice,) = pasta.lossy_udp(tuple(parse_publish("5353:53/udp")))
    assert notice.startswith("other machines reach 0.0.0.0:5353/udp, this host itself does not")
    with pytest.raises(DriverUnusable, match=r"127\.0\.0\.1:5353->53/udp"):
        pasta.lossy_udp(tuple(parse_publish("127.0.0.1:5353:53/udp")))


def slirp_command(*, api: bool = False, **options: str) -> list[str]:
    return slirp4netns.command("/usr/bin/slirp4netns", TARGET, options, ready=3, life=4, api=api)


def test_slirp4netns_is_sandboxed_and_keeps_off_the_host() -> None:
    assert " ".join(slirp_command()) == (
        "/usr/bin/slirp4netns --configure --mtu=65520 --ready-fd=3 --exit-fd=4 --enable-sandbox "
        "--enable-seccomp --disable-host-loopback --netns-type=path /proc/42/ns/net eth0"
    )


@pytest.mark.parametrize("name", ["host-loopback", "allow-host-loopback"])
def test_slirp4netns_options(name: str) -> None:
    argv = slirp_command(api=True, mtu="1500", ipv6="true", **{name: "true"})
    assert {"--mtu=1500", "--enable-ipv6", "--api-socket=slirp4netns.sock"} <= set(argv)
    assert "--disable-host-loopback" not in argv


def test_slirp4netns_says_which_udp_packets_it_loses() -> None:
    assert slirp4netns.lossy_udp(tuple(parse_publish("80:80")), {}) == ()
    assert slirp4netns.lossy_udp(tuple(parse_publish("53:53/udp")), {"host-loopback": "true"}) == ()
    (notice,) = slirp4netns.lossy_udp(tuple(parse_publish("53:53/udp")), {})
    assert "not by 127.0.0.1" in notice
    with pytest.raises(DriverUnusable, match=r"127\.0\.0\.1:53/udp"):
        slirp4netns.lossy_udp(tuple(parse_publish("127.0.0.1:53:53/udp")), {})
