"""What a host name says about where it leads, by its form alone. Pure."""

from __future__ import annotations

from ipaddress import ip_address

DOCKER_HUB = "docker.io"
_DOCKER_HUB_API = "registry-1.docker.io"
"""The one registry whose API has another name than its images: distribution/reference normalize.go."""
HUB_NAMES = (DOCKER_HUB, "index.docker.io", _DOCKER_HUB_API)
"""All that Docker Hub is called."""


def api_host(domain: str) -> str:
    """Return host[:port] of the API of a reference's domain."""
    return _DOCKER_HUB_API if domain == DOCKER_HUB else domain


def host_of(registry: str) -> str:
    """Return the host of host[:port], without the brackets of IPv6."""
    if registry.startswith("["):
        return registry[1:].partition("]")[0]
    return registry.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Tell whether a host (a name or an address, IPv6 with or without brackets) means this machine.

    Only what is loopback by its very form: a name that happens to resolve to 127.0.0.1 is somebody's DNS.
    """
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_inward(host: str) -> bool:
    """Tell whether a host means this machine, its link-local network (cloud metadata) or nothing routable."""
    if is_loopback(host):
        return True
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return _is_odd_number(host)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_link_local or address.is_loopback or address.is_unspecified or address.is_multicast


def _is_odd_number(host: str) -> bool:
    """Tell whether a host is a number that inet_aton(3) takes for an address: 2130706433, 0x7f.1, 127.1."""
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or last.startswith("0x")  # no top-level domain has this form: RFC 3696 §2
