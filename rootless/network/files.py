"""The text of a container's /etc/hosts, /etc/resolv.conf and /etc/hostname. Pure; ring 1.

The engine writes them into the container's directory once the network is there, and the runtime binds them.
Host files are read as hostile: bounded, and only what resolv.conf(5) knows passes.
"""

from __future__ import annotations

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_HOST_FILE_BYTES = 64 << 10
"""How much of the host's resolv.conf counts: glibc has no bound, real files are tiny."""
MAX_NAMESERVERS = 3
"""MAXNS of resolv.h: glibc ignores further ones."""
MAX_SEARCH = 32
"""More than any resolver of old took (6); glibc 2.26 dropped the bound."""
HOST_GATEWAY = "host-gateway"
"""Stands for the host's address in --add-host, as in Docker."""
_OWN = ("::1", "0.0.0.0", "::")  # noqa: S104  compared with, not bound
HOST_NAMES = ("host.containers.internal", "host.docker.internal")

_LOCAL_NAMES = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def hosts_text(
    *,
    hostname: str,
    name: str = "",
    addresses: Sequence[str] = (),
    extra_hosts: Iterable[str] = (),
    host_gateway: str = "",
) -> str:
    """Return /etc/hosts.

    Args:
        hostname: of the container; name: of the container, a second name for the same addresses.
        addresses: of the container; none makes the hostname one of loopback, so that it resolves.
        extra_hosts: "name:address" or "name=address"; the address may be host-gateway.
        host_gateway: address that reaches the host, "" where nothing does.
    Raises:
        UsageError: a name is not one word; an extra host has no address, or wants a host-gateway that
            does not exist.
    """
    for word in filter(None, (hostname, name)):
        if not _is_word(word):
            raise UsageError(f"cannot write the host name `{word}` into /etc/hosts: it is not one word")
    names = " ".join(dict.fromkeys(n for n in (hostname, name) if n))
    lines = [f"{address}\t{names}" for address in addresses or ("127.0.1.1",)] if names else []
    taken = set()
    for entry in extra_hosts:
        host, address = split_extra_host(entry)
        if address == HOST_GATEWAY:
            if not host_gateway:
                raise UsageError(
                    f"cannot add the host `{entry}`: this network driver gives no address for the host",
                    hint="give the address itself, or use --network host",
                )
            address = host_gateway
        lines.append(f"{address}\t{host}")
        taken.add(host)
    free = [n for n in HOST_NAMES if n not in taken]
    if host_gateway and free:
        lines.append(f"{host_gateway}\t{' '.join(free)}")
    return _LOCAL_NAMES + "".join(line + "\n" for line in lines)


def split_extra_host(entry: str) -> tuple[str, str]:
    """Return (name, address) of one --add-host; the address is not empty, brackets of IPv6 are gone.

    Raises:
        UsageError: it has not the form NAME:ADDRESS or NAME=ADDRESS.
    """
    separator = "=" if "=" in entry else ":"
    host, found, address = entry.partition(separator)
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not found or not _is_word(host) or not (address == HOST_GATEWAY or _is_address(address)):
        raise UsageError(
            f"cannot add the host `{entry}`: it has not the form NAME:ADDRESS",
            hint="for example db:192.0.2.5, or host:host-gateway",
        )
    return host, address


def resolv_conf_text(
    host_text: str,
    *,
    resolver: str = "",
    shares_host: bool = False,
    dns: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:
    """Return /etc/resolv.conf: the host's, where no option replaces it.

    Args:
        host_text: the host's file; what follows MAX_HOST_FILE_BYTES is ignored.
        resolver: where the network driver answers DNS; stands in for nameservers on the host's loopback.
        shares_host: the container has the host's network, so that its loopback nameservers work.
        dns, search, options: --dns, --dns-search ("." for none), --dns-option.
    Raises:
        UsageError: a --dns is not an address, or a value holds spaces or control characters.
    """
    found = _parse_resolv_conf(host_text[:MAX_HOST_FILE_BYTES])
    for address in dns:
        if not _is_address(address):
            raise UsageError(f"cannot use the nameserver `{address}`: it is not an IP address")
    for word in (*search, *options):
        if not _is_word(word):
            raise UsageError(f"cannot write `{word}` into resolv.conf: it is not one word")
    nameservers = list(dns) or found["nameserver"]
    if not dns and not shares_host:
        nameservers = _reachable(nameservers, resolver=resolver)
    domains = [d for d in (search or found["search"]) if d != "."]
    lines = [f"nameserver {address}" for address in nameservers[:MAX_NAMESERVERS]]
    if domains:
        lines.append("search " + " ".join(domains[:MAX_SEARCH]))
    if options or found["options"]:
        lines.append("options " + " ".join((options or found["options"])[:MAX_SEARCH]))
    return "".join(line + "\n" for line in lines)


def hostname_text(hostname: str) -> str:
    """Return /etc/hostname."""
    return hostname + "\n"


def _parse_resolv_conf(text: str) -> dict[str, list[str]]:
    """Return the last `search` or `domain`, all nameservers and all options (man 5 resolv.conf)."""
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":
            continue
        values = [w for w in words[1:] if _is_word(w)]
        if words[0] == "nameserver" and values and _is_address(values[0]):
            found["nameserver"].append(values[0])
        elif words[0] in ("search", "domain"):
            found["search"] = values
        elif words[0] == "options":
            found["options"] += values
    return found


def _reachable(nameservers: Iterable[str], *, resolver: str) -> list[str]:
    """Return those that a network namespace of its own reaches; the driver's own, where none is left.

    Left out: loopback addresses, and link-local ones with a zone, which names an interface of the host.
    """
    kept = [n for n in nameservers if not n.startswith("127.") and n not in _OWN and "%" not in n]
    if not kept and resolver:
        return [resolver]
    return kept


def _is_word(text: str) -> bool:
    return bool(text) and text.isprintable() and " " not in text and text[0] not in "#;"


def _is_address(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address, the latter with or without a zone."""
    from _socket import (
        AF_INET,
        AF_INET6,
        inet_pton,
    )  # `socket` adds 2 ms of enums to a launch that opens none

    address, _, zone = text.partition("%")
    if zone and not zone.replace("-", "").replace(".", "").replace("_", "").isalnum():
        return False
    try:
        inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):
        return False
    return True
