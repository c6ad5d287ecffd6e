"""What every network driver must do, seen from inside a container, from the host, and from outside.

The host is a namespace with an uplink to an "outside" namespace (tests/helpers/netns.py): nothing
leaves this machine, and the helpers find the routable interface that they want.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.hosts import simulated_host
from tests.helpers.netns import (
    HOST_IP,
    HOST_IP6,
    OUTSIDE_IP,
    OUTSIDE_IP6,
    HostNetwork,
    ask_with,
    host_network,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

USERS = ("rl-ranges", "rl-single")
HELPERS = ("pasta", "slirp4netns")
PROGRAMS = {
    name: os.environ.get(f"ROOTLESS_TEST_{name.upper()}") or shutil.which(name) or "" for name in HELPERS
}
"""Another build of a helper can be tried by naming it in the environment."""

helpers = pytest.mark.parametrize(
    "driver", [pytest.param(name, marks=pytest.mark.needs(name, "tun")) for name in HELPERS]
)
users = pytest.mark.parametrize("user", USERS)


@pytest.fixture(scope="module")
def net() -> Iterator[HostNetwork]:
    with host_network() as network:
        for kind in ("tcp", "udp"):
            network.serve(network.outside, kind, OUTSIDE_IP, 7000)
            network.serve(network.outside, kind, OUTSIDE_IP6, 7000)
            network.serve(network.host, kind, "127.0.0.1", 7001)
            network.serve(network.host, kind, "::1", 7001)
        yield network


class Answer(dict[str, Any]):
    """What net_monitor said; a missing field shows what came instead."""

    def __missing__(self, key: str) -> Any:
        raise AssertionError(f"no {key} in {dict(self)}")


class Monitor:
    """A net_monitor process of a user, and the container that it made."""

    def __init__(self, process: subprocess.Popen[str], answer: dict[str, Any], run_dir: str) -> None:
        self.process = process
        self.answer = Answer(answer)
        self.run_dir = run_dir

    @property
    def inside(self) -> list[str]:
        """The command prefix that enters the container's network."""
        return ["nsenter", "--net", "--target", str(self.answer["pid"])]

    def shell(self, command: str) -> str:
        return subprocess.run(
            [*self.inside, "sh", "-c", command], capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def stop(self, word: str = "stop") -> float:
        """Have the driver stopped, or killed; return the seconds that took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline())["stop_s"])

    def monitor_pid(self) -> int:
        """Return the pid of the Python process below `ip netns exec` and runuser."""
        status = Path(f"/proc/{self.answer['pid']}/status").read_text()
        return int(status.split("PPid:")[1].split()[0])


@contextmanager
def monitor(
    net: HostNetwork | None,
    user: str,
    driver: str,
    *ports: str,
    options: tuple[str, ...] = (),
    argv: list[str] | None = None,
    program: str | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Iterator[Monitor]:
    run_dir = tempfile.mkdtemp(prefix="rlt-")
    shutil.chown(run_dir, user)
    command = [sys.executable, "-m", "tests.helpers.net_monitor"]
    if argv is None:
        assert net is not None
        argv = net.argv_as(user, *command)
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds
    )
    assert process.stdin is not None
    assert process.stdout is not None
    request = {
        "driver": driver,
        "ports": ports,
        "options": options,
        "run_dir": run_dir,
        "program": PROGRAMS.get(driver, "") if program is None else program,
    }
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    answer: dict[str, Any] = {}
    try:
        answer = json.loads(process.stdout.readline())
        yield Monitor(process, answer, run_dir)
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()
        with suppress(ProcessLookupError, KeyError):
            os.kill(answer["pid"], signal.SIGKILL)
        assert all(is_gone(pid) for pid in answer.get("pids", ()))
        shutil.rmtree(run_dir)


def is_gone(pid: int, *, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def bound(net: HostNetwork) -> str:
    listing = ["ip", "netns", "exec", net.host, "ss", "-Htuln"]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout


def test_none_connects_nothing(net: HostNetwork) -> None:
    with monitor(net, "rl-single", "none") as container:
        assert container.answer["pids"] == []
        assert container.answer["addresses"] == []
        assert container.shell("ip -o link | wc -l") == "1\n"
        assert ask_with(container.inside, "tcp", OUTSIDE_IP, 7000).startswith("failed")


@users
@helpers
def test_container_has_loopback_an_address_and_a_default_route(
    net: HostNetwork, user: str, driver: str
) -> None:
    with monitor(net, user, driver) as container:
        assert "LOOPBACK,UP" in container.shell("ip link show lo")
        assert container.shell("ip route show default").startswith("default via ")
        shown = container.shell("ip -o address show dev eth0")
        assert container.answer["addresses"]
        assert all(f" {address}/" in shown for address in container.answer["addresses"])
        assert container.answer["start_s"] < 2


@users
@helpers
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_container_reaches_outside(net: HostNetwork, user: str, driver: str, kind: str) -> None:
    with monitor(net, user, driver) as container:
        assert ask_with(container.inside, kind, OUTSIDE_IP, 7000) == f"{HOST_IP} hello"


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        pytest.param("pasta", (), marks=pytest.mark.needs("pasta", "tun")),
        pytest.param("slirp4netns", ("enable_ipv6=true",), marks=pytest.mark.needs("slirp4netns", "tun")),
    ],
)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_container_reaches_outside_by_ipv6(
    net: HostNetwork, driver: str, options: tuple[str, ...], kind: str
) -> None:
    with monitor(net, "rl-single", driver, options=options) as container:
        deadline = time.monotonic() + 5  # router advertisement and duplicate address detection
        answer = ""
        while not answer.endswith("hello") and time.monotonic() < deadline:
            answer = ask_with(container.inside, kind, OUTSIDE_IP6, 7000)
        assert answer == f"{HOST_IP6} hello"


@users
@helpers
def test_loopback_of_the_host_is_out_of_reach(net: HostNetwork, user: str, driver: str) -> None:
    """Hazard: services that trust everybody who reaches 127.0.0.1."""
    with monitor(net, user, driver) as container:
        gateway = container.shell("ip route show default").split()[2]
        addresses = [
            "127.0.0.1",
            "::1",
            gateway,
            OUTSIDE_IP,
            "10.0.2.2",
            "fd00::2",
            "169.254.1.2",
            "::ffff:127.0.0.1",
        ]
        for address in addresses:
            for kind in ("tcp", "udp"):
                answer = ask_with(container.inside, kind, address, 7001, timeout_s=0.3)
                assert answer.startswith("failed"), (address, kind)


@helpers
def test_loopback_of_the_host_is_reached_when_asked_for(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, options=("host-loopback",)) as container:
        gateway = container.shell("ip route show default").split()[2]
        assert ask_with(container.inside, "tcp", gateway, 7001).endswith("hello")


@users
@helpers
def test_published_port_is_reached_from_the_host(net: HostNetwork, user: str, driver: str) -> None:
    with monitor(net, user, driver, "8080:80") as container:
        net.serve_with(container.inside, "tcp", "0.0.0.0", 80)
        assert net.ask("tcp", "127.0.0.1", 8080).endswith(" hello")
        assert net.ask("tcp", HOST_IP, 8080).endswith(" hello")
        port = container.answer["ports"][0]
        assert (port["host_ip"], port["host_port"], port["protocol"]) == ("0.0.0.0", 8080, "tcp")
        assert container.answer["notices"] == []


@users
@helpers
@pytest.mark.parametrize("inside", [80, 8080])
def test_published_udp_port_is_reached_or_a_notice_says_from_where_not(
    net: HostNetwork, user: str, driver: str, inside: int
) -> None:
    """Hazard: packets that vanish. Neither pasta before 2024-08 nor slirp4netns does UDP in full."""
    with monitor(net, user, driver, f"8080:{inside}/udp") as container:
        net.serve_with(container.inside, "udp", "0.0.0.0", inside)
        outside = ask_with(["ip", "netns", "exec", net.outside], "udp", HOST_IP, 8080)
        assert outside == f"{OUTSIDE_IP} hello"
        answered = net.ask("udp", "127.0.0.1", 8080, timeout_s=0.5).endswith(" hello")
        assert answered == (container.answer["notices"] == [])


@users
@helpers
@pytest.mark.parametrize("inside", [80, 8080])
def test_udp_port_on_loopback_is_reached_or_refused(
    net: HostNetwork, user: str, driver: str, inside: int
) -> None:
    with monitor(net, user, driver, f"127.0.0.1:8080:{inside}/udp") as container:
        if container.answer.get("error"):
            assert container.answer["error"] == "DriverUnusable"
            assert container.answer["hint"]
            assert container.answer["left"] == []
        else:
            net.serve_with(container.inside, "udp", "0.0.0.0", inside)
            assert net.ask("udp", "127.0.0.1", 8080).endswith(" hello")


@helpers
def test_published_port_is_reached_from_outside_and_shows_the_client(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, "8080:80") as container:
        net.serve_with(container.inside, "tcp", "0.0.0.0", 80)
        client = ask_with(["ip", "netns", "exec", net.outside], "tcp", HOST_IP, 8080).split()[0]
        assert client == OUTSIDE_IP


@helpers
def test_port_published_on_loopback_is_closed_to_outside(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, "127.0.0.1:8080:80") as container:
        net.serve_with(container.inside, "tcp", "0.0.0.0", 80)
        assert net.ask("tcp", "127.0.0.1", 8080).endswith(" hello")
        outside = ["ip", "netns", "exec", net.outside]
        assert ask_with(outside, "tcp", HOST_IP, 8080, timeout_s=0.5).startswith("failed")


@helpers
def test_nothing_is_published_that_was_not_asked_for(net: HostNetwork, driver: str) -> None:
    before = bound(net)
    with monitor(net, "rl-single", driver) as container:
        for kind in ("tcp", "udp"):
            net.serve_with(container.inside, kind, "0.0.0.0", 8088)
        time.sleep(1.2)  # pasta, told to forward by itself, looks around once a second
        assert [line for line in bound(net).splitlines() if ":8088 " in line] == []
        assert bound(net).count("\n") <= before.count("\n") + 1  # a helper may keep one socket of its own


@helpers
def test_port_zero_gives_each_container_a_free_one(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, "80") as one, monitor(net, "rl-ranges", driver, "80") as two:
        chosen = [container.answer["ports"][0]["host_port"] for container in (one, two)]
        assert 0 not in chosen
        assert chosen[0] != chosen[1]
        for container, port in zip((one, two), chosen, strict=True):
            net.serve_with(container.inside, "tcp", "0.0.0.0", 80)
            assert net.ask("tcp", "127.0.0.1", port).endswith(" hello")


@helpers
def test_range_of_host_ports_gives_the_first_free_one(net: HostNetwork, driver: str) -> None:
    with (
        monitor(net, "rl-single", driver, "8100-8105:80") as one,
        monitor(net, "rl-single", driver, "8100-8105:80") as two,
    ):
        assert [c.answer["ports"][0]["host_port"] for c in (one, two)] == [8100, 8101]


@helpers
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_taken_port_is_refused_by_name(net: HostNetwork, driver: str, kind: str) -> None:
    with (
        monitor(net, "rl-single", driver, f"8080:8080/{kind}"),
        monitor(net, "rl-ranges", driver, f"8080:8080/{kind}") as second,
    ):
        assert second.answer["error"] == "RuntimeSetupError"
        assert second.answer["message"] == f"cannot publish 0.0.0.0:8080/{kind}: port is already allocated"
        assert second.answer["left"] == []


@helpers
def test_port_below_1024_is_refused_with_the_sysctl_that_allows_it(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, "80:80") as container:
        assert container.answer["reference"] == "port-privileged"
        assert "sysctl -w net.ipv4.ip_unprivileged_port_start=80" in container.answer["hint"]
        assert "-p 8080:80" in container.answer["hint"]


@helpers
def test_address_of_another_machine_is_refused(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, f"{OUTSIDE_IP}:8080:80") as container:
        assert container.answer["reference"] == "port-address"


@pytest.mark.needs("pasta", "tun")
def test_pasta_publishes_on_ipv6(net: HostNetwork) -> None:
    with monitor(net, "rl-single", "pasta", "8080:80", "[::1]:8081:81") as container:
        assert [p["host_ip"] for p in container.answer["ports"]] == ["0.0.0.0", "::", "::1"]
        net.serve_with(container.inside, "tcp", "::", 80)
        net.serve_with(container.inside, "tcp", "::", 81)
        assert net.ask("tcp", "::1", 8080).endswith(" hello")
        assert net.ask("tcp", "::1", 8081).endswith(" hello")


@users
@helpers
def test_stop_leaves_nothing_and_takes_milliseconds(net: HostNetwork, user: str, driver: str) -> None:
    before = bound(net)
    with monitor(net, user, driver, "8080:80", "8080:8080/udp") as container:
        (helper,) = container.answer["pids"]
        assert container.stop() < 0.25
        assert not os.path.exists(f"/proc/{helper}")  # reaped, not a zombie
        assert bound(net) == before
        assert os.listdir(container.run_dir) == []
        assert container.stop() < 0.01


@helpers
def test_kill_does_not_wait_and_stop_reaps(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, "8080:80") as container:
        (helper,) = container.answer["pids"]
        assert container.stop("kill") < 0.01
        assert is_gone(helper)
        assert container.stop() < 0.01
        assert container.stop("kill") < 0.01  # nothing is left to end
        assert not os.path.exists(f"/proc/{helper}")


@helpers
def test_stop_after_the_helper_was_killed(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver) as container:
        (helper,) = container.answer["pids"]
        os.kill(helper, signal.SIGKILL)
        assert is_gone(helper)
        assert container.stop() < 0.25
        assert not os.path.exists(f"/proc/{helper}")


@users
@helpers
def test_helper_ends_with_a_killed_monitor(net: HostNetwork, user: str, driver: str) -> None:
    before = bound(net)
    with monitor(net, user, driver, "8080:80") as container:
        (helper,) = container.answer["pids"]
        os.kill(container.monitor_pid(), signal.SIGKILL)
        assert is_gone(helper)
        assert bound(net) == before


@helpers
def test_helper_holds_no_descriptor_that_the_monitor_inherited(net: HostNetwork, driver: str) -> None:
    """Hazard: a helper that keeps a log, a terminal or a lock open after the container's end."""
    reader, writer = os.pipe()
    with monitor(net, "rl-single", driver, pass_fds=(writer,)) as container:
        os.close(writer)
        leaked = os.stat(reader).st_ino
        (helper,) = container.answer["pids"]
        assert leaked in inodes(container.monitor_pid())
        assert leaked not in inodes(helper)
    os.close(reader)


def inodes(pid: int) -> set[int]:
    """Return the inodes of everything that a process has open."""
    return {os.stat(f"/proc/{pid}/fd/{fd}").st_ino for fd in os.listdir(f"/proc/{pid}/fd")}


@helpers
def test_driver_answers_for_a_nameserver_on_the_loopback_of_the_host(driver: str) -> None:
    with host_network(nameserver="127.0.0.53") as network:
        network.serve(network.host, "udp", "127.0.0.53", 53)
        with monitor(network, "rl-single", driver) as container:
            answer = ask_with(container.inside, "udp", container.answer["resolver"], 53)
            assert answer.endswith("hello")


@pytest.mark.needs("slirp4netns", "tun")
def test_slirp4netns_works_on_a_host_without_uplink() -> None:
    with host_network(uplink=False) as network, monitor(network, "rl-single", "slirp4netns") as container:
        assert container.answer["addresses"] == ["10.0.2.100"]


@pytest.mark.needs("pasta", "tun")
def test_pasta_without_uplink_connects_or_says_that_another_driver_may_do() -> None:
    """Releases before 2024-11 need a routable interface, later ones make up addresses of their own."""
    with host_network(uplink=False) as network, monitor(network, "rl-single", "pasta") as container:
        if "error" in container.answer:
            assert container.answer["error"] == "DriverUnusable"
            assert "interface" in container.answer["message"]
            assert container.answer["left"] == []
        else:
            assert container.answer["addresses"]


@helpers
def test_host_without_tun_device_is_unusable_with_its_remedy(driver: str) -> None:
    with simulated_host("rl-single", without=("tun",)) as host:
        argv = host.argv("python", "-m", "tests.helpers.net_monitor")
        with monitor(None, "rl-single", driver, argv=argv) as container:
            assert container.answer["error"] == "DriverUnusable"
            assert "modprobe tun" in container.answer["hint"]


@helpers
def test_missing_program_is_unusable_with_its_package(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, program="") as container:
        assert container.answer["error"] == "DriverUnusable"
        assert {"pasta": "passt", "slirp4netns": "slirp4netns"}[driver] in container.answer["hint"]


@helpers
def test_failing_helper_is_quoted(net: HostNetwork, driver: str) -> None:
    with monitor(net, "rl-single", driver, program=shutil.which("false")) as container:
        assert container.answer["error"] == "DriverUnusable"
        assert container.answer["left"] == []
    with monitor(net, "rl-single", driver, program=shutil.which("ls")) as container:
        assert "option" in container.answer["message"]
        assert os.listdir(container.run_dir) == []
