"""What goes wrong on a connection, in our words: httpx2's, TLS's and trio's exceptions as RegistryErrors."""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager

import httpx2  # noqa: TID253  of `client`, which is imported late
import trio  # noqa: TID253

from rootless.errors import RegistryError, os_error_text
from rootless.registry.faults import NetworkFault
from rootless.registry.redirects import Origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, ssl.SSLError, OSError)
"""All that a connection may raise."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn httpx2's, TLS's and trio's exceptions into ours."""
    try:
        yield
    except (httpx2.TimeoutException, trio.TooSlowError) as exc:
        where = "connect" if isinstance(exc, httpx2.ConnectTimeout) else "get an answer"
        raise NetworkFault(
            f"cannot {where} in time", on=str(Origin(url)), reference="registry-timeout"
        ) from exc
    except BROKEN as exc:
        raise connection_error(exc, str(Origin(url))) from exc


def connection_error(exc: Exception, on: str) -> RegistryError:
    """Return what a broken connection is called: a NetworkFault where the same may go well later."""
    causes = list(_causes(exc))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RegistryError(
                f"cannot verify the registry's certificate: {cause.verify_message}",
                on=on,
                hint="put its CA in ~/.config/containers/certs.d/HOST:PORT, or use --tls-verify=false",
                reference="tls-verification",
            )
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            reason = (cause.reason or "handshake failed").replace("_", " ").lower()
            hint = (
                "does it speak plain HTTP? --tls-verify=false tries that too" if "version" in reason else None
            )
            return NetworkFault(f"cannot talk TLS: {reason}", on=on, hint=hint, reference="tls")
    if isinstance(exc, httpx2.ProxyError):
        return NetworkFault(f"cannot connect through the proxy: {exc}", on=on)
    if isinstance(exc, httpx2.ConnectError):
        hint = "check the name and the network; HTTPS_PROXY names a proxy if there is one"
        fault = NetworkFault(f"cannot connect: {_reason(causes)}", on=on, hint=hint)
        fault.connecting = True
        return fault
    if isinstance(exc, httpx2.RemoteProtocolError):
        return NetworkFault(
            f"connection broke: {_protocol_problem(str(exc))}", on=on, reference="registry-protocol"
        )
    return NetworkFault(f"connection broke: {_reason(causes)}", on=on)


def _protocol_problem(text: str) -> str:
    if "without sending a response" in text:
        return "it was closed without an answer"
    return "the answer is not HTTP" if "bytearray(" in text else text[:200]


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what caused it, outermost first, groups flattened."""
    pending = [exc]
    while pending:
        current = pending.pop(0)
        if current is None:
            continue
        yield current
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions)
        pending.append(current.__cause__ or current.__context__)


def _reason(causes: list[BaseException]) -> str:
    """Return the innermost cause in the system's words, without those that libraries put around it."""
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.errno:
            if cause.errno < 0:  # of getaddrinfo
                return cause.strerror or str(cause)
            return os_error_text(OSError(cause.errno, os.strerror(cause.errno)))
    return str(causes[0])[:200] or type(causes[0]).__name__
