"""Networks and published ports, through the command line: what the user of `run -p` sees."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.helpers.product import Product

DRIVERS = [pytest.param(name, marks=pytest.mark.needs(name, "tun")) for name in ("pasta", "slirp4netns")]
SERVE = ("sh", "-c", "mkdir /www; echo it works >/www/index.html; httpd -f -h /www -p 80")
DEADLINE_S = 10


def get(port: int, address: str = "127.0.0.1") -> str:
    """Fetch / by HTTP, as soon as somebody answers; "" when nobody does in time."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, port), timeout=2) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if answer := b"".join(iter(lambda: connection.recv(4096), b"")):
                    return answer.decode()
        except OSError:
            pass
        time.sleep(0.02)  # the service inside is still starting
    return ""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def published_port(product: Product, container: str) -> int:
    shown = product.run("ps", "--filter", f"id={container}", "--format", "{{.Ports}}").out
    found = re.search(r"0\.0\.0\.0:(\d+)->80/tcp", shown)
    assert found, shown
    return int(found[1])


def helper_pids() -> set[int]:
    """Return the helpers that run now as this user; others may test beside us."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue  # ended while we looked
        is_helper = fields["Name"].startswith(("pasta", "passt", "slirp4netns"))
        if is_helper and int(fields["Uid"].split()[0]) == os.getuid():
            found.add(int(path.parent.name))
    return found


@pytest.mark.parametrize("driver", DRIVERS)
def test_published_port_answers_and_is_free_after_rm(product: Product, busybox: str, driver: str) -> None:
    before = helper_pids()
    port = free_port()
    options = ("run", "-d", "--network", driver, "-p", f"{port}:80")
    container = product.run(*options, busybox, *SERVE).out.strip()
    assert "it works" in get(port)
    assert published_port(product, container) == port
    product.run("rm", "-f", container)
    assert helper_pids() == before
    again = product.run(*options, busybox, *SERVE).out.strip()
    assert "it works" in get(port)
    product.run("stop", "-t", "0", again)
    assert helper_pids() == before


@pytest.mark.parametrize("driver", DRIVERS)
def test_port_zero_is_shown_by_ps(product: Product, busybox: str, driver: str) -> None:
    container = product.run("run", "-d", "--network", driver, "-p", "80", busybox, *SERVE).out.strip()
    assert "it works" in get(published_port(product, container))


@pytest.mark.parametrize("driver", DRIVERS)
def test_taken_port_fails_with_125_and_leaves_no_helper(product: Product, busybox: str, driver: str) -> None:
    before = helper_pids()
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        result = product.fail(125, "run", "--rm", "--network", driver, "-p", f"{port}:80", busybox, "true")
    assert f"cannot publish 0.0.0.0:{port}/tcp: port is already allocated" in result.err
    assert helper_pids() == before
    assert product.containers() == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_hosts_and_resolver_of_the_container(product: Product, busybox: str, driver: str) -> None:
    script = "cat /etc/hosts; echo --; cat /etc/resolv.conf; echo --; hostname -i; ip route"
    options = ("--network", driver, "--hostname", "box", "--add-host", "db:192.0.2.5", "--dns", "192.0.2.53")
    hosts, resolv, net = product.run("run", "--rm", *options, busybox, "sh", "-c", script).out.split("--\n")
    address = net.split()[0]
    assert f"{address}\tbox" in hosts
    assert "192.0.2.5\tdb\n" in hosts
    assert "nameserver 192.0.2.53\n" in resolv
    assert "default via" in net


def test_none_has_a_loopback_interface_that_works(product: Product, busybox: str) -> None:
    script = "ip -o link | wc -l; echo hello >/index.html; httpd -h / -p 127.0.0.1:80; wget -qO- 127.0.0.1"
    result = product.run("run", "--rm", "--network", "none", busybox, "sh", "-c", script)
    assert result.out == "1\nhello\n"


@pytest.mark.parametrize("driver", ["host", "none"])
def test_driver_without_ports_says_that_it_drops_them(product: Product, busybox: str, driver: str) -> None:
    result = product.run("run", "--rm", "--network", driver, "-p", "8080:80", busybox, "true")
    assert result.err.count(f"published ports are discarded when using --network={driver}") == 1


@pytest.mark.parametrize("driver", ["none", *DRIVERS])
def test_container_that_joins_another_shares_its_network(product: Product, busybox: str, driver: str) -> None:
    first = product.run("run", "-d", "--network", driver, "--hostname", "one", busybox, *SERVE).out.strip()
    script = "until wget -qO- http://127.0.0.1/; do sleep 0.1; done 2>/dev/null; cat /etc/hosts"
    joined = product.run("run", "--rm", "--network", f"container:{first[:12]}", busybox, "sh", "-c", script)
    assert "it works" in joined.out
    assert "\tone " in joined.out  # the other's host name, before its container name


@pytest.mark.parametrize("driver", DRIVERS)
def test_udp_that_a_helper_loses_is_told(product: Product, busybox: str, driver: str) -> None:
    """Hazard: packets that vanish. Either the host's own arrive, or a notice says that they do not."""
    port = free_port()
    options = ("run", "-d", "--network", driver, "-p", f"{port}:53/udp")
    started = product.run(*options, busybox, "sh", "-c", "nc -u -l -p 53 -e echo pong; sleep 60")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.connect(("127.0.0.1", port))
        answer = b""
        deadline = time.monotonic() + 2
        while not answer and time.monotonic() < deadline:
            try:
                client.send(b"ping")
                answer = client.recv(100)
            except OSError:
                time.sleep(0.02)
    assert (answer == b"pong\n") == ("/udp" not in started.err)
