"""One pull under way: resolve, verify, download and unpack at the same time, then give the image its name.

Order of what becomes visible: blobs, then snapshots, then the name in index.json. A pull that is killed at
any moment leaves whole blobs and snapshots, perhaps a partial blob that the next pull resumes, and never
a name without all that it needs.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, closing

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from layers import media, unsynced
from layers.index import ASKED_AS, REPO_DIGEST
from layers.manifest import (
    Descriptor,
    ImageConfig,
    ImageSearch,
    Manifest,
    Platform,
    chain_ids,
    check_consistency,
    check_is_image,
    parse_config,
)
from layers.snapshot import Snapshots
from rootless.engine import snapshots, worker
from rootless.engine.explain import explained
from rootless.engine.feed import BlobFeed
from rootless.engine.fetch import LOCK_POLL_S, Fetcher, StartOver
from rootless.engine.image_lookup import PLAIN_SIZES
from rootless.engine.progress import COMPLETE, EXISTS, EXTRACTING, WAITING, Progress
from rootless.engine.unpack import Unpacked, unpack
from rootless.errors import ImageError
from rootless.registry.faults import NetworkFault
from rootless.registry.settings import MAX_MANIFEST_BYTES, PARALLEL_DOWNLOADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from layers.digest import Digest
    from layers.locks import FileLock
    from layers.store.directory import ImageLayout
    from rootless.engine.admission import Admission
    from rootless.engine.worker import WorkerProcess
    from rootless.model.host import Modes
    from rootless.paths import Paths
    from rootless.registry.transport.base import Source

_ATTEMPTS = 8
"""Bytes that an earlier pull left may be damaged, and so may those of some mirrors."""


class PulledImage:
    """An image that is ready to run.

    Attributes:
        name: canonical name. image_id: digest of its config. digest: that the registry gave for the name.
        is_new: something changed here.
        notes: what could not be kept on this file system, one line each.
        passed_over: registries that were of no use, and why, one line each.
        limits: how many requests the registry allows, "" where it does not say.
    """

    __slots__ = ("digest", "image_id", "is_new", "limits", "name", "notes", "passed_over")

    def __init__(
        self,
        *,
        name: str,
        image_id: str,
        digest: str,
        is_new: bool,
        notes: tuple[str, ...] = (),
        passed_over: tuple[str, ...] = (),
        limits: str = "",
    ) -> None:
        self.name = name
        self.image_id = image_id
        self.digest = digest
        self.is_new = is_new
        self.notes = notes
        self.passed_over = passed_over
        self.limits = limits

    @property
    def status_text(self) -> str:
        """Docker's last line but one."""
        what = "Downloaded newer image" if self.is_new else "Image is up to date"
        return f"{what} for {self.name}"


class _Layer:
    """One layer of the image that is being pulled.

    Attributes:
        plain_bytes: size of its tar, 0 while unknown.
        queued: its turn to ask for a worker is over; the next layer may ask.
        done: blob and snapshot are there.
    """

    def __init__(self, number: int, descriptor: Descriptor, *, diff_id: Digest, chain_id: Digest) -> None:
        self.number = number
        self.descriptor = descriptor
        self.label = descriptor.digest.short
        self.diff_id = diff_id
        self.chain_id = chain_id
        self.plain_bytes = 0
        self.queued = trio.Event()
        self.done = trio.Event()


