"""Push images of this store to registries, or to other places.

They go bit for bit as they are here, unless the user wants another compression or format.
"""

from __future__ import annotations

import os
from functools import partial

import trio  # noqa: TID253  like the engine's pull side, never on the launch path

from layers import media
from layers.convert import DOCKER, convert, has_zstd
from layers.errors import InvalidReference
from layers.index import REPO_DIGEST
from layers.platforms import acceptable
from layers.reference import Reference
from layers.store.directory import ImageLayout
from rootless.engine import events, loop, records
from rootless.engine.copying import copy_image
from rootless.engine.explain import explained
from rootless.engine.image_lookup import find_image, labels_of, not_found
from rootless.engine.list_members import ListSource
from rootless.engine.progress import COPIED, COPYING, EXISTS, LAYER_EXISTS, MOUNTED, PUSHED, PUSHING, Progress
from rootless.engine.pulling import held
from rootless.engine.push_mounts import known_blobs, member_blobs, mount_sources
from rootless.engine.repack import Packing, repack
from rootless.errors import ImageError, NotFound, UsageError
from rootless.registry.transport.base import open_destination
from rootless.registry.transport.docker_push import RegistryDestination
from rootless.registry.transport.files import DirectoryFiles
from rootless.registry.transport.oci import LayoutSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from layers.digest import Digest
    from layers.index import ImageEntry, ImageIndex
    from layers.manifest import Descriptor, Platform
    from rootless.engine.push_mounts import Holdings
    from rootless.paths import Paths
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Destination, Source

PARALLEL_UPLOADS = 5
"""Blobs of one image at the same time: Docker's --max-concurrent-uploads, which registries are used to."""
_WORDS = {COPYING: PUSHING, COPIED: PUSHED, EXISTS: LAYER_EXISTS}


class Pushed:
    """One image that arrived: its canonical name there, the tag, and what the tag means."""

    __slots__ = ("descriptor", "name", "tag")

    def __init__(self, *, name: str, tag: str, descriptor: Descriptor) -> None:
        self.name = name
        self.tag = tag
        self.descriptor = descriptor

    @property
    def status_text(self) -> str:
        """Docker's last line."""
        return f"{self.tag}: digest: {self.descriptor.digest} size: {self.descriptor.size}"


class PushJob:
    """What a user can say about a push.

    Attributes:
        query: name of the image. target: where it goes, as `copy` takes it; "" is the registry of its name.
        all_tags: every tag of the repository that `query` names.
        platform: that the image must have, None for any; of a manifest list its member alone is pushed.
        members: of a manifest list are pushed too.
        form: of its manifest, of `layers.convert.FORMATS`; "" as `copy_image` says.
        packing: how its layers are to be compressed, None for as they are.
        settings: how to reach registries.
    """

    __slots__ = ("all_tags", "form", "members", "packing", "platform", "query", "settings", "target")

    def __init__(
        self,
        query: str,
        *,
        settings: RegistrySettings,
        target: str = "",
        all_tags: bool = False,
        platform: Platform | None = None,
        form: str = "",
        packing: Packing | None = None,
        members: bool = True,
    ) -> None:
        self.query = query
        self.target = target
        self.all_tags = all_tags
        self.platform = platform
        self.form = form
        self.packing = packing
        self.members = members
        self.settings = settings


def push_blocking(paths: Paths, job: PushJob, *, progress: Progress | None = None) -> list[Pushed]:
    """Push in an event loop of its own; see `push` and `loop.run`."""
    return loop.run(partial(push, paths, job, progress=progress))


