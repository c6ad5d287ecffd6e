"""`docker://`: registries that speak the distribution specification."""

from __future__ import annotations

from contextlib import aclosing

from layers.digest import Digest, is_digest
from layers.errors import LayersError
from layers.reference import Reference
from rootless.errors import RegistryError
from rootless.registry.faults import NetworkFault
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
from rootless.registry.settings import MAX_MANIFEST_BYTES
from rootless.registry.transport.sites import Site, Sites

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import Self

    from layers.manifest import Descriptor
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.docker_push import RegistryDestination

_PROGRESS_BYTES = 1 << 20
"""A download that got this much further before it broke again gets all its attempts anew."""


class DockerTransport:
    """Opens sources and destinations from "//[host[:port]/]path[:tag][@digest]"."""

    def open(self, rest: str, settings: RegistrySettings) -> RegistrySource:
        return RegistrySource.named(rest.removeprefix("//"), settings)

    def open_destination(self, rest: str, settings: RegistrySettings) -> RegistryDestination:
        from rootless.registry.transport.docker_push import RegistryDestination  # who pulls needs none of it

        return RegistryDestination(Reference.parse(rest.removeprefix("//")), settings)


class RegistrySource:
    """One image in a registry, or in its mirrors; see `transport.base.Source`.

    Attributes:
        name: settled once the manifest is there: a short name may mean several.
        asked: canonical form of a short name that may mean another one, "" for none.
    """

    def __init__(
        self,
        reference: Reference,
        settings: RegistrySettings,
        *,
        others: Sequence[Reference] = (),
        asked: str = "",
    ) -> None:
        """Set up.

        Args:
            others: what the image may be called where there is none of the first name.

        Raises:
            RegistryError: it is blocked.
        """
        self.asked = asked
        candidates = [_without_tag(each) for each in (reference, *others)]
        self._sites = Sites(candidates, settings, doing="pull")
        self._served: dict[Digest, list[Site]] = {}
        self._call(candidates[0])

    @classmethod
    def named(cls, text: str, settings: RegistrySettings) -> Self:
        """Return the source for what a user wrote, which may be a short name.

        Raises:
            InvalidReference: it is no name. RegistryError: it is blocked.
        """
        first, *others = settings.registries.expand(text)
        plain = Reference.parse(text)
        return cls(first, settings, others=others, asked="" if first == plain else plain.canonical)

    def _call(self, reference: Reference) -> None:
        self.name = reference.canonical
        self.title = f"{reference.digest or reference.tag}: Pulling from {_shown_repository(reference)}"

    @property
    def passed_over(self) -> list[str]:
        """The places that were of no use, and why, one line each."""
        return self._sites.passed_over

    @property
    def limits(self) -> str:
        """How many requests the registry allows, "" where it does not say."""
        return self._sites.current.endpoint.limits

    async def __aenter__(self) -> Self:
        await self._sites.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._sites.__aexit__(*exc)

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        while True:
            site = self._sites.current
            try:
                found = await self._fetch_manifest(site, wanted)
            except (RegistryError, LayersError) as exc:
                self._sites.pass_over(site, exc)
                continue
            self._sites.settle(site)
            self._call(Reference.parse(site.place.name))
            return found

    async def _fetch_manifest(self, site: Site, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        named = site.place.tag_or_digest
        digest = wanted.digest if wanted else Digest(named) if is_digest(named) else ""
        answer = await site.endpoint.fetch(
            manifest_path(site.place.path, digest or named),
            accept=ACCEPT_MANIFEST,
            doing="pull the manifest",
            limit=MAX_MANIFEST_BYTES,
        )
        descriptor = read_manifest(answer, wanted=wanted, digest=digest, on=site.place.on)
        return descriptor, answer.body

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        position = offset
        while position < descriptor.size:
            site = self._sites.current
            self._served.setdefault(descriptor.digest, []).append(site)
            try:
                async with aclosing(self._blob(site, descriptor, position)) as pieces:
                    async for piece in pieces:
                        position += len(piece)
                        yield piece
            except (RegistryError, LayersError) as exc:
                self._sites.pass_over(site, exc)

    def reject(self, descriptor: Descriptor, problem: LayersError) -> bool:
        turned = [self._sites.reject(site, problem) for site in self._served.pop(descriptor.digest, ())]
        return any(turned)

    async def _blob(self, site: Site, descriptor: Descriptor, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield the rest of a blob from one place, with its patience."""
        retry = site.endpoint.retry()
        position = offset
        while position < descriptor.size:
            before = position
            try:
                async with aclosing(self._blob_once(site, descriptor, position)) as pieces:
                    async for piece in pieces:
                        position += len(piece)
                        yield piece
                if position < descriptor.size:
                    raise cut_short(received=position, expected=descriptor.size, on=site.place.on)
            except NetworkFault as fault:
                if position - before >= _PROGRESS_BYTES:
                    retry.attempts = 0
                await retry.again(fault)

    async def _blob_once(
        self, site: Site, descriptor: Descriptor, offset: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield what one request brings, at most up to the descriptor's size."""
        path = blob_path(site.place.path, descriptor.digest)
        headers = {"Accept": "*/*", **range_header(offset)}
        async with site.endpoint.get(path, headers=headers) as reply:
            if reply.status not in (200, 206):
                raise await site.endpoint.error(reply, doing="download a blob")
            skip = bytes_to_skip(
                status=reply.status,
                content_range=reply.headers.get("content-range", ""),
                offset=offset,
                on=site.place.on,
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


def _without_tag(reference: Reference) -> Reference:
    """Leave out the tag beside a digest: it says nothing."""
    return reference.with_digest(reference.digest) if reference.digest else reference


def _shown_repository(reference: Reference) -> str:
    """Return the repository as Docker's pull prints it: without Docker Hub's host."""
    if reference.domain == "docker.io":
        return reference.path
    return f"{reference.domain}/{reference.path}"


TRANSPORT = DockerTransport()
