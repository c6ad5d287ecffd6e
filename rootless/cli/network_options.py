"""The options of `run` that concern the network and the names in it. Ring 1.

The grammar of ports is in `network.ports`. How a driver is chosen where none is named: `engine.modes`.
"""

from __future__ import annotations

from rootless.cli.args import bad_value
from rootless.errors import UsageError
from rootless.model.spec import Network, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from layers.config import ImageConfig
    from rootless.cli.args import Parsed

NETWORK_DRIVERS = ("none", "host", "pasta", "slirp4netns")
_BEST_NETWORK = ("", "default", "bridge")
"""Words for "connected to the outside, as well as this host can"."""


def check_conflicts(parsed: Parsed) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: names both.
    """
    kind = parsed.text("network").partition(":")[0]
    if kind == "container":
        for option in ("hostname", "publish", "publish-all", "expose", "add-host", "dns", "dns-search"):
            if parsed.given(option):
                raise UsageError(
                    f"conflicting options: --{option} and --network={parsed.text('network')}",
                    hint="the other container's setting applies; leave the option out",
                )
    if parsed.text("uts") == "host" and parsed.given("hostname"):
        raise UsageError("conflicting options: --hostname and --uts=host", hint="the host keeps its name")


def parse_network(parsed: Parsed, config: ImageConfig, *, find_container: Callable[[str], str]) -> Network:
    """Return what --network and the options around it say.

    Args:
        find_container: makes a full id of a name or prefix.
    """
    text = parsed.text("network")
    kind, _, rest = text.partition(":")
    driver = "" if kind in _BEST_NETWORK else kind
    if driver not in ("", "container", *NETWORK_DRIVERS):
        raise UsageError(
            f"no such network: {text}", hint="there are: " + ", ".join((*NETWORK_DRIVERS, "container:NAME"))
        )
    is_shared = driver == "container"
    return Network(
        driver=driver,
        options=() if is_shared or not rest else tuple(rest.split(",")),
        container=find_container(rest) if is_shared else "",
        ports=() if is_shared else _ports(parsed, config),
        dns=parsed.texts("dns"),
        dns_search=parsed.texts("dns-search"),
        dns_options=parsed.texts("dns-option"),
        extra_hosts=tuple(map(_extra_host, parsed.texts("add-host"))),
    )


def parse_hostname(
    parsed: Parsed, network: Network, *, hostname: str, hostname_of: Callable[[str], str]
) -> str:
    """Return the container's host name, "" where it is made from the id.

    Args:
        hostname: the caller's own.
        hostname_of: tells the one of a container by its full id.
    """
    name = parsed.text("hostname")
    if not name and network.container:
        return hostname_of(network.container)
    if not name:
        return hostname if network.driver == "host" or parsed.text("uts") == "host" else ""
    allowed = name.replace("-", "").replace(".", "").replace("_", "")
    if len(name) > 64 or not (allowed.isascii() and allowed.isalnum()) or name[0] in "-." or name[-1] == "-":
        raise bad_value("--hostname", name, "not a host name", hint="letters, digits, - and ., at most 64")
    return name


def _ports(parsed: Parsed, config: ImageConfig) -> tuple[Port, ...]:
    """Return the ports of -p, and with -P the exposed ones that no -p names."""
    everything = parsed.flag("publish-all")
    if not (everything or parsed.given("publish") or parsed.given("expose")):
        return ()
    from rootless.network.ports import parse_exposed, parse_publish

    found = [port for text in parsed.texts("publish") for port in parse_publish(text)]
    exposed = [parse_exposed(text) for text in parsed.texts("expose")]
    if everything:
        exposed += map(parse_exposed, config.exposed_ports)
        named = {(port.container_port, port.protocol) for port in found}
        ports = {(n, protocol) for first, last, protocol in exposed for n in range(first, last + 1)}
        found += [Port(container_port=n, protocol=protocol) for n, protocol in sorted(ports - named)]
    return tuple(found)


def _extra_host(text: str) -> str:
    """Return "name:address" of --add-host NAME:ADDRESS or NAME=ADDRESS; the address may be IPv6."""
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not (name and found and address) or any(c.isspace() or c == "\0" for c in text):
        raise bad_value("--add-host", text, "not a mapping", hint="write NAME:ADDRESS")
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"
