"""Another registry behind this one: what is not here is fetched there, verified, handed on and kept.

A tag that came from there is asked for anew each time, and means what it last meant while the other does
not answer. A blob is fetched when a manifest that is here names it.
"""

from __future__ import annotations

import os
from contextlib import aclosing
from functools import partial
from urllib.parse import urlsplit

import trio  # noqa: TID253  a server lives in its loop

from layers.errors import InvalidReference, LayersError
from layers.manifest import Descriptor
from layers.media import OCI_LAYER
from layers.reference import Reference
from rootless.errors import RegistryError, UsageError
from rootless.registry.hosts import DOCKER_HUB, api_host, is_loopback
from rootless.registry.server.http import PIECE_BYTES
from rootless.registry.server.manifests import examine
from rootless.registry.server.refusal import BLOB_UNKNOWN, MANIFEST_UNKNOWN, UNKNOWN, Refusal
from rootless.registry.transport.docker import RegistrySource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from layers.digest import Digest
    from layers.store.ingest import Ingest
    from rootless.registry.server.storage import Storage
    from rootless.registry.settings import RegistrySettings

_WRITE_BYTES = 1 << 20
_HELD_BACK = 1 << 16
"""Bytes at the end of a blob that nobody gets before all of it is verified."""
_NOT_THERE = ("no-such-image", "registry-denied")
"""Registries hide what is not there behind "denied"."""


class Upstream:
    """The address of a mirrored registry: the domain of its references, a prefix of their paths."""

    def __init__(self, domain: str, prefix: str, *, tls: bool) -> None:
        self.domain = domain
        self.prefix = prefix
        self.tls = tls

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """Read `--mirror`.

        Raises:
            UsageError: it is no address of a registry.
        """
        try:
            parts = urlsplit(url)
            domain = DOCKER_HUB if parts.netloc == api_host(DOCKER_HUB) else parts.netloc
            if parts.scheme not in ("http", "https") or parts.query or "@" in parts.netloc:
                raise ValueError(url)
            prefix = parts.path.strip("/")
            Reference(domain=domain, path=prefix or "x")
        except (ValueError, InvalidReference):
            raise UsageError(f"invalid mirror: {url}", hint="https://HOST[:PORT], without /v2") from None
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise UsageError(f"cannot mirror {url}: plain HTTP is for loopback only")
        return cls(domain, prefix, tls=parts.scheme == "https")

    def reference(self, repository: str, *, tag: str = "", digest: Digest | None = None) -> Reference:
        """Return what a repository of ours is called there."""
        path = f"{self.prefix}/{repository}" if self.prefix else repository
        return Reference(domain=self.domain, path=path, tag=tag or None, digest=digest)


