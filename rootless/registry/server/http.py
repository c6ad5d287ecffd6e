"""HTTP/1.1 on a stream: the only importer of h11.

Knows nothing of registries. Nobody is waited for for ever, and nobody can make this process keep more than
a few pieces of a body in memory.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from email.utils import formatdate
from http.client import responses

import h11  # noqa: TID253  this module is its door
import trio  # noqa: TID253  a server lives in its loop

from rootless.model.value import Value
from rootless.registry.retry import RateWatch
from rootless.registry.settings import Deadlines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from typing import Any

    Body = Callable[[], AsyncGenerator[bytes, None]]
    Respond = Callable[["Request"], Awaitable["Response"]]

MAX_HEADER_BYTES = 32 << 10
"""Of one request; tokens of other registries take 8 KiB, and clients send them by mistake."""
PIECE_BYTES = 1 << 18
"""Most that is read or written at once."""
DRAIN_BYTES = 8 << 20
"""What is read of a refused body, so that its sender gets to the answer before the connection ends."""
_SERVER = "rootless"


class Limits(Value):
    """Ends of every wait for a client, in seconds.

    Attributes:
        header_s: from the first byte of a request, or the begin of a connection, to the end of its headers.
        keep_s: between two requests. write_s: for each piece of an answer.
        drain_s: for what is left of a refused body.
        body: how a body may idle and how slow it may be.
    """

    __slots__ = ("body", "drain_s", "header_s", "keep_s", "write_s")

    def __init__(
        self,
        *,
        header_s: float = 20,
        keep_s: float = 90,
        write_s: float = 60,
        drain_s: float = 2,
        body: Deadlines | None = None,
    ) -> None:
        self.header_s = header_s
        self.keep_s = keep_s
        self.write_s = write_s
        self.drain_s = drain_s
        self.body = body or Deadlines()


class ClientGone(Exception):
    """The client closed the connection, broke the protocol, or was too slow."""


class Request:
    """One request.

    Attributes:
        headers: by lower-case name; of several equal ones the last.
        length: of the body; None where the client does not say.
    """

    def __init__(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self._body = body

    @property
    def length(self) -> int | None:
        if "content-length" in self.headers:
            return int(self.headers["content-length"])  # h11 has checked it
        return None if "transfer-encoding" in self.headers else 0

    def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes; once.

        Raises:
            ClientGone: it will not come to its end.
        """
        return self._body()


class Response:
    """An answer.

    Attributes:
        body: bytes, or what starts an iteration over them; then `headers` has a Content-Length.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body = b"",
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.body = body


class Connection:
    """Serves one client until either side has enough."""

    def __init__(self, stream: trio.abc.Stream, respond: Respond, limits: Limits) -> None:
        self._stream = stream
        self._respond = respond
        self._limits = limits
        self._wire = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._idle = trio.CancelScope()
        self._closing = False

    def finish(self) -> None:
        """Answer what was asked, and nothing after it."""
        self._closing = True
        self._idle.cancel()

    async def serve(self) -> None:
        """Answer requests. Returns when the connection is of no more use; does not close it."""
        try:
            wait_s = self._limits.header_s
            while not self._closing:
                request = await self._next_request(wait_s)
                if request is None:
                    return
                await self._answer(request)
                if self._wire.our_state is not h11.DONE:
                    await self._linger()
                    return
                self._wire.start_next_cycle()
                wait_s = self._limits.keep_s
        except (ClientGone, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it was their decision

    async def _next_request(self, wait_s: float) -> Request | None:
        """Return the next request, None when there is none."""
        event: Any = h11.NEED_DATA
        if not self._wire.trailing_data[0]:
            with trio.move_on_after(wait_s) as self._idle:
                await self._receive()
            if self._idle.cancelled_caught:
                return None
        with trio.move_on_after(self._limits.header_s):
            try:
                event = await self._next_event()
            except h11.RemoteProtocolError as exc:
                await self._refuse(exc)
                return None
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return Request(event.method.decode("latin-1"), event.target.decode("latin-1"), headers, self._pieces)

    async def _answer(self, request: Request) -> None:
        response = await self._respond(request)
        headers = {"Date": formatdate(usegmt=True), "Server": _SERVER, **response.headers}
        if isinstance(response.body, bytes) and response.status not in (204, 304):
            headers.setdefault("Content-Length", str(len(response.body)))
        if self._closing or not self._has_come():
            headers["Connection"] = "close"
        await self._send(_head(response.status, headers))
        if request.method != "HEAD":
            if isinstance(response.body, bytes):
                if response.body:
                    await self._send(h11.Data(data=response.body))
            else:
                async with aclosing(response.body()) as pieces:
                    async for piece in pieces:
                        await self._send(h11.Data(data=piece))
        await self._send(h11.EndOfMessage())

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        watch = RateWatch(self._limits.body)
        if self._wire.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            started = time.monotonic()
            with trio.move_on_after(self._limits.body.idle_s) as scope:
                try:
                    event = await self._next_event()
                except h11.RemoteProtocolError as exc:
                    raise ClientGone(str(exc)) from exc
            if scope.cancelled_caught:
                raise ClientGone("the client sends nothing")
            if isinstance(event, h11.Data):
                count = len(event.data)
                if watch.is_too_slow(waited_s=time.monotonic() - started, count=count):
                    raise ClientGone("the client is too slow")
                yield event.data
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise ClientGone("the connection ended")

    def _has_come(self) -> bool:
        """Tell whether all of the request was read, or lies here and needs no waiting."""
        while self._wire.their_state is h11.SEND_BODY:
            try:
                if self._wire.next_event() is h11.NEED_DATA:
                    return False
            except h11.RemoteProtocolError:
                return False
        return self._wire.their_state is h11.DONE

    async def _next_event(self) -> Any:
        while True:
            event = self._wire.next_event()
            if event is not h11.NEED_DATA:
                return event
            await self._receive()

    async def _receive(self) -> None:
        try:
            data = await self._stream.receive_some(PIECE_BYTES)
        except trio.BrokenResourceError as exc:
            raise ClientGone("the connection broke") from exc
        self._wire.receive_data(bytes(data))

    async def _send(self, event: Any) -> None:
        pieces = self._wire.send_with_data_passthrough(event) or []
        with trio.move_on_after(self._limits.write_s) as scope:
            await self._stream.send_all(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if scope.cancelled_caught:
            raise ClientGone("the client takes nothing")

    async def _refuse(self, exc: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP, if there is still somebody."""
        if self._wire.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = f"{exc}\n".encode()
        headers = {"Content-Length": str(len(text)), "Content-Type": "text/plain", "Connection": "close"}
        await self._send(_head(exc.error_status_hint, headers))
        await self._send(h11.Data(data=text))
        await self._send(h11.EndOfMessage())
        await self._linger()

    async def _linger(self) -> None:
        """Let the client take the answer: closing on bytes that were not read would take it away from it."""
        with trio.move_on_after(self._limits.drain_s):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):  # TLS is none
                await self._stream.send_eof()
            left = DRAIN_BYTES
            while left > 0 and (data := await self._stream.receive_some(PIECE_BYTES)):
                left -= len(data)


def _head(status: int, headers: Mapping[str, str]) -> h11.Response:
    reason = responses.get(status, "").encode()
    return h11.Response(status_code=status, reason=reason, headers=list(headers.items()))
