"""The -p grammar: what each form means, and that every malformed one is refused by name."""

from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.model.spec import Port
from rootless.network.ports import format_ports, parse_exposed, parse_publish


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [Port(container_port=80)]),
        ("8080:80", [Port(container_port=80, host_port=8080)]),
        ("0:80", [Port(container_port=80)]),
        (":80", [Port(container_port=80)]),
        ("53:53/udp", [Port(container_port=53, host_port=53, protocol="udp")]),
        ("53:53/UDP", [Port(container_port=53, host_port=53, protocol="udp")]),
        ("127.0.0.1:8080:80", [Port(container_port=80, host_port=8080, host_ip="127.0.0.1")]),
        ("127.0.0.1::80", [Port(container_port=80, host_ip="127.0.0.1")]),
        ("[::1]:8080:80", [Port(container_port=80, host_port=8080, host_ip="::1")]),
        ("[0:0::1]::80", [Port(container_port=80, host_ip="::1")]),
        (
            "8000-8001:80-81",
            [Port(container_port=80, host_port=8000), Port(container_port=81, host_port=8001)],
        ),
        ("80-81", [Port(container_port=80), Port(container_port=81)]),
        ("8000-8010:80", [Port(container_port=80, host_port=8000, host_port_last=8010)]),
        ("8000-8000:80", [Port(container_port=80, host_port=8000)]),
        ("65535:65535", [Port(container_port=65535, host_port=65535)]),
    ],
)
def test_each_form_of_publish_gives_its_ports(text: str, ports: list[Port]) -> None:
    assert parse_publish(text) == ports


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::",
        "a",
        "80:",
        "0",
        "80:0",
        "65536",
        "-1",
        "80-",
        "90-80",
        "8000-8002:80-81",
        "80-81:80-83",
        "0-5:80",
        "+80",
        "8_0",
        " 80",
        "٨٠",  # ARABIC-INDIC digits
        "80/sctp",
        "80/",
        "80/tcp/udp",
        "localhost:80:80",
        "1.2.3:80:80",
        "1.2.3.4:5:6:7",
        "::1:80:80",
        "[::1]:80",
        "[::1]80:80",
        "[1.2.3.4]:80:80",
        "[::1:80:80",
        "127.0.0.1\x00:80:80",
        "9" * 5000,
    ],
)
def test_malformed_publish_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_publish(text)
    assert caught.value.message.startswith(f"cannot publish `{text}`: ")
    assert caught.value.hint


def test_exposed_ports_of_an_image() -> None:
    assert parse_exposed("80") == (80, 80, "tcp")
    assert parse_exposed("80-90/udp") == (80, 90, "udp")


def test_format_prints_as_docker_does() -> None:
    ports = [
        *parse_publish("127.0.0.1:53:53/udp"),
        *parse_publish("[::1]:443:443"),
        *parse_publish("8080:80"),
    ]
    assert format_ports(ports) == "127.0.0.1:53->53/udp, 0.0.0.0:8080->80/tcp, [::1]:443->443/tcp"
    assert format_ports([]) == ""


def test_format_joins_a_range() -> None:
    assert format_ports(parse_publish("8000-8002:80-82")) == "0.0.0.0:8000-8002->80-82/tcp"
    assert format_ports(parse_publish("8000:80") + parse_publish("9000:81")) == (
        "0.0.0.0:8000->80/tcp, 0.0.0.0:9000->81/tcp"
    )
    both = [*parse_publish("0.0.0.0:8000-8001:80-81"), *parse_publish("[::]:8000-8001:80-81")]
    assert format_ports(both) == "0.0.0.0:8000-8001->80-81/tcp, [::]:8000-8001->80-81/tcp"
