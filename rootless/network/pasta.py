"""`--network pasta`: the container's packets become sockets of the helper pasta (https://passt.top). Ring 1.

The container gets a copy of the host's address and routes. Nothing is forwarded that was not asked for, and
the gateway's address does not lead to the host's loopback. Written for pasta of March 2023 (Debian 12) and
later; what came in August 2024 is told by `--map-guest-addr`, which was new then:

- that option itself, which gives the container an address for the host;
- UDP through flows: before, what the host itself sends over loopback to a published UDP port never arrives
  when the container's port has another number.

With a pasta older than 2024-10 a connection from the host itself to a published port arrives in the
container from 127.0.0.1: a service that trusts its loopback trusts the host's users.
"""

from __future__ import annotations

import os

from rootless.network import tun
from rootless.network.addresses import load_addresses
from rootless.network.driver import Attachment, DriverFacts, DriverUnusable, NetTarget, read_options
from rootless.network.helper import Helper, HelperAttachment, remove_file
from rootless.network.ports import format_address, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.model.spec import Port

RESOLVER = "169.254.1.1"
HOST_GATEWAY = "169.254.1.2"
"""Link-local addresses that no host routes; the ones that podman chose, which scripts know."""
INTERFACE = "eth0"
_READY = "pasta.ready"
_MAP_GUEST = "--map-guest-addr"


class PastaDriver:
    """Starts one pasta for each container."""

    facts = DriverFacts(
        "pasta",
        own_namespace=True,
        publishes=True,
        sees_client_address=True,
        program="pasta",
        needs_tun=True,
        resolver=RESOLVER,
        options={"host-loopback": "flag", "mtu": "number", "interface": "text"},
    )

    def start(
        self,
        target: NetTarget,
        *,
        ports: tuple[Port, ...],
        options: tuple[str, ...],
        run_dir: str,
        program: str = "",
    ) -> Attachment:
        values = read_options(options, self.facts)
        tun.check_tun_driver(program, name="pasta", package="passt")
        maps_guest = _understands(program, _MAP_GUEST)
        ready = os.path.join(run_dir, _READY)
        notices: tuple[str, ...] = ()
        if not ports:
            argv = command(program, target, ports=(), options=values, ready=ready, maps_guest=maps_guest)
            helper = _run(argv, ready=ready, cwd=run_dir)
        else:
            from rootless.network.reserve import reserve  # sockets: 2.4 ms that only -p pays

            with reserve(ports) as reservation:
                ports = reservation.ports
                notices = () if maps_guest else lossy_udp(ports)
                argv = command(
                    program, target, ports=ports, options=values, ready=ready, maps_guest=maps_guest
                )
                helper = _run(argv, ready=ready, cwd=run_dir)
        addresses = load_addresses(target.pid)
        return HelperAttachment(
            helper,
            ports=published(ports, ipv6=any(":" in a for a in addresses)),
            addresses=addresses,
            host_gateway=HOST_GATEWAY if maps_guest else "",
            resolver=RESOLVER,
            notices=notices,
        )


DRIVER = PastaDriver()


def command(
    program: str,
    target: NetTarget,
    *,
    ports: tuple[Port, ...],
    options: Mapping[str, str],
    ready: str,
    maps_guest: bool,
) -> list[str]:
    """Return pasta's command line. Pure.

    Args:
        ports: with real host ports.
        ready: where pasta writes its pid once the interface is up and the ports are bound.
        maps_guest: this pasta has --map-guest-addr.
    """
    argv = [program, "--foreground", "--quiet", "--config-net", "--ns-ifname", INTERFACE]
    argv += ["--pid", ready, "--dns-forward", RESOLVER]
    if options.get("host-loopback") != "true":
        argv.append("--no-map-gw")
    if maps_guest:
        argv += [_MAP_GUEST, HOST_GATEWAY]
    if "mtu" in options:
        argv += ["--mtu", options["mtu"]]
    if "interface" in options:
        argv += ["--interface", options["interface"]]
    argv += _forwards("--tcp-ports", [p for p in ports if p.protocol == "tcp"])
    argv += _forwards("--udp-ports", [p for p in ports if p.protocol == "udp"])
    argv += ["--tcp-ns", "none", "--udp-ns", "none"]  # "auto" would lead in from the container's loopback
    return [*argv, "--userns", target.userns, "--netns", target.netns]


def published(ports: tuple[Port, ...], *, ipv6: bool) -> tuple[Port, ...]:
    """Return the ports with their addresses: pasta binds both families where the host routes both."""
    every = ("0.0.0.0", "::") if ipv6 else ("0.0.0.0",)  # noqa: S104  what the user asked for
    return tuple(
        port.replace(host_ip=ip) for port in ports for ip in ((port.host_ip,) if port.host_ip else every)
    )


def lossy_udp(ports: tuple[Port, ...]) -> tuple[str, ...]:
    """Return what a pasta older than 2024-08 loses, one line for each port. Pure.

    Raises:
        DriverUnusable: a port on a loopback address, which would never get a packet.
    """
    lost = [p for p in ports if p.protocol == "udp" and p.host_port != p.container_port]
    for port in lost:
        if is_loopback(port.host_ip):
            raise DriverUnusable(
                f"cannot publish {format_address(port)}->{port.container_port}/udp: this pasta loses what "
                "the host sends to a UDP port that has another number inside",
                on="pasta",
                hint="update passt to 2024-08 or later, or publish the same number",
            )
    return tuple(
        f"other machines reach {format_address(p)}/udp, this host itself does not: "
        f"its pasta is too old for a UDP port with another number inside ({p.container_port})"
        for p in lost
    )


def _forwards(option: str, ports: list[Port]) -> list[str]:
    if not ports:
        return [option, "none"]
    words = []
    for port in ports:
        address = f"{port.host_ip}/" if port.host_ip else ""
        words += [option, f"{address}{port.host_port}:{port.container_port}"]
    return words


def _understands(program: str, option: str) -> bool:
    """Tell whether a program knows an option, by looking for its text: reading costs less than --help does.

    A wrapper script says no to everything, which loses only what the option would give.
    """
    with open(program, "rb") as file:
        return option.lstrip("-").encode() in file.read(4 << 20)


def _run(argv: list[str], *, ready: str, cwd: str) -> Helper:
    """Start pasta and wait until it has written its pid: into a FIFO, which spares us looking repeatedly."""
    remove_file(ready)
    os.mkfifo(ready, 0o600)
    fd = os.open(ready, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        helper = Helper(argv, name="pasta", cwd=cwd)
        helper.wait_ready(fd)
    finally:
        os.close(fd)
        remove_file(ready)
    return helper
