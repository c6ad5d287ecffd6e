"""Bring blobs into the store: one download per blob among all processes, resumed, verified, then visible."""

from __future__ import annotations

import os
from contextlib import ExitStack, aclosing, asynccontextmanager

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from layers.digest import CHUNK_BYTES, VerifyingHasher
from layers.errors import DigestMismatch, LockTimeout, SizeMismatch
from rootless.engine.progress import DOWNLOADED, DOWNLOADING
from rootless.registry.transport.base import is_replaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from layers.manifest import Descriptor
    from layers.store.directory import ImageLayout
    from layers.store.ingest import Ingest
    from rootless.engine.feed import BlobFeed
    from rootless.registry.transport.base import Source

LOCK_POLL_S = 0.05
"""How often a lock is tried that another process holds: flock has no way to wait in an event loop."""


class StartOver(Exception):
    """What was fed so far is wrong and can be had right: bytes of an earlier attempt, of a mirror, or of a
    decayed blob."""


class Fetcher:
    """Brings blobs of one source into one store."""

    def __init__(self, layout: ImageLayout, source: Source, *, parallel: int, sync: bool) -> None:
        """Set up.

        Args:
            sync: wait for the disk to take each blob; else somebody syncs the file system later.
        """
        self._layout = layout
        self._sync = sync
        self._source = source
        self._slots = trio.CapacityLimiter(parallel)
        self._begun: dict[str, Descriptor] = {}

    async def fetch_small(self, descriptor: Descriptor, *, limit: int) -> bytes:
        """Return a config: verified, not stored.

        Raises:
            LayersError: too big, or not the bytes that the descriptor names.
        """
        if descriptor.size > limit:
            raise SizeMismatch(expected=limit, actual=descriptor.size, on=descriptor.digest)
        if self._layout.has(descriptor.digest, size=descriptor.size):
            return self._layout.read_blob(descriptor.digest, limit)
        while True:
            hasher = VerifyingHasher(descriptor)
            data = bytearray()
            try:
                async with aclosing(self._source.open_blob(descriptor)) as pieces:
                    async for piece in pieces:
                        hasher.update(piece)
                        data += piece
                hasher.finish()
            except (DigestMismatch, SizeMismatch) as exc:
                if not is_replaced(self._source, descriptor, exc):
                    raise
            else:
                return bytes(data)

    async def fetch(
        self,
        descriptor: Descriptor,
        feed: BlobFeed,
        *,
        count: Callable[[int], None],
        say: Callable[[str], None],
    ) -> None:
        """Feed a blob, out of the store if it is there, else from its source into the store.

        Args:
            count: told of bytes as they arrive. say: told of what is being done.

        Raises:
            StartOver: the feed holds wrong bytes; they are gone from the store, try again with a new one.
            LayersError, RegistryError: the source's bytes are wrong, or do not come.
        """
        async with self._receiving(descriptor) as ingest:
            if ingest is not None:
                await self._receive(ingest, feed, count=count, say=say)
                return
        await self._verify(descriptor, feed)

    def drop_partials(self) -> None:
        """Remove what has come of the blobs that are not whole, for a pull that cannot be resumed."""
        for descriptor in self._begun.values():
            try:
                with self._layout.begin(descriptor, keep_partial=False):
                    pass
            except LockTimeout:
                continue  # another pull of the same blob is better off

    @asynccontextmanager
    async def _receiving(self, descriptor: Descriptor) -> AsyncIterator[Ingest | None]:
        """Wait for the blob's lock and enter its ingest; None when the blob is in the store."""
        while True:
            with ExitStack() as stack:
                try:
                    ingest = stack.enter_context(self._layout.begin(descriptor, sync=self._sync))
                except LockTimeout:
                    pass
                else:
                    yield None if ingest.present else ingest
                    return
            await trio.sleep(LOCK_POLL_S)

    async def _receive(
        self, ingest: Ingest, feed: BlobFeed, *, count: Callable[[int], None], say: Callable[[str], None]
    ) -> None:
        descriptor = ingest.descriptor
        self._begun[descriptor.digest] = descriptor
        feed.attach(ingest.open_reader())
        for chunk in ingest.replay():
            feed.advance(len(chunk))
            count(len(chunk))
            await trio.lowlevel.checkpoint()
        # The lock first, then a slot: who holds a slot waits for nothing but the network, so nobody waits
        # for ever, whatever other processes hold.
        async with self._slots, aclosing(self._source.open_blob(descriptor, offset=ingest.offset)) as pieces:
            say(DOWNLOADING)
            async for piece in pieces:
                ingest.write(piece)
                feed.advance(len(piece))
                count(len(piece))
        try:
            await trio.to_thread.run_sync(ingest.commit)  # fsync
        except DigestMismatch as exc:
            if is_replaced(self._source, descriptor, exc) or ingest.offset:
                raise StartOver from exc
            raise
        del self._begun[descriptor.digest]
        say(DOWNLOADED)
        feed.finish()

    async def _verify(self, descriptor: Descriptor, feed: BlobFeed) -> None:
        """Feed a blob of the store, whose bytes may have decayed."""
        feed.attach(self._layout.open_blob(descriptor.digest))
        fd = self._layout.open_blob(descriptor.digest)
        hasher = VerifyingHasher(descriptor)
        try:
            while data := await trio.to_thread.run_sync(os.read, fd, CHUNK_BYTES):
                hasher.update(data)
                feed.advance(len(data))
            hasher.finish()
        except (DigestMismatch, SizeMismatch) as exc:
            await trio.to_thread.run_sync(self._layout.drop_corrupt, descriptor.digest)
            raise StartOver from exc
        finally:
            os.close(fd)
        feed.finish()