class Mirror:
    """Fetches from one registry into a storage."""

    def __init__(
        self, upstream: Upstream, settings: RegistrySettings, storage: Storage, nursery: trio.Nursery
    ) -> None:
        """Set up.

        Args:
            nursery: where fetches go on for whoever still wants them.
        """
        self._upstream = upstream
        self._settings = settings
        self._storage = storage
        self._nursery = nursery
        self._fetches: dict[Digest, Fetch] = {}

    async def bring_manifest(self, repository: str, *, tag: str = "", digest: Digest | None = None) -> None:
        """Fetch a manifest and keep it.

        Raises:
            Refusal: it is not there either, or the other registry fails.
        """
        try:
            async with self._source(repository, tag=tag, digest=digest) as source:
                _, data = await source.fetch_manifest(None)
        except (RegistryError, LayersError) as exc:
            raise _refusal(exc, MANIFEST_UNKNOWN) from exc
        examined = examine(data, "")
        keep = partial(self._storage.put_manifest, repository, data, examined, tag=tag, mirrored=True)
        await trio.to_thread.run_sync(keep)

    async def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob that could be fetched.

        Raises:
            Refusal: no manifest of the repository names it.
        """
        size = await trio.to_thread.run_sync(self._storage.promised_size, repository, digest)
        if size is None:
            raise Refusal(404, BLOB_UNKNOWN, f"the repository {repository} has no such blob")
        return size

    def fetch_blob(self, repository: str, digest: Digest, *, size: int) -> Fetch:
        """Return the fetch of a blob, which has begun, perhaps for somebody else."""
        fetch = self._fetches.get(digest)
        if fetch is None:
            descriptor = Descriptor(media_type=OCI_LAYER, digest=digest, size=size)
            fetch = self._fetches[digest] = Fetch(descriptor)
            self._nursery.start_soon(self._fetch, repository, fetch)
        fetch.repositories.add(repository)
        return fetch

    async def _fetch(self, repository: str, fetch: Fetch) -> None:
        descriptor = fetch.descriptor
        try:
            async with self._source(repository, digest=descriptor.digest) as source:
                ingest = self._storage.layout.begin(descriptor, wait_s=0)
                await trio.to_thread.run_sync(ingest.__enter__)
                try:
                    await self._receive(source, ingest, fetch)
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.to_thread.run_sync(ingest.__exit__, None, None, None)
        except Exception as exc:  # whatever it is, it costs this blob and not the server
            fetch.fail(_refusal(exc, BLOB_UNKNOWN))
        finally:
            del self._fetches[descriptor.digest]
            if not fetch.done:
                fetch.fail(Refusal(503, UNKNOWN, "the registry ends"))

    async def _receive(self, source: RegistrySource, ingest: Ingest, fetch: Fetch) -> None:
        if not ingest.present:
            fetch.reader = ingest.open_reader
            fetch.advance(ingest.offset)
            async with aclosing(source.open_blob(ingest.descriptor, offset=ingest.offset)) as pieces:
                waiting: list[bytes] = []
                async for piece in pieces:
                    waiting.append(piece)
                    if sum(map(len, waiting)) >= _WRITE_BYTES:
                        await self._write(ingest, waiting, fetch)
                await self._write(ingest, waiting, fetch)
        await trio.to_thread.run_sync(self._keep, ingest, fetch)
        fetch.finish()

    async def _write(self, ingest: Ingest, waiting: list[bytes], fetch: Fetch) -> None:
        data = b"".join(waiting)
        waiting.clear()
        if data:
            await trio.to_thread.run_sync(ingest.write, data)
        fetch.advance(fetch.have + len(data))

    def _keep(self, ingest: Ingest, fetch: Fetch) -> None:
        with self._storage.changing():
            ingest.commit()
            for repository in tuple(fetch.repositories):
                self._storage.link_blob(repository, ingest.descriptor.digest)

    def _source(self, repository: str, *, tag: str = "", digest: Digest | None = None) -> RegistrySource:
        try:
            reference = self._upstream.reference(repository, tag=tag, digest=digest)
        except InvalidReference as exc:
            raise Refusal(404, MANIFEST_UNKNOWN, exc.message) from None
        return RegistrySource(reference, self._settings)


class Fetch:
    """A blob on its way from the other registry; any number of clients read what has come.

    Attributes:
        reader: opens what has come so far. have: bytes of it. done: it has ended, well or not.
        repositories: that get the blob.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.repositories: set[str] = set()
        self.reader: Callable[[], int] | None = None
        self.have = 0
        self.done = False
        self._failure: Refusal | None = None
        self._waiting = trio.lowlevel.ParkingLot()

    def advance(self, have: int) -> None:
        self.have = have
        self._waiting.unpark_all()

    def finish(self) -> None:
        self.done = True
        self._waiting.unpark_all()

    def fail(self, failure: Refusal) -> None:
        self.done, self._failure = True, failure
        self._waiting.unpark_all()

    async def wait_begun(self) -> None:
        """Wait until there is something to read, or all of it.

        Raises:
            Refusal: it failed before that.
        """
        while not self.done and self._readable() <= 0:
            await self._waiting.park()
        if self._failure is not None:
            raise self._failure

    async def pieces(self, start: int, end: int, *, whole: Callable[[], int]) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from start to end as they come; the last ones when all is verified.

        Args:
            whole: opens the blob, once it is there.
        Raises:
            Refusal: it failed.
        """
        fd = await trio.to_thread.run_sync(self._open, whole)
        try:
            while start < end:
                while not self.done and self._readable() <= start:
                    await self._waiting.park()
                if self._failure is not None:
                    raise self._failure
                count = min(PIECE_BYTES, (end if self.done else min(end, self._readable())) - start)
                piece = await trio.to_thread.run_sync(os.pread, fd, count, start)
                if not piece:
                    raise Refusal(502, UNKNOWN, "the blob was cut")
                start += len(piece)
                yield piece
        finally:
            os.close(fd)

    def _readable(self) -> int:
        return min(self.have, self.descriptor.size - _HELD_BACK)

    def _open(self, whole: Callable[[], int]) -> int:
        try:
            if self.reader is not None and not self.done:
                return self.reader()
        except FileNotFoundError:
            pass  # it was finished at this moment
        if self._failure is not None:
            raise self._failure
        return whole()


def _refusal(exc: Exception, code: str) -> Refusal:
    """Return what a failure of the other registry means to our client."""
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, RegistryError) and exc.reference in _NOT_THERE:
        return Refusal(404, code, "neither this registry nor the one that it mirrors has it")
    return Refusal(502, UNKNOWN, f"the mirrored registry failed: {exc}")