class Pull:
    """The state of one pull.

    Attributes:
        is_local: the image comes from this machine: no registry knows its digest.
    """

    is_local = False

    def __init__(
        self,
        paths: Paths,
        modes: Modes,
        layout: ImageLayout,
        source: Source,
        progress: Progress,
        *,
        disk: str,
        early: WorkerProcess | None,
        admission: Admission | None = None,
    ) -> None:
        self._paths = paths
        self._disk = disk
        self._mapping = modes.mapping
        self._layout = layout
        self._source = source
        self._admission = admission
        self._progress = progress
        synced = not unsynced.serves(paths.store)
        self._fetcher = Fetcher(layout, source, parallel=PARALLEL_DOWNLOADS, sync=synced)
        self._snapshots = Snapshots(paths.snapshots, modes.mapping.key)
        self._workers = trio.CapacityLimiter(max(1, len(os.sched_getaffinity(0))))
        self._layers: list[_Layer] = []
        self._early = early
        self._idle: list[WorkerProcess] = []
        self._notes: dict[str, None] = {}
        self._changed = False

    async def run(self, platform: Platform) -> PulledImage:
        if self._admission:
            self._admission.check_name(self._source)
        root, data = await self._source.fetch_manifest(None)
        self._progress.begin(self._source.title)
        chosen, manifest, manifest_bytes = await self._choose(root, data, platform)
        check_is_image(manifest)
        if self._admission:
            await self._admission.admit(self._source, root.digest, chosen.digest)
        config_bytes = await self._fetcher.fetch_small(manifest.config, limit=MAX_MANIFEST_BYTES)
        config = parse_config(config_bytes)
        check_consistency(manifest, config)
        try:
            async with trio.open_nursery() as nursery:
                # the disk takes its time with each: meanwhile
                nursery.start_soon(trio.to_thread.run_sync, self._keep, config_bytes, manifest_bytes)
                await self._make_layers(manifest, config)
        except BaseException as exc:
            if not _is_resumable(exc):
                self._fetcher.drop_partials()
            raise
        await trio.to_thread.run_sync(self._name, root, chosen)
        snapshots.settle_later(self._snapshots)
        return PulledImage(
            name=self._source.name,
            image_id=manifest.config.digest,
            digest=root.digest,
            is_new=self._changed,
            notes=tuple(self._notes),
            passed_over=tuple(getattr(self._source, "passed_over", ())),
            limits=getattr(self._source, "limits", ""),
        )

    async def _choose(
        self, root: Descriptor, data: bytes, platform: Platform
    ) -> tuple[Descriptor, Manifest, bytes]:
        """Follow indexes to the platform's manifest."""
        search = ImageSearch(root, platform)
        search.feed(data)
        while search.wanted is not None:
            _, data = await self._source.fetch_manifest(search.wanted)
            search.feed(data)
        assert search.chosen is not None
        assert search.manifest is not None
        return search.chosen, search.manifest, data

    async def _make_layers(self, manifest: Manifest, config: ImageConfig) -> None:
        chains = chain_ids(config.diff_ids)
        for number, descriptor in enumerate(manifest.layers):
            layer = _Layer(number, descriptor, diff_id=config.diff_ids[number], chain_id=chains[number])
            self._layers.append(layer)
            self._progress.add_layer(layer.label, descriptor.size)
        await snapshots.sweep(self._paths, self._snapshots, self._mapping)
        try:
            async with trio.open_nursery() as nursery:
                for layer in self._layers:
                    nursery.start_soon(self._make_layer, layer)
        finally:
            for idle in self._idle:
                idle.kill()
                idle.close()

    async def _make_layer(self, layer: _Layer) -> None:
        with explained(self._source.name, layer=layer.descriptor.digest, disk=self._disk):
            if self._is_there(layer):
                self._say(layer, EXISTS)
            else:
                self._say(layer, WAITING)
                async with held(snapshots.lock(self._paths, self._mapping, layer.chain_id)):
                    await self._make_missing(layer)
            layer.queued.set()
            layer.done.set()

    async def _make_missing(self, layer: _Layer) -> None:
        """Bring blob and snapshot of a layer, holding its snapshot's lock."""
        for _ in range(_ATTEMPTS):
            if self._is_there(layer):  # since another process has been at it
                self._say(layer, EXISTS)
                return
            self._changed = True
            if await self._attempt(layer):
                self._say(layer, COMPLETE)
                return
        raise ImageError("cannot keep layer: its bytes change on the disk of this machine", reference="disk")

    async def _attempt(self, layer: _Layer) -> bool:
        """Fetch and unpack at the same time; False when it has to be done again with fresh bytes."""
        again = False
        with closing(BlobFeed()) as feed:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._fetch, layer, feed)
                    if not self._snapshots.has(layer.chain_id):
                        await self._unpack(layer, feed)
            except* StartOver:
                again = True
        return not again

    async def _fetch(self, layer: _Layer, feed: BlobFeed) -> None:
        await self._fetcher.fetch(
            layer.descriptor,
            feed,
            count=lambda count: self._progress.advance(layer.label, count),
            say=lambda status: self._say(layer, status),
        )
        self._say(layer, EXTRACTING)

    async def _unpack(self, layer: _Layer, feed: BlobFeed) -> None:
        """Turn the fed bytes into the layer's snapshot."""
        if layer.number:
            # Workers start in the order of the layers: one that waits for a layer below cannot take the
            # worker away that would make it.
            await self._layers[layer.number - 1].queued.wait()
        async with self._workers:
            layer.queued.set()
            async with snapshots.temporary(self._paths, self._snapshots, self._mapping) as tree:
                async with snapshots.marking(self._snapshots, layer.chain_id) as marked:
                    request: dict[str, object] = {
                        "root": tree.path,
                        "compression": media.compression_of(layer.descriptor.media_type),
                        "diff_id": layer.diff_id,
                        "owners": "direct" if self._mapping.mode == "ranges" else "recorded",
                        "sync": not marked,
                    }
                    unpacked = await self._run_worker(layer, feed, request)
                await trio.to_thread.run_sync(self._snapshots.commit, tree, layer.chain_id)
            layer.plain_bytes = unpacked.plain_bytes
            self._notes.update(dict.fromkeys(unpacked.notes))

    async def _run_worker(self, layer: _Layer, feed: BlobFeed, request: dict[str, object]) -> Unpacked:
        try:
            process = self._take_worker()
            unpacked = await unpack(process, request, feed=feed, parents=lambda: self._lowers(layer))
            self._idle.append(process)
            return unpacked
        except* ImageError:
            # Bytes that are not those of the digest look like a broken layer too: the digest is the better
            # explanation, and decides whether it was the registry or our own disk.
            await feed.wait_complete()
            raise

    def _take_worker(self) -> WorkerProcess:
        early, self._early = self._early, None
        if early is None and self._idle:  # an interpreter of its own takes as long as a small layer
            renewed = self._idle.pop()
            renewed.renew()
            return renewed
        return early or worker.start(self._mapping, self._paths.run)

    async def _lowers(self, layer: _Layer) -> list[str]:
        """Wait for the layers below; return their trees, top first."""
        below = self._layers[: layer.number]
        for other in below:
            await other.done.wait()
        return [self._snapshots.path(other.chain_id) for other in reversed(below)]

    def _is_there(self, layer: _Layer) -> bool:
        descriptor = layer.descriptor
        return self._snapshots.has(layer.chain_id) and self._layout.has(
            descriptor.digest, size=descriptor.size
        )

    def _keep(self, *documents: bytes) -> None:
        for document in documents:
            self._layout.add_blob(document)

    def _name(self, root: Descriptor, chosen: Descriptor) -> None:
        """Give the image, which is complete, its name."""
        annotations = {PLAIN_SIZES: self._plain_sizes()}
        name = self._source.name
        if self.is_local:
            if name:
                self._layout.tag(name, chosen, annotations)
            else:
                self._layout.keep(chosen, annotations)
            return
        annotations[REPO_DIGEST] = str(root.digest)
        if asked := getattr(self._source, "asked", ""):
            annotations[ASKED_AS] = asked
        for entry in self._layout.entries():
            if entry.name == name and entry.digest == chosen.digest and entry.repo_digest == root.digest:
                if not self._changed and asked in ("", entry.annotations.get(ASKED_AS)):
                    return
                break
        else:
            self._changed = True
        self._layout.tag(name, chosen, annotations)

    def _plain_sizes(self) -> str:
        """Return the layers' uncompressed sizes, from this pull or an earlier one; 0 is unknown."""
        known = snapshots.known_sizes(self._layout) if any(not x.plain_bytes for x in self._layers) else {}
        sizes = [layer.plain_bytes or known.get(layer.descriptor.digest, 0) for layer in self._layers]
        return ",".join(map(str, sizes))

    def _say(self, layer: _Layer, status: str) -> None:
        self._progress.set_status(layer.label, status)


@asynccontextmanager
async def held(lock: FileLock) -> AsyncIterator[None]:
    """Hold a lock between processes; waiting for it can be cancelled."""
    while not lock.try_acquire():  # noqa: ASYNC110  another process holds it, no event tells
        await trio.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        lock.release()


def _is_resumable(exc: BaseException) -> bool:
    """Tell whether partial blobs are worth keeping: the network failed, or the user interrupted."""
    if isinstance(exc, BaseExceptionGroup):
        return all(_is_resumable(inner) for inner in exc.exceptions)
    return isinstance(exc, (NetworkFault, trio.Cancelled))
