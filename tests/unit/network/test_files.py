"""hosts, resolv.conf and hostname: the whole text for ordinary input, and what hostile input cannot do."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.network.files import (
    MAX_HOST_FILE_BYTES,
    hostname_text,
    hosts_text,
    resolv_conf_text,
    split_extra_host,
)

LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def test_hosts_names_the_container_and_the_host() -> None:
    text = hosts_text(
        hostname="box",
        name="web1",
        addresses=("10.0.2.100", "fd00::100"),
        extra_hosts=("db:192.0.2.5", "six=[2001:db8::1]", "gate:host-gateway"),
        host_gateway="169.254.1.2",
    )
    assert text == LOCAL + (
        "10.0.2.100\tbox web1\n"
        "fd00::100\tbox web1\n"
        "192.0.2.5\tdb\n"
        "2001:db8::1\tsix\n"
        "169.254.1.2\tgate\n"
        "169.254.1.2\thost.containers.internal host.docker.internal\n"
    )


def test_hostname_resolves_without_a_network() -> None:
    assert hosts_text(hostname="box") == LOCAL + "127.0.1.1\tbox\n"


def test_user_may_name_the_host_otherwise() -> None:
    text = hosts_text(
        hostname="box", extra_hosts=("host.docker.internal:192.0.2.7",), host_gateway="169.254.1.2"
    )
    assert text.endswith("192.0.2.7\thost.docker.internal\n169.254.1.2\thost.containers.internal\n")


def test_host_gateway_without_one_is_refused() -> None:
    with pytest.raises(UsageError, match="gives no address for the host"):
        hosts_text(hostname="box", extra_hosts=("gate:host-gateway",))


def test_extra_host_with_ipv6_address() -> None:
    assert split_extra_host("six:2001:db8::1") == ("six", "2001:db8::1")


@pytest.mark.parametrize(
    "entry",
    ["", "db", "db:", ":1.2.3.4", "db:nowhere", "db:1.2.3.4\n6.6.6.6 bank", "a b:1.2.3.4", "a\n:1.2.3.4"],
)
def test_malformed_extra_host_is_refused(entry: str) -> None:
    with pytest.raises(UsageError, match="cannot add the host"):
        hosts_text(hostname="box", extra_hosts=(entry,))


def test_host_name_with_a_newline_is_refused() -> None:
    with pytest.raises(UsageError, match="not one word"):
        hosts_text(hostname="box\n6.6.6.6 bank")


def test_resolv_conf_of_the_host_passes_without_its_comments() -> None:
    host = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a.example b.example\noptions edns0\n"
    assert resolv_conf_text("# made by x\n" + host.replace("search", "; x\n\nsearch")) == host


@pytest.mark.parametrize("address", ["127.0.0.53", "127.0.0.1", "::1", "0.0.0.0", "fe80::1%wlan0"])
def test_nameserver_that_only_the_host_reaches_gives_way_to_the_driver(address: str) -> None:
    host = f"nameserver {address}\n"
    assert resolv_conf_text(host, resolver="10.0.2.3") == "nameserver 10.0.2.3\n"
    assert resolv_conf_text(host, shares_host=True) == host
    assert resolv_conf_text(host) == ""
    assert (
        resolv_conf_text(f"{host}nameserver 192.0.2.53\n", resolver="10.0.2.3") == "nameserver 192.0.2.53\n"
    )


def test_options_of_the_user_replace_those_of_the_host() -> None:
    host = "nameserver 192.0.2.53\nsearch a.example\noptions edns0\n"
    assert resolv_conf_text(host, dns=("127.0.0.1",), search=("b",), options=("ndots:2",)) == (
        "nameserver 127.0.0.1\nsearch b\noptions ndots:2\n"
    )
    assert resolv_conf_text(host, search=(".",)) == "nameserver 192.0.2.53\noptions edns0\n"


def test_last_search_or_domain_counts() -> None:
    assert resolv_conf_text("domain a\nsearch b c\n") == "search b c\n"


def test_huge_resolv_conf_is_cut() -> None:
    """Hazard: a file that grows into every container."""
    host = "nameserver 192.0.2.53\n" + "# filler\n" * MAX_HOST_FILE_BYTES + "nameserver 192.0.2.54\n"
    assert resolv_conf_text(host) == "nameserver 192.0.2.53\n"
    many = "".join(f"nameserver 192.0.2.{n}\n" for n in range(200)) + "search " + "a " * 9999
    assert len(resolv_conf_text(many)) < 200


@pytest.mark.parametrize(
    "line",
    ["nameserver", "nameserver nowhere", "nameserver 1.2.3", "sortlist 1.2.3.4", "\x1b[2J", "options \x07"],
)
def test_line_that_is_not_understood_is_dropped(line: str) -> None:
    assert resolv_conf_text(line + "\nnameserver 192.0.2.53\n") == "nameserver 192.0.2.53\n"


@pytest.mark.parametrize(
    "changes", [{"dns": ("x",)}, {"search": ("a b",)}, {"options": ("a\nnameserver 6.6.6.6",)}]
)
def test_option_that_would_write_lines_of_its_own_is_refused(changes: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError):
        resolv_conf_text("", **changes)  # type: ignore[arg-type]


def test_hostname_file() -> None:
    assert hostname_text("box") == "box\n"
