"""GET over HTTP with the care that hostile servers need: the only door to httpx2.

One client per source of an image. It follows redirects itself (`redirects` decides), lets nothing wait for
ever, and turns every foreign exception into a RegistryError; a NetworkFault is one that may pass. It knows
nothing of images or tokens: `transport.docker` does.
"""

from __future__ import annotations

import os
import ssl
import time
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpcore2
import httpx2  # noqa: TID253  this module is the door, and is itself imported late
import trio  # noqa: TID253

from rootless.errors import RegistryError, os_error_text
from rootless.registry.faults import Answer, NetworkFault
from rootless.registry.hosts import is_loopback
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
from rootless.registry.tls import make_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
    from typing import Self

    from rootless.registry.settings import RegistrySettings

httpcore2.AsyncHTTP11Connection.READ_NUM_BYTES = 1 << 18
"""Most that is read from a connection at once. With the 64 KiB of httpx2's engine, receiving takes half as
much time again."""
_BROKEN = (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, ssl.SSLError, OSError)


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
            with _translate(self.url), trio.fail_after(deadline):
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
                with _translate(self.url):
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
        with trio.CancelScope(shield=True), suppress(*_BROKEN):
            await self._response.aclose()
            async for _ in stream:
                pass


class HttpClient:
    """Connections to a registry and to whoever it sends us to; an async context manager."""

    def __init__(self, settings: RegistrySettings, registry: str) -> None:
        """Set up for `registry`, host[:port] as certs.d directories and images name it."""
        self.settings = settings
        self._routes = _Routes(settings, registry)
        self._http = httpx2.AsyncClient(
            transport=self._routes,
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
        with _translate(url):
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


class _Routes(httpx2.AsyncBaseTransport):
    """Choose connection pool by URL: the registry's own TLS settings are for the registry alone."""

    def __init__(self, settings: RegistrySettings, registry: str) -> None:
        self._settings = settings
        self._registry = registry
        self._pools: dict[tuple[str, str], httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        origin = Origin(str(request.url))
        proxy = proxy_for(origin.scheme, origin.host, origin.port, environment=self._settings.environment)
        trust = self._trust(origin)
        pool = self._pools.get((trust, proxy))
        if pool is None:
            pool = self._make_pool(trust, proxy)
            self._pools[trust, proxy] = pool
        return await pool.handle_async_request(request)

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    def _trust(self, origin: Origin) -> str:
        if origin.scheme != "https":
            return "plain"
        return "registry" if origin == Origin(f"https://{self._registry}") else "others"

    def _make_pool(self, trust: str, proxy: str) -> httpx2.AsyncHTTPTransport:
        if trust == "plain" and not proxy.startswith("https"):
            context = ssl.SSLContext(
                ssl.PROTOCOL_TLS_CLIENT
            )  # trusts nobody; loading the system's costs 20 ms
        else:
            context = make_context(self._settings, self._registry if trust == "registry" else "")
        try:
            return httpx2.AsyncHTTPTransport(verify=context, proxy=proxy or None, trust_env=False)
        except (ImportError, ValueError, httpx2.InvalidURL) as exc:
            raise RegistryError(
                "cannot use the proxy: its address is not one of http or https",
                hint="check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
                reference="bad-proxy",
            ) from exc


@contextmanager
def _translate(url: str) -> Iterator[None]:
    """Turn httpx2's, TLS's and trio's exceptions into ours."""
    try:
        yield
    except (httpx2.TimeoutException, trio.TooSlowError) as exc:
        where = "connect" if isinstance(exc, httpx2.ConnectTimeout) else "get an answer"
        raise NetworkFault(
            f"cannot {where} in time", on=str(Origin(url)), reference="registry-timeout"
        ) from exc
    except _BROKEN as exc:
        raise _connection_error(exc, str(Origin(url))) from exc


def _connection_error(exc: Exception, on: str) -> RegistryError:
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
