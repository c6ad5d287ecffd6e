"""Accepts clients, a bounded number of them, until it is told to end; then lets them finish what they do."""

from __future__ import annotations

import errno
import ssl
from contextlib import asynccontextmanager

import trio  # noqa: TID253  a server lives in its loop

from rootless.errors import RootlessError, UsageError, os_error_text
from rootless.registry.server.http import Connection, Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rootless.registry.server.address import Address
    from rootless.registry.server.http import Respond

MAX_CONNECTIONS = 400
"""Each takes two descriptors at most, and many hosts allow 1024; the kernel lets others wait."""
GRACE_S = 3.0
"""What requests get to come to their end: less than `loop` gives to a process that was told to end."""
_HANDSHAKE_S = 20.0
_PAUSE_S = 0.1
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """Return what a server with a certificate needs.

    Raises:
        UsageError: the files are none, or do not fit each other.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as exc:
        raise UsageError(f"cannot use the certificate and its key: {exc.reason or exc}", on=cert) from exc
    except OSError as exc:
        raise UsageError(f"cannot read the certificate or its key: {os_error_text(exc)}", on=cert) from exc
    return context


async def open_listener(address: Address) -> trio.SocketListener:
    """Listen, on one address.

    Raises:
        RootlessError: somebody else does already, or the address is not this host's.
    """
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as exc:
        hint = "-p chooses another port" if exc.errno == errno.EADDRINUSE else None
        message = f"cannot listen: {os_error_text(exc)}"
        raise RootlessError(message, on=str(address), hint=hint, reference="registry-listen") from exc
    for other in listeners[1:]:
        await other.aclose()
    return listeners[0]


class Clients:
    """The connections of a server.

    Args:
        limits: of every wait for a client.
    """

    def __init__(
        self, respond: Respond, *, tls: ssl.SSLContext | None = None, limits: Limits | None = None
    ) -> None:
        self._respond = respond
        self._tls = tls
        self._limits = limits or Limits()
        self._room = trio.Semaphore(MAX_CONNECTIONS)
        self._connections: set[Connection] = set()
        self._finishing = False

    async def accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        """Serve clients in the nursery until cancelled."""
        while True:
            await self._room.acquire()
            try:
                stream = await listener.accept()
            except OSError as exc:
                self._room.release()
                if exc.errno not in _SHORT_OF:
                    raise
                await trio.sleep(_PAUSE_S)
            except BaseException:
                self._room.release()
                raise
            else:
                nursery.start_soon(self._serve, stream)

    def finish(self) -> None:
        """Let every client have the answer that it waits for, and nothing more."""
        self._finishing = True
        for connection in self._connections:
            connection.finish()

    async def _serve(self, plain: trio.SocketStream) -> None:
        stream: trio.abc.Stream = plain
        try:
            async with plain:
                if self._tls is not None:
                    secure = trio.SSLStream(plain, self._tls, server_side=True, https_compatible=True)
                    with trio.fail_after(_HANDSHAKE_S):
                        await secure.do_handshake()
                    stream = secure
                await self._talk(stream)
        except (trio.BrokenResourceError, trio.TooSlowError, ssl.SSLError, OSError):
            return  # a client that comes and goes is nobody's failure
        finally:
            self._room.release()

    async def _talk(self, stream: trio.abc.Stream) -> None:
        connection = Connection(stream, self._respond, self._limits)
        self._connections.add(connection)
        try:
            if not self._finishing:
                await connection.serve()
        finally:
            self._connections.discard(connection)


@asynccontextmanager
async def lingering() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks get GRACE_S more when the block is cancelled."""
    ended = trio.Event()
    grace = trio.CancelScope(shield=True)

    async def hold(task_status: trio.TaskStatus[trio.Nursery]) -> None:
        with grace:
            async with trio.open_nursery() as tasks:
                task_status.started(tasks)
                await ended.wait()

    async with trio.open_nursery() as outer:
        tasks: trio.Nursery = await outer.start(hold)
        try:
            yield tasks
        finally:
            ended.set()
            grace.deadline = trio.current_time() + GRACE_S
