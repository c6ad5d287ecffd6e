"""Where a redirect may lead, and what may be carried along. Pure; the client asks before each hop.

A registry is allowed to send a blob's reader to a storage service (distribution-spec §Pulling blobs). It is
not allowed to send the reader's credentials there, to take TLS away, or to use the reader as its hand
inside the reader's own network.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from rootless.errors import RegistryError
from rootless.registry.hosts import is_inward, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_REDIRECTS = 5
"""Registries need one, two with a mirror in front; curl's own scripts of registries allow as many."""
STATUSES = frozenset((301, 302, 303, 307, 308))
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin:
    """Scheme, host and port: what credentials are bound to (RFC 6454)."""

    __slots__ = ("host", "port", "scheme")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.scheme = parts.scheme.lower()
        self.host = (parts.hostname or "").rstrip(".")
        self.port = parts.port or _DEFAULT_PORTS.get(self.scheme, 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and (self.scheme, self.host, self.port) == (
            other.scheme,
            other.host,
            other.port,
        )

    def __hash__(self) -> int:
        return hash((self.scheme, self.host, self.port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def next_hop(location: str, *, visited: list[str], insecure: bool) -> str:
    """Return the absolute URL that a redirect leads to.

    Args:
        location: value of the Location header, "" when there was none.
        visited: URLs of this exchange so far, the first request first; at least one.
        insecure: the user said --tls-verify=false.

    Raises:
        RegistryError: the hop is one that no honest registry needs.
    """
    first, last = Origin(visited[0]), visited[-1]
    problem = ""
    target = ""
    try:
        target = urljoin(last, location).partition("#")[0]
        parts, origin = urlsplit(target), Origin(target)
    except ValueError:
        problem = "its address cannot be read"
    else:
        if not location:
            problem = "it does not say where to"
        elif not target.isascii() or not target.isprintable() or " " in target:
            problem = "its address cannot be read"
        elif origin.scheme not in _DEFAULT_PORTS or not origin.host:
            problem = "only http and https can be followed"
        elif "@" in parts.netloc:
            problem = "its address holds a user name"
        elif origin.scheme == "http" and urlsplit(last).scheme == "https" and not insecure:
            problem = "it leads from https to plain http"
        elif origin.scheme == "http" and origin != first and not insecure and not is_loopback(origin.host):
            problem = "it leads to plain http on another machine"
        elif not is_loopback(first.host) and is_inward(origin.host):
            problem = "it points at this machine or its link-local network"
        elif target in visited:
            problem = "it goes round in a loop"
        elif len(visited) > MAX_REDIRECTS:
            problem = f"there were more than {MAX_REDIRECTS}"
    if problem:
        raise redirect_error(location, first=str(first), problem=problem)
    return target


def redirect_error(location: str, *, first: str, problem: str) -> RegistryError:
    """Return the error for a redirect that is not followed."""
    shown = location.partition("?")[0][:200]  # the query of a storage service's URL is a secret
    return RegistryError(
        f"cannot follow the redirect to `{shown}`: {problem}", on=first, reference="bad-redirect"
    )


def keeps_credentials(first: str, target: str) -> bool:
    """Tell whether the Authorization header may go along (attack: B8): to the very same origin only."""
    return Origin(first) == Origin(target)


def any_inward(addresses: Iterable[str]) -> bool:
    """Tell whether one of a name's addresses is this machine or link-local: 127.0.0.1, 169.254.169.254."""
    return any(is_inward(address) for address in addresses)
