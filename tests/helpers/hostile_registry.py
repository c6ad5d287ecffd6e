"""A registry on loopback that misbehaves as a test tells it to, and remembers what it was asked.

with HostileRegistry() as server:
    server.add_image("box", "latest", layout)         # well-behaved so far
    server.on("/v2/box/blobs/", lambda request: Reply(503))
    …
    assert "authorization" not in server.requests[-1].headers

It speaks just enough HTTP/1.1 and shares no code with the product.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from tests.helpers.images import Layout

REASON = "Whatever"


class Request:
    """What a client asked. `cut`: the body had more, which was not read; there will be no answer."""

    def __init__(
        self, method: str, path: str, headers: dict[str, str], body: bytes, *, cut: bool = False
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.cut = cut

    @property
    def offset(self) -> int:
        """Start of the range that was asked for."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))


class Reply:
    """What to answer.

    Args:
        body: sent as a whole, or piece by piece as the iterable yields.
        length: Content-Length; None takes that of a bytes body; -1 sends none, and closes at the end.
        raw: bytes in place of a whole answer.
    """

    def __init__(
        self,
        status: int = 200,
        body: bytes | Iterable[bytes] = b"",
        *,
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
        raw: bytes | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = dict(headers or {})
        self.length = length
        self.raw = raw


class HostileRegistry:
    """The server; a context manager. Each connection has its own thread.

    Attributes:
        address: "127.0.0.1:PORT".
        requests: all that came, in order.
        body_limit: how many bytes of a request's body are read before the connection is cut.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._handlers: list[tuple[str, Callable[[Request], Reply]]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.body_limit: Callable[[str, str], int] = lambda method, path: 1 << 40
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self.on("/v2/", lambda request: Reply(404 if len(request.path) > 4 else 200, b"{}"))

    def __enter__(self) -> HostileRegistry:
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

    def on(self, prefix: str, handler: Callable[[Request], Reply]) -> None:
        """Answer requests for paths that start with a prefix; the latest rule that fits counts."""
        self._handlers.insert(0, (prefix, handler))

    def add_blob(self, repository: str, name: str, data: bytes) -> None:
        def answer(request: Request) -> Reply:
            start = request.offset
            if not start:
                return Reply(200, data)
            span = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return Reply(206, data[start:], headers={"Content-Range": span})

        self.on(f"/v2/{repository}/blobs/{name}", answer)

    def add_manifest(self, repository: str, tags: Iterable[str], data: bytes, media_type: str) -> None:
        for tag in tags:
            reply = Reply(200, data, headers={"Content-Type": media_type})
            self.on(f"/v2/{repository}/manifests/{tag}", lambda _, reply=reply: reply)

    def add_image(self, repository: str, tag: str, layout: Layout, *, of: str = "latest") -> None:
        """Offer all of a layout's blobs, and the image that it calls `of` as `tag`."""
        for path in (layout.path / "blobs/sha256").iterdir():
            data, name = path.read_bytes(), f"sha256:{path.name}"
            self.add_blob(repository, name, data)
            if data[:1] == b"{" and "mediaType" in (value := json.loads(data)):
                self.add_manifest(repository, (name,), data, value["mediaType"])
        for entry in json.loads((layout.path / "index.json").read_text())["manifests"]:
            if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == of:
                data = layout.blob_path(entry["digest"]).read_bytes()
                self.add_manifest(repository, (tag,), data, entry["mediaType"])

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def wait(self, seconds: float) -> bool:
        """Sleep in a handler; True when the server ends meanwhile."""
        return self._closing.wait(seconds)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            stream = connection.makefile("rb")
            while (request := self._read(stream)) is not None:
                self.requests.append(request)
                if not self._answer(connection, request):
                    break
        except (OSError, ValueError):
            pass  # the client went away, or was not one
        finally:
            self._open.discard(connection)
            connection.close()

    def _read(self, stream: Any) -> Request | None:
        first = stream.readline(65536).decode("latin-1").split()
        if len(first) != 3:
            return None
        headers: dict[str, str] = {}
        while line := stream.readline(65536).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", 0))
        limit = self.body_limit(first[0], first[1]) if length else 0
        body = stream.read(min(length, limit))
        return Request(first[0], first[1], headers, body, cut=length > limit)

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        """Send the answer; False closes the connection."""
        handler = next((h for prefix, h in self._handlers if request.path.startswith(prefix)), None)
        reply = handler(request) if handler else Reply(404)
        if request.cut:
            return False
        if reply.raw is not None:
            connection.sendall(reply.raw)
            return False
        whole = reply.body if isinstance(reply.body, bytes) else None
        length = reply.length if reply.length is not None else len(whole) if whole is not None else -1
        lines = [f"HTTP/1.1 {reply.status} {REASON}", *(f"{k}: {v}" for k, v in reply.headers.items())]
        lines.append(f"Content-Length: {length}" if length >= 0 else "Connection: close")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for piece in (whole,) if whole is not None else reply.body:
            connection.sendall(piece)
        return length >= 0 and whole is not None and len(whole) == length
