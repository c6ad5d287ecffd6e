"""What a broken connection is called: one cause, in words that are not a library's."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx2
import pytest

from rootless.registry.connection_errors import connection_error


def caused(outer: Exception, *causes: Exception) -> Exception:
    """Return an exception with a chain of causes, as httpx2, httpcore2 and trio leave it."""
    inner = outer
    for cause in causes:
        inner.__cause__ = cause
        inner = cause
    return outer


REFUSED = OSError(errno.ECONNREFUSED, "Error connecting to ('127.0.0.1', 1): Connection refused")
UNREACHABLE = OSError(errno.ENETUNREACH, "Error connecting to ('::1', 1): Network is unreachable")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
WRONG_VERSION = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:992)")
WRONG_VERSION.reason = "WRONG_VERSION_NUMBER"


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (
            caused(httpx2.ConnectError("all failed"), OSError("All connection attempts failed"), REFUSED),
            "cannot connect: Connection refused (ECONNREFUSED)",
        ),
        (
            caused(httpx2.ConnectError("all failed"), ExceptionGroup("multiple", [REFUSED, UNREACHABLE])),
            "cannot connect: Network is unreachable (ENETUNREACH)",
        ),
        (
            caused(httpx2.ConnectError("[Errno -2] Name or service not known"), NO_NAME),
            "cannot connect: Name or service not known",
        ),
        (
            caused(httpx2.ConnectError("[SSL: WRONG_VERSION_NUMBER]"), WRONG_VERSION),
            "cannot talk TLS: wrong version number",
        ),
        (
            httpx2.RemoteProtocolError("illegal status line: bytearray(b'SSH-2.0-OpenSSH_9.2')"),
            "connection broke: the answer is not HTTP",
        ),
        (
            httpx2.RemoteProtocolError("Server disconnected without sending a response."),
            "connection broke: it was closed without an answer",
        ),
    ],
)
def test_connection_error_names_one_cause(exc: Exception, message: str) -> None:
    assert connection_error(exc, "https://host:443").message == message
