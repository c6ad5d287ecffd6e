"""Copy images from place to place: blobs verified on their way, nothing unpacked, manifests bit for bit
unless another format is asked for, or the destination takes no other.

Order of what becomes visible: the blobs of a manifest, then the manifest; the manifests of an index, then the
index, which gets the name.
"""

from __future__ import annotations

from contextlib import aclosing

import trio  # noqa: TID253  like the engine's pull side, never on the launch path

from layers import media
from layers.convert import DOCKER, convert
from layers.digest import VerifyingHasher
from layers.errors import DigestMismatch, InvalidManifest, LayersError, SizeMismatch, UnknownMediaType
from layers.manifest import MAX_INDEX_DEPTH, Descriptor, ImageSearch, Platform, parse_index, parse_manifest
from rootless.engine import loop
from rootless.engine.admission import Admission
from rootless.engine.explain import explained
from rootless.engine.progress import COPIED, COPYING, EXISTS, WAITING, Progress
from rootless.errors import ImageError
from rootless.registry.faults import ManifestRefused
from rootless.registry.settings import PARALLEL_DOWNLOADS
from rootless.registry.transport.base import is_replaced, open_destination, open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from layers.digest import Digest
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Destination, Source


def copy_blocking(
    source: str,
    destination: str,
    *,
    platform: Platform | None,
    form: str = "",
    settings: RegistrySettings,
    progress: Progress | None = None,
) -> Digest:
    """Copy between two references, as a user writes them, in an event loop of its own; see `copy_image`.

    Returns:
        the digest that the image has there.
    """

    async def body() -> Digest:
        with explained(source, disk=""):
            admission = Admission.to(source, settings)
            async with open_source(source, settings) as opened:
                if admission:
                    admission.check_name(opened)
                async with open_destination(destination, settings) as target:
                    if progress is not None:
                        progress.begin(f"{source}: Copying to {destination}")
                    copied = await copy_image(
                        opened, target, platform=platform, form=form, progress=progress, admission=admission
                    )
                    return copied.digest

    try:
        return loop.run(body)
    finally:
        if progress is not None:
            progress.close()


async def copy_image(
    source: Source,
    destination: Destination,
    *,
    platform: Platform | None,
    form: str = "",
    parallel: int = PARALLEL_DOWNLOADS,
    progress: Progress | None = None,
    admission: Admission | None = None,
) -> Descriptor:
    """Copy what a source names; both are entered, and stay the caller's.

    Args:
        platform: which image of an index; None copies the whole index.
        form: of `layers.convert.FORMATS`; "" is the one that it has, or Docker's where that is refused.
        parallel: blobs at the same time; 1 copies them in the order of the image.
        admission: decides whether it may be copied; None lets it.
    Returns:
        the manifest, or index, that has the name there.

    Raises:
        LayersError: it is not what its digest says, or no image. RegistryError, RootlessError: a place fails.
    """
    try:
        job = _Copy(source, destination, progress, form=form, parallel=parallel, admission=admission)
        return await job.run(platform)
    except ManifestRefused as refusal:
        if form:
            raise
        again = _Copy(source, destination, None, form=DOCKER, parallel=parallel, admission=admission)
        try:
            return await again.run(platform)
        except (LayersError, ImageError, ManifestRefused) as exc:
            refusal.hint = refusal.hint or exc.hint  # the other format does not help, or cannot be had
            raise refusal from None


