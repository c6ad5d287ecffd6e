"""Connection pools of one client: which one a URL belongs to, and what is trusted there."""

from __future__ import annotations

import ssl

import httpx2  # noqa: TID253  of `client`, which is imported late

from rootless.errors import RegistryError
from rootless.registry.proxies import proxy_for
from rootless.registry.redirects import Origin
from rootless.registry.tls import make_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.settings import RegistrySettings


class Pools(httpx2.AsyncBaseTransport):
    """Choose connection pool by URL: the registry's own TLS settings are for the registry alone."""

    def __init__(self, settings: RegistrySettings, registry: str, *, insecure: bool) -> None:
        self._settings = settings
        self._insecure = insecure
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
            is_registry = trust == "registry"
            verify = self._settings.tls_verify and not (self._insecure and is_registry)
            context = make_context(self._settings, self._registry if is_registry else "", verify=verify)
        try:
            return httpx2.AsyncHTTPTransport(verify=context, proxy=proxy or None, trust_env=False)
        except (ImportError, ValueError, httpx2.InvalidURL) as exc:
            raise RegistryError(
                "cannot use the proxy: its address is not one of http or https",
                hint="check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY",
                reference="bad-proxy",
            ) from exc