async def push(paths: Paths, job: PushJob, *, progress: Progress | None = None) -> list[Pushed]:
    """Push what a job says.

    Returns:
        what was pushed, in the order of the tags' names.
    Raises:
        NotFound: there is no such image. ImageError: it is damaged, or of another platform.
        RegistryError: the registry does not take it. What was pushed before has arrived.
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    try:
        async with held(layout.pulling(wait_s=0)):
            entries = choose_pushed(layout.entries(), job.query, all_tags=job.all_tags)
            for entry in entries:
                _check_platform(paths, entry, job.platform)
            return await _push_all(paths, layout, entries, job, progress or Progress())
    finally:
        if job.packing is not None or job.form == DOCKER:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_sweep, paths, layout)


def _sweep(paths: Paths, layout: ImageLayout) -> None:
    """Remove the layers that were compressed anew, unless an image has the same ones."""
    layout.sweep(in_use=frozenset(container.spec.image_id for container in records.load_all(paths)))


def choose_pushed(entries: Iterable[ImageEntry], query: str, *, all_tags: bool) -> list[ImageEntry]:
    """Decide which entries of the store a push means. Pure.

    Raises:
        NotFound: there is no image of that name. UsageError: a tag beside `all_tags`. ImageError: no name.
    """
    try:
        wanted = Reference.parse(query)
    except InvalidReference as exc:
        raise ImageError(exc.message, on=query[:160], hint=exc.hint or None, reference=exc.reference) from exc
    if wanted.digest is not None:
        raise UsageError("cannot push a digest reference", hint="`rootless tag` gives the image a name")
    if not all_tags:
        found = [entry for entry in entries if entry.name == wanted.canonical]
    elif ":" in query.rpartition("/")[2]:
        raise UsageError("a tag cannot be used with --all-tags")
    else:
        tagged = [(e.reference.tag, e) for e in entries if e.reference and e.reference.tag]
        named = {tag: e for tag, e in tagged if e.reference and e.reference.repository == wanted.repository}
        found = [named[tag] for tag in sorted(named)]
    if not found:
        raise not_found(query)
    return found


def _check_platform(paths: Paths, entry: ImageEntry, platform: Platform | None) -> None:
    if platform is None or media.is_index(entry.descriptor.media_type):
        return  # of a list the copy takes the platform's member
    config = find_image(paths, entry.name or entry.digest).config
    if config.platform not in acceptable(platform):
        raise NotFound(
            f"no such image: {entry.name} is for {config.platform}, not {platform}",
            hint=f"`rootless pull --platform {platform}` brings it",
            reference="no-such-image",
        )


async def _push_all(
    paths: Paths, layout: ImageLayout, entries: list[ImageEntry], job: PushJob, progress: Progress
) -> list[Pushed]:
    blobs = await trio.to_thread.run_sync(known_blobs, layout, entries)
    pushed = []
    try:
        for entry in entries:
            with explained(entry.name or job.query, disk=""):
                pushed.append(await _push(paths, layout, entry, blobs, job, progress))
    finally:
        progress.close()
    return pushed


async def _push(
    paths: Paths,
    layout: ImageLayout,
    entry: ImageEntry,
    blobs: list[Holdings],
    job: PushJob,
    progress: Progress,
) -> Pushed:
    reference = entry.reference
    assert reference is not None  # `choose_pushed` went by it
    assert entry.name is not None
    destination = _destination(paths, reference, job, blobs)
    mounted = destination.mounted if isinstance(destination, RegistryDestination) else set()
    progress.begin(f"The push refers to repository [{job.target or reference.repository}]")
    async with await _source(layout, entry, job) as source, destination:
        shown = _PushProgress(progress, hidden=_configs(layout, entry), mounted=mounted)
        copied = await _copy(source, destination, job, shown)
    if not job.target:
        layout.update_index(partial(_with_repo_digest, entry=entry, digest=copied.digest))
    labels = labels_of(layout, entry.name)
    events.record_image(
        paths, "push", id=reference.familiar, name=reference.familiar_repository, labels=labels
    )
    return Pushed(name=destination.name, tag=reference.tag or "latest", descriptor=copied)


def _destination(paths: Paths, reference: Reference, job: PushJob, blobs: list[Holdings]) -> Destination:
    """Return where an image goes: to the registry of its name, or where the user says."""
    if job.target:
        opened = open_destination(job.target, job.settings)
        if not isinstance(opened, RegistryDestination):
            return opened
        reference = Reference.parse(opened.name)
    notes = os.path.join(paths.store_run, "uploads")
    sources = mount_sources(blobs, reference)
    return RegistryDestination(reference, job.settings, sources=sources, notes=notes)


def _configs(layout: ImageLayout, entry: ImageEntry) -> set[str]:
    """Return the short digests of configs, which Docker's progress does not show."""
    if media.is_index(entry.descriptor.media_type):
        return {blobs[0].digest.short for _, blobs in member_blobs(layout, entry)}
    return {layout.load_manifest(entry).config.digest.short}


async def _source(layout: ImageLayout, entry: ImageEntry, job: PushJob) -> Source:
    """Return what is pushed, as a place to copy from."""
    root = entry.descriptor
    if media.is_index(root.media_type):
        if job.packing is not None:
            raise ImageError(
                "cannot compress the layers of a manifest list anew",
                hint="push its members with --compression",
            )
        return ListSource(layout, entry, job.settings)
    if packing := _packing(layout, root, job):
        root = await repack(layout, root, packing)
    return LayoutSource(DirectoryFiles(layout.root), root=root, name=entry.name)


async def _copy(
    source: Source, destination: Destination, job: PushJob, progress: _PushProgress
) -> Descriptor:
    root, data = await source.fetch_manifest(None)
    if media.is_index(root.media_type) and not job.members:
        if job.form:
            root, data = convert(data, root, form=job.form)
        await destination.put_manifest(data, root, final=True)
        return root
    return await copy_image(
        source,
        destination,
        platform=job.platform if media.is_index(root.media_type) else None,
        form=job.form,
        parallel=PARALLEL_UPLOADS,
        progress=progress,
    )


def _packing(layout: ImageLayout, root: Descriptor, job: PushJob) -> Packing | None:
    """Return how the layers are compressed anew: as asked for, or because the format does not know theirs."""
    if (
        job.packing is None
        and job.form == DOCKER
        and has_zstd(layout.read_blob(root.digest), root.media_type)
    ):
        return Packing("gzip")
    return job.packing


def _with_repo_digest(index: ImageIndex, *, entry: ImageEntry, digest: Digest) -> ImageIndex:
    """Note what the registry has under the name, unless the name has moved on here meanwhile."""
    now = index.find_name(entry.name or "")
    if now is None or now.digest != entry.digest or now.repo_digest == digest:
        return index
    annotations = {**now.annotations, REPO_DIGEST: str(digest)}
    return index.with_tag(entry.name or "", now.descriptor.with_annotations(annotations))


class _PushProgress(Progress):
    """Tells a copy as a push: in Docker's words, and of layers alone."""

    def __init__(self, inner: Progress, *, hidden: set[str], mounted: set[Digest]) -> None:
        self._inner = inner
        self._mounted = mounted
        self._hidden = hidden

    def add_layer(self, layer: str, size_bytes: int) -> None:
        if layer not in self._hidden:
            self._inner.add_layer(layer, size_bytes)

    def set_status(self, layer: str, status: str) -> None:
        if layer in self._hidden:
            return
        word = _WORDS.get(status, status)
        if word == LAYER_EXISTS and any(digest.short == layer for digest in self._mounted):
            word = MOUNTED
        self._inner.set_status(layer, word)

    def advance(self, layer: str, count: int) -> None:
        if layer not in self._hidden:
            self._inner.advance(layer, count)
