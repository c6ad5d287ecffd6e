"""GET over HTTP with the care that hostile servers need: the door to httpx2.

One client per source of an image. It follows redirects itself (`redirects` decides), lets nothing wait for
ever, and turns every foreign exception into a RegistryError; a NetworkFault is one that may pass. It knows
nothing of images or tokens: `transport.docker` does.
"""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore2
import httpx2  # noqa: TID253  this module is the door, and is itself imported late
import trio  # noqa: TID253

from rootless.registry.connection_errors import BROKEN, translated
from rootless.registry.faults import Answer, NetworkFault
from rootless.registry.hosts import is_loopback
from rootless.registry.pools import Pools
from rootless.registry.proxies import proxy_for
from rootless.registry.redirects import (
    STATUSES,
    Origin,
    any_inward,
    keeps_credentials,
    next_hop,
    redirect_error,
)
from rootless.registry.retry import RateWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
    from typing import Self

    from rootless.registry.settings import RegistrySettings

httpcore2.AsyncHTTP11Connection.READ_NUM_BYTES = 1 << 18
"""Most that is read from a connection at once. With the 64 KiB of httpx2's engine, receiving takes half as
much time again."""
_WRITE_BYTES = 1 << 17
"""Most that is written at once: a line must take it within `Deadlines.idle_s`, 4 KiB a second."""
_STORED_BYTES_PER_S = 10e6
"""How fast a registry hashes a complete upload and copies it to its place, at least."""


class Body:
    """What a request brings along.

    Attributes:
        size: in bytes. start: begins an iteration over them.
    """

    __slots__ = ("size", "start")

    def __init__(self, size: int, start: Callable[[], AsyncGenerator[bytes, None]]) -> None:
        self.size = size
        self.start = start

    @classmethod
    def of(cls, data: bytes) -> Body:
        """Return bytes in memory as a body."""

        async def pieces() -> AsyncGenerator[bytes, None]:
            yield data

        return cls(len(data), pieces)


