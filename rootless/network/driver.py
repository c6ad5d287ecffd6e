"""What a network driver is, and how one is found by name. Ring 1: finding one imports no other.

A driver connects the network namespace of a container that exists already: its init waits while
`start` runs. `start` is called by the container's monitor, a blocking single-threaded process of the
ordinary user in the host's own namespaces. Which driver is the default is `engine.modes`' decision; the
files that name hosts and resolvers are written from the Attachment by `network.files`.
"""

from __future__ import annotations

import sys

from rootless.errors import RuntimeSetupError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from rootless.model.spec import Port

    class Driver(Protocol):
        """One way to connect a container. A driver keeps no state: each start returns an Attachment."""

        facts: DriverFacts

        def start(
            self,
            target: NetTarget,
            *,
            ports: tuple[Port, ...],
            options: tuple[str, ...],
            run_dir: str,
            program: str = "",
        ) -> Attachment:
            """Connect the target's network namespace and publish ports; returns when both work.

            Args:
                target: the container's init.
                ports: what to publish; ignored by a driver that cannot (`facts.discards_ports`).
                options: as written after the driver's name and colon.
                run_dir: existing private directory of this container, for sockets.
                program: absolute path of the helper, for drivers with `facts.program`.
            Raises:
                DriverUnusable: this host cannot use the driver at all; another one may do.
                UsageError: an option is wrong.
                RuntimeSetupError: a port is taken or forbidden.
            """


_DRIVERS = {
    "none": "rootless.network.none",
    "host": "rootless.network.host",
    "container": "rootless.network.container",
    "pasta": "rootless.network.pasta",
    "slirp4netns": "rootless.network.slirp4netns",
}
DRIVER_NAMES = tuple(_DRIVERS)


class DriverUnusable(RuntimeSetupError):
    """This host cannot use the driver; where nobody asked for it by name, the next best may be tried."""

    reference = "network-driver-unusable"


class DriverFacts:
    """What is known of a driver before it starts.

    Attributes:
        own_namespace: the container gets a network namespace of its own; False shares one.
        publishes: it can publish ports.
        sees_client_address: programs in the container see who connects to a published port.
        program: the helper that must be installed, "" for none; also the name in HostFacts.
        needs_tun: /dev/net/tun must open.
        resolver: address inside at which the driver answers DNS for the host, "" for none.
        options: the options it understands → "flag", "number" or "text".
    """

    __slots__ = (
        "name",
        "needs_tun",
        "options",
        "own_namespace",
        "program",
        "publishes",
        "resolver",
        "sees_client_address",
    )

    def __init__(
        self,
        name: str,
        *,
        own_namespace: bool,
        publishes: bool = False,
        sees_client_address: bool = True,
        program: str = "",
        needs_tun: bool = False,
        resolver: str = "",
        options: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.own_namespace = own_namespace
        self.publishes = publishes
        self.sees_client_address = sees_client_address
        self.program = program
        self.needs_tun = needs_tun
        self.resolver = resolver
        self.options = options or {}

    @property
    def discards_ports(self) -> str:
        """The warning that -p deserves with this driver, "" where it publishes."""
        return "" if self.publishes else f"published ports are discarded when using --network={self.name}"


class NetTarget:
    """A process whose network namespace is to be connected: a child of the caller, not yet reaped.

    Attributes:
        netns, userns: paths of its namespaces; the user namespace must own the network namespace.
    """

    __slots__ = ("netns", "pid", "userns")

    def __init__(self, pid: int, *, userns: str = "", netns: str = "") -> None:
        self.pid = pid
        self.userns = userns or f"/proc/{pid}/ns/user"
        self.netns = netns or f"/proc/{pid}/ns/net"


class Attachment:
    """A connected container. The base is that of drivers without a process of their own.

    Attributes:
        ports: what is published, as chosen: real host ports, and one entry for each address family
            where none was asked for.
        pids: helper processes, children of the caller.
        addresses: of the container, without loopback; IPv4 first.
        host_gateway: address inside that reaches the host (not its loopback), "" for none.
        resolver: address inside at which the driver answers DNS, "" for none.
        notices: what does not work as a user of Docker expects, one line each.
    """

    __slots__ = ("addresses", "host_gateway", "notices", "ports", "resolver")

    def __init__(
        self,
        *,
        ports: tuple[Port, ...] = (),
        addresses: tuple[str, ...] = (),
        host_gateway: str = "",
        resolver: str = "",
        notices: tuple[str, ...] = (),
    ) -> None:
        self.ports = ports
        self.addresses = addresses
        self.host_gateway = host_gateway
        self.resolver = resolver
        self.notices = notices

    @property
    def pids(self) -> tuple[int, ...]:
        return ()

    def kill(self) -> None:
        """Tell the helpers to end, without waiting: what else ends with a container can be done meanwhile."""

    def stop(self) -> None:
        """Disconnect: end and reap the helpers; idempotent.

        The kernel needs 10 to 40 ms to take a helper's tap device away; after `kill`, what is left of them.
        """


def find_driver(name: str) -> Driver:
    """Return a driver by name.

    Raises:
        UsageError: there is none of that name.
    """
    module = _DRIVERS.get(name)
    if module is None:
        raise UsageError(
            f"no network driver is called `{name}`", hint="choose one of: " + ", ".join(_DRIVERS)
        )
    __import__(module)  # importlib itself would be one more module to load
    driver: Driver = sys.modules[module].DRIVER
    return driver


def read_options(options: Sequence[str], facts: DriverFacts) -> dict[str, str]:
    """Return driver options by name: "true" or "false" for flags, digits for numbers.

    "a,b=1" and ("a", "b=1") mean the same; "_" may stand for "-", as podman writes them.

    Raises:
        UsageError: the driver has no such option, or its value has the wrong shape.
    """
    values: dict[str, str] = {}
    for word in ",".join(options).split(",") if options else ():
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        kind = facts.options.get(name)
        if kind == "flag" and not equals:
            value = "true"
        if not _is_value(value, kind):
            known = ", ".join(sorted(facts.options)) or "none"
            raise UsageError(
                f"cannot use the option `{word}` with the network driver {facts.name}",
                hint=f"its options: {known}",
            )
        values[name] = value
    return values


def _is_value(value: str, kind: str | None) -> bool:
    if kind == "flag":
        return value in ("true", "false")
    if kind == "number":
        return value.isascii() and value.isdecimal() and len(value) <= 9
    # a text becomes one word of the helper's command line: never an option of its own
    return kind == "text" and bool(value) and value.isprintable() and not value.startswith("-")
