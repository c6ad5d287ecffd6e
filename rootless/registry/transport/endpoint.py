"""A registry as one repository sees it: which protocol it speaks, who we are there, how patient we are.

`docker` and `docker_push` say what to ask; an `Endpoint` sees to it that an answer comes.
"""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager, contextmanager

import trio  # noqa: TID253  imported with a transport only

from rootless.errors import RegistryError
from rootless.registry.client import HttpClient
from rootless.registry.faults import Answer, NetworkFault, answer_error
from rootless.registry.hosts import api_host, host_of, is_loopback
from rootless.registry.ratelimit import describe
from rootless.registry.redirects import keeps_credentials
from rootless.registry.retry import is_transient, pause_s
from rootless.registry.settings import MAX_ERROR_BODY_BYTES
from rootless.registry.transport.authorizer import Authorizer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Self

    from rootless.registry.authfile import Credential
    from rootless.registry.client import Body, Reply
    from rootless.registry.settings import Deadlines, RegistrySettings


class Endpoint:
    """Connections to a registry for one repository, or for the registry itself; an async context manager.

    Attributes:
        authorizer: who we are there.
        on: the image, for messages. doing: what all this is for, "pull"; follows "cannot".
        reached: it has answered.
        limits: how many requests it allows, in words; "" where it does not say.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        domain: str,
        path: str = "",
        scopes: tuple[str, ...] = (),
        on: str,
        doing: str,
        credential: Credential | None = None,
        insecure: bool = False,
    ) -> None:
        """Set up; no I/O before it is entered.

        Args:
            domain, path: of the reference; no path is the registry itself.
            scopes: what tokens are asked for.
            credential: None looks for the user's, once the registry asks who we are.
            insecure: HTTP, or any certificate, will do for this registry; unless the settings are strict.
        """
        self.on = on
        self.doing = doing
        self.reached = False
        self.limits = ""
        self._host = api_host(domain)
        insecure = insecure and not settings.strict
        self._client = HttpClient(settings, self._host, insecure=insecure)
        self.authorizer = Authorizer(
            self._client,
            domain=domain,
            path=path,
            scopes=scopes,
            credential=credential,
            insecure=insecure,
        )
        self._deadlines = settings.deadlines
        self._schemes = _schemes(host_of(self._host), tls_verify=settings.tls_verify and not insecure)
        self._choosing = trio.Lock()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(*exc)

    async def fetch(self, path: str, *, accept: str, doing: str, limit: int) -> Answer:
        """Return the answer 200 to a small request, after as many tries as it takes and may take."""
        retry = self.retry()
        while True:
            try:
                async with self.get(path, headers={"Accept": accept}) as reply:
                    if reply.status == 200:
                        answer = await reply.read(limit)
                        self.limits = describe(answer.headers) or self.limits
                        return answer
                    raise await self.error(reply, doing=doing)
            except NetworkFault as fault:
                await retry.again(fault)

    @asynccontextmanager
    async def get(
        self, path: str, *, headers: Mapping[str, str], method: str = "GET"
    ) -> AsyncIterator[Reply]:
        """Send a request that changes nothing, with authorization renewed once if the registry wants it."""
        url = await self.url(path)

        def attempt(authorization: str) -> AbstractAsyncContextManager[Reply]:
            return self._client.get(url, headers=headers, authorization=authorization, method=method)

        async with self._authorized(attempt) as reply:
            yield reply

    @asynccontextmanager
    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Body | None = None
    ) -> AsyncIterator[Reply]:
        """Send a request that changes something, in the same way.

        Args:
            url: from `url` or `follow`. Another origin than the registry's gets no credentials (attack: B11).
            body: started once more where the first was sent in vain, for want of authorization.
        """
        home = keeps_credentials(await self.url("/"), url)

        def attempt(authorization: str) -> AbstractAsyncContextManager[Reply]:
            used = authorization if home else ""
            return self._client.send(method, url, headers=headers, authorization=used, body=body)

        async with self._authorized(attempt, home=home) as reply:
            yield reply

    @asynccontextmanager
    async def _authorized(
        self, attempt: Callable[[str], AbstractAsyncContextManager[Reply]], *, home: bool = True
    ) -> AsyncIterator[Reply]:
        renewed = False
        while True:
            used = self.authorizer.header
            with self._named():
                async with attempt(used) as reply:
                    # a 401 from where we were sent to gets nothing: CVE-2020-15157
                    if reply.status != 401 or reply.redirected or renewed or not home:
                        self.reached = True
                        yield reply
                        return
                    challenges = reply.challenges
                    refusal = await reply.read(MAX_ERROR_BODY_BYTES)
            renewed = True
            if not await self.authorizer.answer(challenges, refused=used):
                raise self.judge(refusal, doing=self.doing)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of an error what image it is about."""
        try:
            yield
        except RegistryError as error:
            if self.on not in (error.on or self.on):
                error.on = f"{self.on} ({error.on})"
            raise

    async def url(self, path: str) -> str:
        """Return the address of a path, with the protocol that the registry speaks."""
        async with self._choosing:
            with self._named():
                await self._choose_scheme()
        return f"{self._schemes[0]}://{self._host}{path}"

    async def follow(self, location: str, *, asked: str) -> str:
        """Return where a Location header leads.

        Raises:
            RegistryError: no honest registry sends anybody there: see `redirects`.
        """
        with self._named():
            return await self._client.follow(location, visited=[asked])

    def retry(self) -> Retry:
        """Return a counter for the attempts of one piece of work."""
        return Retry(self, self._deadlines)

    async def error(self, reply: Reply, *, doing: str) -> RegistryError:
        """Return the error for an answer that is no success."""
        return self.judge(await reply.read(MAX_ERROR_BODY_BYTES), doing=doing)

    def judge(self, answer: Answer, *, doing: str) -> RegistryError:
        """Return the error for an answer that is no success: a NetworkFault when it may pass."""
        error = answer_error(answer, doing=doing, on=self.on, credentials=self.authorizer.advice())
        if is_transient(answer.status) and not isinstance(error, NetworkFault):
            return NetworkFault(error.message, on=error.on, hint=error.hint, reference=error.reference)
        return error

    async def _choose_scheme(self) -> None:
        """Find out which of the allowed protocols the registry speaks; nothing secret is sent.

        A connection that breaks decides nothing: the next attempt asks in all protocols again.
        """
        broken: NetworkFault | None = None
        for scheme in self._schemes if len(self._schemes) > 1 else ():
            try:
                async with self._client.get(f"{scheme}://{self._host}/v2/", headers={}) as reply:
                    answer = await reply.read(MAX_ERROR_BODY_BYTES)
            except NetworkFault as fault:
                if fault.reference not in ("registry-protocol", "tls", "registry-unreachable"):
                    raise
                if fault.connecting:
                    raise  # nobody listens: the other protocol would find nobody either
                broken = broken or fault
                continue
            if scheme != "http" or answer.status != 400:  # how TLS servers answer to http
                self._schemes = [scheme]
                return
        if broken is not None:
            raise broken


class Retry:
    """Counts the attempts of one piece of work."""

    def __init__(self, endpoint: Endpoint, deadlines: Deadlines) -> None:
        self.attempts = 0
        self._endpoint = endpoint
        self._deadlines = deadlines

    async def again(self, fault: NetworkFault) -> None:
        """Wait before the next try, or raise the fault when there shall be none."""
        if fault.connecting and not self._endpoint.reached:
            raise fault  # a wrong name or port, most likely: patience would not help
        self.attempts += 1
        pause = pause_s(
            self.attempts,
            retry_after=fault.retry_after,
            now=time.time(),
            deadlines=self._deadlines,
            dice=random.random,
        )
        if pause is None:
            raise fault
        await trio.sleep(pause)


def _schemes(host: str, *, tls_verify: bool) -> list[str]:
    """Return the schemes to try, in order.

    Plain HTTP is for this machine, or where the user gave up on TLS. On loopback it is tried first: a
    registry there is nearly always plain, and TLS costs 20 ms to find that out.
    """
    if is_loopback(host):
        return ["http", "https"]
    return ["https"] if tls_verify else ["https", "http"]
