"""The grammar of -p, and how `ps` prints it. Pure; ring 1.

    [[IP:][HOST[-HOST]]:]CONTAINER[-CONTAINER][/tcp|/udp]

An IPv6 address stands in brackets. Two ranges of one length are paired port by port; a range of host
ports with one container port means "the first free one". Whether a port is free is decided by
`network.reserve`, when the container starts.
"""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.model.spec import Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_PORT = 65535
PROTOCOLS = ("tcp", "udp")
_HINT = "write [[IP:]HOST:]CONTAINER[/tcp|/udp], for example 8080:80 or 127.0.0.1:5353:53/udp"


def parse_publish(text: str) -> list[Port]:
    """Return the ports that one -p option publishes.

    Raises:
        UsageError: the text does not follow the grammar.
    """
    address, protocol = _split_protocol(text)
    host_ip, host, container = _split_fields(address, text=text)
    first, last = _parse_range(container, what="container port", text=text, lowest=1)
    if not host:
        return [
            Port(container_port=port, host_ip=host_ip, protocol=protocol) for port in range(first, last + 1)
        ]
    host_first, host_last = _parse_range(host, what="host port", text=text, lowest=0)
    if first == last and host_last > host_first:
        return [
            Port(
                container_port=first,
                host_port=host_first,
                host_port_last=host_last,
                host_ip=host_ip,
                protocol=protocol,
            )
        ]
    if last - first != host_last - host_first:
        raise _invalid(text, f"the ranges {host} and {container} differ in length")
    return [
        Port(container_port=port, host_port=host_first + i, host_ip=host_ip, protocol=protocol)
        for i, port in enumerate(range(first, last + 1))
    ]


def parse_exposed(text: str) -> tuple[int, int, str]:
    """Return (first, last, protocol) of --expose or of an image's ExposedPorts: "80", "80-90/udp".

    Raises:
        UsageError: the text does not follow the grammar.
    """
    ports, protocol = _split_protocol(text)
    return (*_parse_range(ports, what="exposed port", text=text, lowest=1), protocol)


def format_ports(ports: Iterable[Port]) -> str:
    """Return the PORTS column of `ps`: "0.0.0.0:8080->80/tcp, [::1]:53->53/udp"; runs are joined."""
    return ", ".join(_format_run(run) for run in _runs(sorted(ports, key=_sort_key)))


def format_address(port: Port) -> str:
    """Return "0.0.0.0:8080" or "[::1]:8080": where a port is reached on the host."""
    host = port.host_ip or "0.0.0.0"  # noqa: S104  text, not a bind
    return f"[{host}]:{port.host_port}" if ":" in host else f"{host}:{port.host_port}"


def is_loopback(address: str) -> bool:
    """Tell whether a port published on this address is for the host itself only."""
    return address == "::1" or address.startswith("127.")


def _split_protocol(text: str) -> tuple[str, str]:
    ports, slash, protocol = text.partition("/")
    if not slash:
        return ports, "tcp"
    protocol = protocol.lower()
    if protocol not in PROTOCOLS:
        raise _invalid(text, f"the protocol `{protocol}` is not tcp or udp")
    return ports, protocol


def _split_fields(address: str, *, text: str) -> tuple[str, str, str]:
    """Return (host_ip, host, container), the first two "" where absent."""
    if address.startswith("["):
        host_ip, bracket, rest = address[1:].partition("]:")
        fields = rest.split(":")
        if not bracket or len(fields) != 2:
            raise _invalid(text, "an address in brackets is followed by :HOST:CONTAINER")
        return _check_ip(host_ip, text=text, version=6), fields[0], fields[1]
    fields = address.split(":")
    if len(fields) > 3:
        raise _invalid(text, "too many colons (an IPv6 address stands in brackets)")
    if len(fields) == 3:
        host_ip = _check_ip(fields[0], text=text, version=4) if fields[0] else ""
        return host_ip, fields[1], fields[2]
    if len(fields) == 2:
        return "", fields[0], fields[1]
    return "", "", fields[0]


def _check_ip(text_ip: str, *, text: str, version: int) -> str:
    """Return the address in its usual form."""
    import socket  # saves its 4 ms for command lines without an address

    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text_ip))
    except (OSError, ValueError):
        raise _invalid(text, f"`{text_ip}` is not an IPv{version} address") from None


def _parse_range(text_range: str, *, what: str, text: str, lowest: int) -> tuple[int, int]:
    low, dash, high = text_range.partition("-")
    first = _parse_port(low, what=what, text=text, lowest=lowest)
    if not dash:
        return first, first
    last = _parse_port(high, what=what, text=text, lowest=lowest)
    if last < first or (first == 0 and last > 0):
        raise _invalid(text, f"the {what} range {text_range} runs backwards or starts at 0")
    return first, last


def _parse_port(digits: str, *, what: str, text: str, lowest: int) -> int:
    # isdecimal alone lets other scripts' digits through, int() alone "+1", "1_0" and " 1"
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5):
        raise _invalid(text, f"the {what} `{digits}` is not a number")
    port = int(digits)
    if not lowest <= port <= MAX_PORT:
        raise _invalid(text, f"the {what} {port} is not in {lowest} to {MAX_PORT}")
    return port


def _invalid(text: str, cause: str) -> UsageError:
    return UsageError(f"cannot publish `{text}`: {cause}", hint=_HINT)


def _sort_key(port: Port) -> tuple[int, str, str, int]:
    return (port.container_port, port.protocol, port.host_ip, port.host_port)


def _runs(ports: Sequence[Port]) -> list[list[Port]]:
    """Group ports that ascend together on one address, so that a range prints as one."""
    runs: list[list[Port]] = []
    for port in ports:
        for run in runs:
            last = run[-1]
            if (
                (last.host_ip, last.protocol) == (port.host_ip, port.protocol)
                and port.container_port == last.container_port + 1
                and port.host_port == last.host_port + 1
                and last.host_port
            ):
                run.append(port)
                break
        else:
            runs.append([port])
    return runs


def _format_run(run: list[Port]) -> str:
    first, last = run[0], run[-1]
    container, host = str(first.container_port), format_address(first)
    if len(run) > 1:
        container += f"-{last.container_port}"
        host += f"-{last.host_port}"
    return f"{host}->{container}/{first.protocol}"
