"""`docker://`: registries that speak the distribution specification."""

from __future__ import annotations

import random
import time
from contextlib import aclosing, asynccontextmanager

import trio  # noqa: TID253  imported with a transport only

from layers.reference import Reference
from rootless.registry.client import HttpClient
from rootless.registry.faults import Answer, NetworkFault, answer_error
from rootless.registry.hosts import api_host, host_of, is_loopback
from rootless.registry.retry import is_transient, pause_s
from rootless.registry.session import (
    ACCEPT_MANIFEST,
    blob_path,
    bytes_to_skip,
    check_length,
    cut_short,
    manifest_path,
    range_header,
    read_manifest,
)
from rootless.registry.settings import MAX_ERROR_BODY_BYTES, MAX_MANIFEST_BYTES
from rootless.registry.transport.authorizer import Authorizer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from typing import Self

    from layers.manifest import Descriptor
    from rootless.errors import RegistryError
    from rootless.registry.client import Reply
    from rootless.registry.settings import RegistrySettings

_PROGRESS_BYTES = 1 << 20
"""A download that got this much further before it broke again gets all its attempts anew."""


class DockerTransport:
    """Opens sources from "//[host[:port]/]path[:tag][@digest]"."""

    def open(self, rest: str, settings: RegistrySettings) -> RegistrySource:
        reference = Reference.parse(rest.removeprefix("//"))
        return RegistrySource(reference, settings)


class RegistrySource:
    """One image in a registry; see `transport.base.Source`."""

    def __init__(self, reference: Reference, settings: RegistrySettings) -> None:
        if reference.digest:
            reference = reference.with_digest(reference.digest)  # the tag beside a digest says nothing
        self.name = reference.canonical
        self.title = f"{reference.digest or reference.tag}: Pulling from {_shown_repository(reference)}"
        self._reference = reference
        self._settings = settings
        self._host = api_host(reference.domain)
        self._client = HttpClient(settings, self._host)
        self._authorizer = Authorizer(self._client, domain=reference.domain, path=reference.path)
        self._schemes = _schemes(host_of(self._host), tls_verify=settings.tls_verify)
        self._reached = False

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(*exc)

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        reference = self._reference
        digest = wanted.digest if wanted else reference.digest or ""
        path = manifest_path(reference.path, digest or reference.tag or "latest")
        answer = await self._fetch(path, accept=ACCEPT_MANIFEST, doing="pull the manifest")
        descriptor = read_manifest(answer, wanted=wanted, digest=digest, on=self.name)
        return descriptor, answer.body

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        retry = _Retry(self._settings)
        position = offset
        while position < descriptor.size:
            before = position
            try:
                async with aclosing(self._blob_once(descriptor, position)) as pieces:
                    async for piece in pieces:
                        position += len(piece)
                        yield piece
                if position < descriptor.size:
                    raise cut_short(received=position, expected=descriptor.size, on=self.name)
            except NetworkFault as fault:
                if position - before >= _PROGRESS_BYTES:
                    retry.attempts = 0
                await retry.again(fault)

    async def _blob_once(self, descriptor: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield what one request brings, at most up to the descriptor's size."""
        path = blob_path(self._reference.path, descriptor.digest)
        async with self._get(path, headers={"Accept": "*/*", **range_header(offset)}) as reply:
            if reply.status not in (200, 206):
                raise await self._error(reply, doing="download a blob")
            skip = bytes_to_skip(
                status=reply.status,
                content_range=reply.headers.get("content-range", ""),
                offset=offset,
                on=self.name,
            )
            expected = descriptor.size - offset + skip
            check_length(reply.headers.get("content-length", ""), expected=expected, on=descriptor.digest)
            async with aclosing(reply.pieces()) as pieces:
                async for piece in pieces:
                    if skip:
                        kept = piece[skip:]
                        skip -= len(piece) - len(kept)
                        piece = kept
                    if piece:
                        yield piece

    async def _fetch(self, path: str, *, accept: str, doing: str) -> Answer:
        """Return the answer 200 to a small request, after as many tries as it takes and may take."""
        retry = _Retry(self._settings)
        while True:
            try:
                async with self._get(path, headers={"Accept": accept}) as reply:
                    if reply.status == 200:
                        return await reply.read(MAX_MANIFEST_BYTES)
                    raise await self._error(reply, doing=doing)
            except NetworkFault as fault:
                if fault.connecting and not self._reached:
                    raise  # a wrong name or port, most likely: patience would not help
                await retry.again(fault)

    async def _error(self, reply: Reply, *, doing: str) -> RegistryError:
        answer = await reply.read(MAX_ERROR_BODY_BYTES)
        error = answer_error(answer, doing=doing, on=self.name, credentials=self._authorizer.advice())
        if is_transient(answer.status) and not isinstance(error, NetworkFault):
            return NetworkFault(error.message, on=error.on, hint=error.hint, reference=error.reference)
        return error

    @asynccontextmanager
    async def _get(self, path: str, *, headers: Mapping[str, str]) -> AsyncIterator[Reply]:
        """Send one request, with authorization renewed once if the registry wants it."""
        await self._choose_scheme()
        url = f"{self._schemes[0]}://{self._host}{path}"
        renewed = False
        while True:
            used = self._authorizer.header
            async with self._client.get(url, headers=headers, authorization=used) as reply:
                # a 401 from where we were sent to gets nothing: CVE-2020-15157
                if reply.status != 401 or reply.redirected or renewed:
                    self._reached = True
                    yield reply
                    return
                challenges = reply.challenges
                refusal = await reply.read(MAX_ERROR_BODY_BYTES)
            renewed = True
            if not await self._authorizer.answer(challenges, refused=used):
                raise answer_error(refusal, doing="pull", on=self.name, credentials=self._authorizer.advice())

    async def _choose_scheme(self) -> None:
        """Find out which of the allowed protocols the registry speaks; nothing secret is sent."""
        while len(self._schemes) > 1:
            url = f"{self._schemes[0]}://{self._host}/v2/"
            try:
                async with self._client.get(url, headers={}) as reply:
                    answer = await reply.read(MAX_ERROR_BODY_BYTES)
            except NetworkFault as fault:
                if fault.reference not in ("registry-protocol", "tls", "registry-unreachable"):
                    raise
                if fault.connecting:
                    raise  # nobody listens: the other protocol would find nobody either
                self._schemes = self._schemes[1:]
            else:
                if self._schemes[0] == "http" and answer.status == 400:  # how TLS servers answer to http
                    self._schemes = self._schemes[1:]
                else:
                    self._schemes = self._schemes[:1]


class _Retry:
    """Counts the attempts of one piece of work."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._deadlines = settings.deadlines
        self.attempts = 0

    async def again(self, fault: NetworkFault) -> None:
        """Wait before the next try, or raise the fault when there shall be none."""
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


def _shown_repository(reference: Reference) -> str:
    """Return the repository as Docker's pull prints it: without Docker Hub's host."""
    if reference.domain == "docker.io":
        return reference.path
    return f"{reference.domain}/{reference.path}"


TRANSPORT = DockerTransport()