class _Copy:
    """The state of one copy."""

    def __init__(
        self,
        source: Source,
        destination: Destination,
        progress: Progress | None,
        *,
        form: str,
        parallel: int,
        admission: Admission | None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._progress = progress or Progress()
        self._admission = admission
        self._form = form
        self._slots = trio.Semaphore(parallel)
        self._blobs: set[Digest] = set()
        self._manifests: dict[Digest, Descriptor] = {}
        self._counted: dict[Digest, int] = {}

    async def run(self, platform: Platform | None) -> Descriptor:
        named, data = await self._source.fetch_manifest(None)
        root = named
        if platform is not None and media.is_index(root.media_type):
            root, data = await self._choose(root, data, platform)
        if self._admission:
            await self._admission.admit(self._source, named.digest, root.digest)
        self._check_accepted(root)
        return await self._copy_tree(root, data, depth=0)

    async def _choose(self, root: Descriptor, data: bytes, platform: Platform) -> tuple[Descriptor, bytes]:
        """Follow indexes to the platform's manifest."""
        search = ImageSearch(root, platform)
        search.feed(data)
        chosen = root
        while search.wanted is not None:
            chosen, data = await self._source.fetch_manifest(search.wanted)
            search.feed(data)
        return chosen, data

    def _check_accepted(self, root: Descriptor) -> None:
        accepts = self._destination.accepts
        if accepts is not None and root.media_type not in accepts:
            raise UnknownMediaType(
                f"cannot write the image to {self._destination.name}: it takes no {root.media_type}",
                on=root.digest,
                hint="without --all one platform is copied" if media.is_index(root.media_type) else "",
            )

    async def _copy_tree(self, descriptor: Descriptor, data: bytes, *, depth: int) -> Descriptor:
        """Copy a manifest or an index after all that it names; return what it is there."""
        if media.is_index(descriptor.media_type):
            await self._copy_members(descriptor, data, depth=depth)
            made, text = self._formed(data, descriptor)
        else:
            manifest = parse_manifest(data, descriptor.media_type)
            made, text = self._formed(data, descriptor)
            await self._copy_blobs([manifest.config, *manifest.layers])
        await self._destination.put_manifest(text, made, final=depth == 0)
        return made

    async def _copy_members(self, descriptor: Descriptor, data: bytes, *, depth: int) -> None:
        if depth >= MAX_INDEX_DEPTH:
            raise InvalidManifest("invalid index: indexes are nested too deeply", on=descriptor.digest)
        for item in parse_index(data, descriptor.media_type).manifests:
            if item.digest not in self._manifests:
                inner, inner_data = await self._source.fetch_manifest(item)
                self._manifests[item.digest] = await self._copy_tree(inner, inner_data, depth=depth + 1)

    def _formed(self, data: bytes, descriptor: Descriptor) -> tuple[Descriptor, bytes]:
        if not self._form:
            return descriptor, data
        return convert(data, descriptor, form=self._form, members=self._manifests)

    async def _copy_blobs(self, blobs: list[Descriptor]) -> None:
        new = {blob.digest: blob for blob in blobs if blob.digest not in self._blobs}.values()
        for blob in new:
            self._blobs.add(blob.digest)
            self._progress.add_layer(blob.digest.short, blob.size)
            self._progress.set_status(blob.digest.short, WAITING)
        async with trio.open_nursery() as nursery:
            for blob in new:
                await self._slots.acquire()
                nursery.start_soon(self._copy_blob, blob)

    async def _copy_blob(self, blob: Descriptor) -> None:
        label = blob.digest.short
        try:
            if await self._destination.has_blob(blob):
                self._progress.set_status(label, EXISTS)
                return
            self._progress.set_status(label, COPYING)
            await self._put_blob(blob)
            self._progress.set_status(label, COPIED)
        finally:
            self._slots.release()

    async def _put_blob(self, blob: Descriptor) -> None:
        while True:
            try:
                await self._destination.put_blob(blob, lambda: self._read(blob))
                return
            except (DigestMismatch, SizeMismatch) as exc:
                if not is_replaced(self._source, blob, exc):
                    raise

    async def _read(self, blob: Descriptor) -> AsyncGenerator[bytes, None]:
        """Yield a blob's bytes; fails, if it must, instead of ending."""
        hasher = VerifyingHasher(blob)
        async with aclosing(self._source.open_blob(blob)) as pieces:
            async for piece in pieces:
                hasher.update(piece)
                if hasher.seen > (counted := self._counted.get(blob.digest, 0)):  # else it is read again
                    self._progress.advance(blob.digest.short, hasher.seen - counted)
                    self._counted[blob.digest] = hasher.seen
                yield piece
        hasher.finish()
