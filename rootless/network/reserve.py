"""Choose and hold host ports while a helper starts, so that a taken port is a clear error. Ring 1.

A held TCP port is bound with SO_REUSEADDR and does not listen: programs that listen with SO_REUSEADDR,
as the helpers do, can take it over (man 7 socket), everybody else finds it in use. A UDP port gets the
option only after its bind, so that our own bind still fails where anybody else has the port.
"""

from __future__ import annotations

import errno
import socket

from rootless.errors import RuntimeSetupError, os_error_text
from rootless.network.ports import format_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.model.spec import Port

_ATTEMPTS = 50
"""Ephemeral ports tried until one is free for both address families; the second try is rare already."""
_ABSENT_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Reservation:
    """Held ports; owns its sockets, closes them at the end of its context.

    Attributes:
        ports: as asked for, with `host_port` chosen and no range left.
    """

    def __init__(self) -> None:
        self.ports: tuple[Port, ...] = ()
        self._sockets: list[tuple[str, socket.socket]] = []

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def add(self, port: Port) -> None:
        """Hold one more port.

        Raises:
            RuntimeSetupError: it is taken, forbidden to this user, or the address is not of this host.
        """
        chosen, sockets = _hold_one(port)
        self.ports = (*self.ports, port.replace(host_port=chosen, host_port_last=0))
        self._sockets += [(port.protocol, held) for held in sockets]

    def release(self, protocol: str) -> None:
        """Let go of the ports of one protocol, for a helper that could not take them over."""
        for name, held in self._sockets:
            if name == protocol:
                held.close()

    def close(self) -> None:
        for _, held in self._sockets:
            held.close()


def reserve(ports: Iterable[Port]) -> Reservation:
    """Hold all ports, or none.

    Raises:
        RuntimeSetupError: as for `Reservation.add`.
    """
    reservation = Reservation()
    try:
        for port in ports:
            reservation.add(port)
    except BaseException:
        reservation.close()
        raise
    return reservation


def _hold_one(port: Port) -> tuple[int, list[socket.socket]]:
    if port.host_port == 0:
        candidates: Iterable[int] = [0] * _ATTEMPTS
    else:
        candidates = range(port.host_port, max(port.host_port, port.host_port_last) + 1)
    failure = OSError(errno.EADDRINUSE, "no candidate")
    for candidate in candidates:
        try:
            return _hold_addresses(port, candidate)
        except OSError as exc:
            failure = exc
            if exc.errno != errno.EADDRINUSE:
                break
    raise _refusal(port, failure) from failure


def _hold_addresses(port: Port, candidate: int) -> tuple[int, list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        for address in (port.host_ip,) if port.host_ip else ("0.0.0.0", "::"):  # noqa: S104  asked for
            try:
                held = _bind(address, candidate, protocol=port.protocol)
            except OSError as exc:
                if sockets and exc.errno in _ABSENT_FAMILY:
                    continue  # a host without IPv6 publishes on IPv4 alone
                raise
            sockets.append(held)
            candidate = held.getsockname()[1]
    except BaseException:
        for held in sockets:
            held.close()
        raise
    return candidate, sockets


def _bind(address: str, port: int, *, protocol: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    is_tcp = protocol == "tcp"
    held = socket.socket(family, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if is_tcp:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address, port))
        if not is_tcp:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except BaseException:
        held.close()
        raise
    return held


def _refusal(port: Port, cause: OSError) -> RuntimeSetupError:
    """Return the error that says why a port cannot be held, and what would help."""
    what = f"{format_address(port)}/{port.protocol}"
    if port.host_port_last:
        what = what.replace(f":{port.host_port}/", f":{port.host_port}-{port.host_port_last}/")
    if cause.errno == errno.EADDRINUSE:
        return RuntimeSetupError(
            f"cannot publish {what}: port is already allocated",
            hint="`ss -lntup` shows who has it; choose another host port, or 0 for any free one",
            reference="port-allocated",
        )
    if cause.errno == errno.EACCES:
        return RuntimeSetupError(
            f"cannot publish {what}: ports below {_unprivileged_port_start()} are for root here",
            hint=f"choose a higher port, as in -p {8000 + port.host_port}:{port.container_port}, or have an "
            f"administrator run: sysctl -w net.ipv4.ip_unprivileged_port_start={port.host_port}",
            reference="port-privileged",
        )
    if cause.errno == errno.EADDRNOTAVAIL:
        return RuntimeSetupError(
            f"cannot publish {what}: {port.host_ip} is not an address of this host",
            hint="`ip address` lists them; leave the address out to publish on all",
            reference="port-address",
        )
    return RuntimeSetupError(f"cannot publish {what}: {os_error_text(cause)}", reference="port")


def _unprivileged_port_start() -> int:
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
            return int(file.read())
    except (OSError, ValueError):  # a masked /proc
        return 1024
