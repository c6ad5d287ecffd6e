"""Stand before a real registry and spoil what passes, by a plan that a seed repeats.

with FaultyProxy(registry.address, plan=Plan(7, rate=0.3)) as proxy:
    product.attempt("pull", f"{proxy.address}/box:1")
    proxy.plan = None                                # honest from now on
    assert proxy.bytes_down(digest) == 0

What a request meets depends on the seed, the request, and how often it has come: not on the order of threads.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

CUTS = ("cut-request", "cut-headers", "cut-answer")
"""The connection breaks: in the request's body, in the answer's headers, in its body."""
LIES = ("flip-request", "flip-answer", "long-answer")
"""One byte is another; the answer comes twice as one."""
OTHERS = ("delay", "stall", "repeat-request", "repeat-answer", "redirect-here", "redirect-elsewhere")
"""It takes a moment, or for ever; the registry hears the request twice, the client the answer; 307."""
FAULTS = (*CUTS, *LIES, *OTHERS)
_PIECE = 16 << 10
_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length"))
"""Headers that a proxy makes anew: RFC 9110 §7.6.1."""


class Plan:
    """Which requests meet which fault.

    Args:
        rate: share of the requests that meet one.
    """

    def __init__(self, seed: int, *, rate: float, faults: Iterable[str] = FAULTS) -> None:
        self.seed = seed
        self.rate = rate
        self.faults = tuple(faults)
        self._seen: Counter[str] = Counter()

    def dice(self, method: str, path: str) -> random.Random:
        """Return what decides about this request."""
        name = f"{method} {re.sub('uploads/[^?]+|_state=[^&]*', '', path)}"
        self._seen[name] += 1
        return random.Random(f"{self.seed} {name} {self._seen[name]}")

    def choose(self, dice: random.Random) -> str:
        """Return a fault, "" for none."""
        return dice.choice(self.faults) if dice.random() < self.rate else ""


class Exchange:
    """A request, what befell it, and how many bytes of the two bodies came through."""

    def __init__(self, method: str, path: str, fault: str) -> None:
        self.method = method
        self.path = path
        self.fault = fault
        self.status = 0
        self.up = 0
        self.down = 0


class FaultyProxy:
    """The proxy; a context manager. Each connection has its own thread.

    Args:
        upstream: "HOST:PORT" of a registry without TLS. tls: speak TLS to clients.

    Attributes:
        address: "127.0.0.1:PORT". plan: None lets everything pass. exchanges: as they began.
    """

    def __init__(self, upstream: str, *, plan: Plan | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.plan = plan
        self.exchanges: list[Exchange] = []
        self._upstream = upstream
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()

    def __enter__(self) -> FaultyProxy:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for each in (self._listener, *list(self._open)):
            with suppress(OSError):  # not connected any more
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(5)

    def bytes_up(self, digest: str) -> int:
        """Return how many bytes of a blob clients have sent, in requests that end an upload."""
        return sum(e.up for e in self.exchanges if f"digest={digest}" in e.path.replace("%3A", ":"))

    def bytes_down(self, digest: str) -> int:
        """Return how many bytes of a blob clients have got."""
        return sum(e.down for e in self.exchanges if e.path.endswith(f"/blobs/{digest}"))

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(5)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            with connection.makefile("rb") as stream:
                while (first := stream.readline(65536).decode("latin-1").split())[2:] == ["HTTP/1.1"]:
                    headers = http.client.parse_headers(stream)
                    if not self._pass_on(connection, stream, first[0], first[1], headers):
                        break
        except (OSError, ValueError, http.client.HTTPException):
            pass  # a side went away
        finally:
            self._open.discard(connection)
            connection.close()

    def _pass_on(self, connection: socket.socket, stream: Any, method: str, path: str, headers: Any) -> bool:
        """Carry one request and its answer; False when the connection is of no further use."""
        plan = self.plan
        dice = plan.dice(method, path) if plan else random.Random()
        exchange = Exchange(method, path, plan.choose(dice) if plan else "")
        self.exchanges.append(exchange)
        size = int(headers.get("content-length", 0))
        if exchange.fault.startswith("redirect"):
            return self._redirect(connection, stream, exchange, size)
        if exchange.fault == "delay":
            time.sleep(0.05)
        if exchange.fault == "stall":
            return self._closing.wait(5)
        upstream = http.client.HTTPConnection(self._upstream, timeout=5)
        try:
            body = _spoilt(_pieces(stream, size), exchange, "request", size, dice)
            answer = self._ask(upstream, exchange, headers, body, size)
            return answer is not None and self._answer(connection, exchange, answer, dice)
        finally:
            upstream.close()

    def _ask(
        self,
        upstream: http.client.HTTPConnection,
        exchange: Exchange,
        headers: Any,
        body: Iterator[bytes],
        size: int,
    ) -> http.client.HTTPResponse | None:
        """Send a request on, twice perhaps; None when it was cut."""
        data = [b"".join(body)] if exchange.fault == "repeat-request" else body
        for _ in range(2 if exchange.fault == "repeat-request" else 1):
            upstream.close()
            upstream.putrequest(exchange.method, exchange.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in _HOP:
                    upstream.putheader(name, value)
            if self._tls is not None:
                upstream.putheader("X-Forwarded-Proto", "https")
            if "content-length" in headers:
                upstream.putheader("Content-Length", str(size))
            upstream.endheaders()
            exchange.up = 0
            for piece in data:
                upstream.send(piece)
                exchange.up += len(piece)
            if exchange.up < size:
                return None
            answer = upstream.getresponse()
        return answer

    def _answer(
        self,
        connection: socket.socket,
        exchange: Exchange,
        answer: http.client.HTTPResponse,
        dice: random.Random,
    ) -> bool:
        exchange.status = answer.status
        size = int(answer.headers.get("content-length", 0))
        whole: Iterable[bytes] = _pieces(answer, size)
        if exchange.method == "HEAD":
            whole = ()
        elif answer.headers.get("content-length") is None:
            whole = [answer.read()]
            size = len(whole[0])
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        lines += [f"{k}: {v}" for k, v in answer.headers.items() if k.lower() not in _HOP]
        repeated = exchange.fault in ("repeat-answer", "long-answer")
        announced = 2 * size if exchange.fault == "long-answer" else size
        head = "\r\n".join([*lines, f"Content-Length: {announced}", "", ""]).encode("latin-1")
        if exchange.fault == "cut-headers":
            connection.sendall(head[: dice.randrange(len(head))])
            return False
        copies = [b"".join(whole)] if repeated else whole
        for turn in range(2 if repeated else 1):
            if not turn or exchange.fault == "repeat-answer":
                connection.sendall(head)
            for piece in _spoilt(copies, exchange, "answer", size, dice):
                connection.sendall(piece)
                exchange.down += len(piece)
        return exchange.fault != "cut-answer"

    def _redirect(self, connection: socket.socket, stream: Any, exchange: Exchange, size: int) -> bool:
        for _ in _pieces(stream, size):
            pass
        scheme = "https" if self._tls is not None else "http"
        host = "127.0.0.1" if exchange.fault == "redirect-here" else "localhost"
        exchange.status = 307
        where = f"Location: {scheme}://{host}:{self.port}{exchange.path}"
        connection.sendall(f"HTTP/1.1 307 There\r\n{where}\r\nContent-Length: 0\r\n\r\n".encode())
        return True


def _pieces(stream: Any, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := stream.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece


def _spoilt(
    pieces: Iterable[bytes], exchange: Exchange, side: str, size: int, dice: random.Random
) -> Iterator[bytes]:
    """Yield a body as the fault of its exchange makes it: cut, or with one other byte."""
    point = dice.randrange(size) if size else 0
    for piece in pieces:
        at, point = point, point - len(piece)
        if exchange.fault == f"cut-{side}" and at < len(piece):
            yield piece[:at]
            return
        if exchange.fault == f"flip-{side}" and 0 <= at < len(piece):
            piece = piece[:at] + bytes((piece[at] ^ 1,)) + piece[at + 1 :]
        yield piece
