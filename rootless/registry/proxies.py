"""Which proxy a URL goes through: the proxy variables as curl and Go read them. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from rootless.registry.hosts import is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(scheme: str, host: str, port: int, *, environment: Mapping[str, str]) -> str:
    """Return the proxy's URL, "" for a direct connection.

    Lower-case variables win. HTTP_PROXY in capitals is not read where REQUEST_METHOD is set: in a CGI
    program a client's "Proxy:" header would arrive there (httpoxy, CVE-2016-5385). This machine itself is
    never reached through a proxy.
    """
    if is_loopback(host):
        return ""
    proxy = _variable(environment, f"{scheme}_proxy")
    if not proxy:
        proxy = _variable(environment, "all_proxy")
    if not proxy or _is_excepted(host, port, _variable(environment, "no_proxy")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if value or (name == "http_proxy" and "REQUEST_METHOD" in environment):
        return value.strip()
    return environment.get(name.upper(), "").strip()


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    host = host.strip("[]").rstrip(".").lower()
    return any(_matches(host, port, item.strip().lower()) for item in no_proxy.split(",") if item.strip())


def _matches(host: str, port: int, pattern: str) -> bool:
    """Match an item of NO_PROXY: "*", a name and its subdomains, an address, a network; maybe with a port."""
    if pattern == "*":
        return True
    name, colon, wanted_port = pattern.rpartition(":")
    if colon and wanted_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted_port) != port:
            return False
        pattern = name
    pattern = pattern.strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        pattern = pattern.removeprefix("*").lstrip(".")
        return host == pattern or host.endswith("." + pattern)
    try:
        return address in ip_network(pattern, strict=False)
    except ValueError:
        return False
