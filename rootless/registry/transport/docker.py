"""`docker://`: registries that speak the distribution specification."""

from __future__ import annotations

from contextlib import aclosing

from layers.reference import Reference
from rootless.registry.challenge import repository_scope
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
from rootless.registry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from layers.manifest import Descriptor
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.docker_push import RegistryDestination

_PROGRESS_BYTES = 1 << 20
"""A download that got this much further before it broke again gets all its attempts anew."""


class DockerTransport:
    """Opens sources and destinations from "//[host[:port]/]path[:tag][@digest]"."""

    def open(self, rest: str, settings: RegistrySettings) -> RegistrySource:
        reference = Reference.parse(rest.removeprefix("//"))
        return RegistrySource(reference, settings)

    def open_destination(self, rest: str, settings: RegistrySettings) -> RegistryDestination:
        from rootless.registry.transport.docker_push import RegistryDestination  # who pulls needs none of it

        return RegistryDestination(Reference.parse(rest.removeprefix("//")), settings)


class RegistrySource:
    """One image in a registry; see `transport.base.Source`."""

    def __init__(self, reference: Reference, settings: RegistrySettings) -> None:
        if reference.digest:
            reference = reference.with_digest(reference.digest)  # the tag beside a digest says nothing
        self.name = reference.canonical
        self.title = f"{reference.digest or reference.tag}: Pulling from {_shown_repository(reference)}"
        self._reference = reference
        self._endpoint = Endpoint(
            settings,
            domain=reference.domain,
            path=reference.path,
            scopes=(repository_scope(reference.path, "pull"),),
            on=self.name,
            doing="pull",
        )

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._endpoint.__aexit__(*exc)

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        reference = self._reference
        digest = wanted.digest if wanted else reference.digest or ""
        path = manifest_path(reference.path, digest or reference.tag or "latest")
        answer = await self._endpoint.fetch(
            path, accept=ACCEPT_MANIFEST, doing="pull the manifest", limit=MAX_MANIFEST_BYTES
        )
        descriptor = read_manifest(answer, wanted=wanted, digest=digest, on=self.name)
        return descriptor, answer.body

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        retry = self._endpoint.retry()
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
        headers = {"Accept": "*/*", **range_header(offset)}
        async with self._endpoint.get(path, headers=headers) as reply:
            if reply.status not in (200, 206):
                raise await self._endpoint.error(reply, doing="download a blob")
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


def _shown_repository(reference: Reference) -> str:
    """Return the repository as Docker's pull prints it: without Docker Hub's host."""
    if reference.domain == "docker.io":
        return reference.path
    return f"{reference.domain}/{reference.path}"


TRANSPORT = DockerTransport()