class Reply:
    """An answer whose body is still on its way.

    Attributes:
        url: that it came from. redirected: that is another origin than the one asked.
        challenges: all WWW-Authenticate headers.
    """

    __slots__ = ("_client", "_response", "redirected", "url")

    def __init__(self, client: HttpClient, response: httpx2.Response, url: str, *, redirected: bool) -> None:
        self._client = client
        self._response = response
        self.url = url
        self.redirected = redirected

    @property
    def status(self) -> int:
        return self._response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    @property
    def challenges(self) -> list[str]:
        return self._response.headers.get_list("www-authenticate")

    async def read(self, limit: int) -> Answer:
        """Return the whole answer; a body beyond `limit` bytes is cut one byte after it."""
        body = bytearray()
        deadline = self._client.settings.deadlines.answer_s
        stream = self._response.aiter_raw()
        try:
            with translated(self.url), trio.fail_after(deadline):
                async for piece in stream:
                    body += piece
                    if len(body) > limit:
                        del body[limit + 1 :]
                        break
        finally:
            await self._end(stream)
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Answer(url=self.url, status=self.status, headers=headers, body=bytes(body))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, undecoded.

        Raises:
            NetworkFault: it broke off, idles, or is too slow to ever end.
        """
        deadlines = self._client.settings.deadlines
        watch = RateWatch(deadlines)
        stream = self._response.aiter_raw()  # no chunk size: it would hide how slowly, and how much, came
        try:
            while True:
                started = time.monotonic()
                with translated(self.url):
                    piece = await anext(stream, b"")
                if not piece:
                    return
                if watch.is_too_slow(waited_s=time.monotonic() - started, count=len(piece)):
                    raise NetworkFault(
                        f"download is too slow: less than {deadlines.slow_bytes_per_s:g} bytes a second"
                        f" for {deadlines.slow_window_s:g} s",
                        on=str(Origin(self.url)),
                        reference="registry-too-slow",
                    )
                yield piece
        finally:
            await self._end(stream)

    async def _end(self, stream: AsyncGenerator[bytes, None]) -> None:
        """Close the answer, and run its generators to their end.

        httpx2 and httpcore2 nest generators without closing the inner ones, which Python then finishes at
        some later time, in nobody's task. With the connection gone they end by themselves.
        """
        with trio.CancelScope(shield=True), suppress(*BROKEN):
            await self._response.aclose()
            async for _ in stream:
                pass


class HttpClient:
    """Connections to a registry and to whoever it sends us to; an async context manager."""

    def __init__(self, settings: RegistrySettings, registry: str, *, insecure: bool = False) -> None:
        """Set up.

        Args:
            registry: host[:port] as certs.d directories and images name it.
            insecure: any certificate will do for this registry, whatever the settings say, and for it alone.
        """
        self.settings = settings
        self._pools = Pools(settings, registry, insecure=insecure)
        self._http = httpx2.AsyncClient(
            transport=self._pools,
            trust_env=False,  # no netrc; proxies and certificates are ours to decide
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"User-Agent": "rootless", "Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(settings.deadlines.idle_s, connect=settings.deadlines.connect_s),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with trio.CancelScope(shield=True):
            await self._http.aclose()

    @asynccontextmanager
    async def get(
        self, url: str, *, headers: Mapping[str, str], authorization: str = "", method: str = "GET"
    ) -> AsyncIterator[Reply]:
        """Send a GET and follow where it leads; the body is read inside the `async with`.

        Args:
            authorization: goes to the origin of `url` and nowhere else.
            method: or a HEAD.

        Raises:
            RegistryError: no answer (NetworkFault), or a redirect that must not be followed.
        """
        visited = [url]
        home = True
        while True:
            sent = {**headers, "Authorization": authorization} if authorization and home else dict(headers)
            response = await self._send(method, visited[-1], headers=sent)
            try:
                if response.status_code not in STATUSES:
                    yield Reply(self, response, visited[-1], redirected=not home)
                    return
            finally:
                with trio.CancelScope(shield=True):
                    await response.aclose()
            target = await self.follow(response.headers.get("location", ""), visited=visited)
            home = home and keeps_credentials(url, target)  # once away, never again: B8
            visited.append(target)

    async def follow(self, location: str, *, visited: list[str]) -> str:
        """Return the absolute URL of a Location header.

        Args:
            visited: URLs of this exchange so far, the first request first; at least one.

        Raises:
            RegistryError: no honest registry sends anybody there.
        """
        target = next_hop(location, visited=visited, insecure=not self.settings.tls_verify)
        if not keeps_credentials(visited[0], target):
            await self._check_addresses(target, first=visited[0])
        return target

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        authorization: str = "",
        body: Body | None = None,
    ) -> AsyncIterator[Reply]:
        """Send a request that changes something; a redirect is an answer like any other.

        Args:
            body: streamed, in as much time as it takes while it moves.

        Raises:
            RegistryError: no answer (NetworkFault). Whatever `body` raises comes through.
        """
        sent = {**headers, "Authorization": authorization} if authorization else dict(headers)
        response = await self._send(method, url, headers=sent, body=body or Body(0, _nothing))
        try:
            yield Reply(self, response, url, redirected=False)
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def post_form(self, url: str, form: Mapping[str, str]) -> Answer:
        """Send a form; a redirect is an answer like any other, for the form holds a secret."""
        response = await self._send("POST", url, form=form)
        try:
            return await Reply(self, response, url, redirected=False).read(1 << 20)
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def _send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> httpx2.Response:
        deadlines = self.settings.deadlines
        answer_s, content = deadlines.answer_s, None
        # httpx2's own timeouts are per read; a header that comes letter by letter needs this one
        scope = trio.CancelScope(deadline=trio.current_time() + deadlines.connect_s + answer_s)
        timeout = httpx2.Timeout(deadlines.idle_s, connect=deadlines.connect_s)
        if body is not None:
            answer_s += body.size / _STORED_BYTES_PER_S  # it is hashed and moved before there is an answer
            timeout = httpx2.Timeout(deadlines.idle_s, connect=deadlines.connect_s, read=answer_s)
            content = _moving(body, scope, patience_s=answer_s)
            headers = {**(headers or {}), "Content-Length": str(body.size)}
        with translated(url):
            with scope:
                request = self._http.build_request(
                    method, url, headers=headers, data=form, content=content, timeout=timeout
                )
                return await self._http.send(request, stream=True)
            raise trio.TooSlowError

    async def _check_addresses(self, target: str, *, first: str) -> None:
        """Refuse a name in a redirect that resolves to this machine or its link-local network (B8).

        Through a proxy the names are not ours to resolve. The answer may change before the connection is made
        (DNS rebinding): what is sent then is a GET without credentials.
        """
        origin = Origin(target)
        if is_loopback(Origin(first).host) or is_loopback(origin.host):
            return  # `next_hop` has judged these
        if proxy_for(origin.scheme, origin.host, origin.port, environment=self.settings.environment):
            return
        try:
            with trio.fail_after(self.settings.deadlines.connect_s):
                found = await trio.socket.getaddrinfo(origin.host, origin.port)
        except (OSError, trio.TooSlowError):
            return  # the connection will say it better
        if any_inward(str(item[4][0]) for item in found):
            problem = "its name resolves to this machine or its link-local network"
            raise redirect_error(target, first=str(Origin(first)), problem=problem)


async def _moving(body: Body, scope: trio.CancelScope, *, patience_s: float) -> AsyncGenerator[bytes, None]:
    """Yield a body in pieces that a slow line can take in time, and put the deadline off with each."""
    async with aclosing(body.start()) as pieces:
        async for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _WRITE_BYTES):
                yield view[start : start + _WRITE_BYTES]  # type: ignore[misc]  # h11 takes any buffer
                scope.deadline = trio.current_time() + patience_s


async def _nothing() -> AsyncGenerator[bytes, None]:
    return
    yield
