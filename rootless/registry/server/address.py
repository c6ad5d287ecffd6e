"""Where a registry listens, and whether it may without TLS. Pure."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.model.value import Value
from rootless.registry.hosts import is_loopback

LOOPBACK = "127.0.0.1"
PORT = 5000


class Address(Value):
    """An address of TCP; `host` is without the brackets of IPv6."""

    __slots__ = ("host", "port")

    def __init__(self, *, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def choose_address(*, publish: str, listen: str, tls: bool) -> Address:
    """Return where to listen.

    Args:
        publish: `[ip:]port` of `-p`. listen: `ip[:port]` of `--listen`. "" for what was not given.
    Raises:
        UsageError: one of them is malformed, or passwords and images would go over a network in the clear.
    """
    host, port = _split(publish) if publish else ("", "")
    if listen:
        open_host, open_port = _split_listen(listen)
        host, port = open_host, port or open_port
    address = Address(host=host or LOOPBACK, port=_port(port) if port else PORT)
    if not tls and not listen and not is_loopback(address.host):
        raise UsageError(
            f"cannot serve on {address}: without TLS, a registry is for this machine only",
            hint=f"--tls-cert and --tls-key, or `--listen {address.host}` for plain HTTP nevertheless",
        )
    return address


def _split(text: str) -> tuple[str, str]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), port


def _split_listen(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or rest[:1] not in ("", ":"):
            raise UsageError(f"invalid address: {text}")
        return host, rest[1:]
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 65536):
        raise UsageError(f"invalid port: {text}")
    return int(text)
