"""Make images ready to run here: from a registry or another place, or out of the store's own blobs.

What happens in between, and in which order, is `engine.pulling`.
"""

from __future__ import annotations

import gc

from layers.manifest import Descriptor, Platform
from layers.reference import Reference
from layers.store.directory import ImageLayout
from rootless.engine import events, loop, records
from rootless.engine.admission import Admission
from rootless.engine.explain import DISK_FULL, explained, free_space
from rootless.engine.image_lookup import find_stored, labels_of
from rootless.engine.progress import Progress
from rootless.engine.pulling import Pull, PulledImage, held
from rootless.engine.stored import StoredImage
from rootless.registry.transport.base import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.worker import WorkerProcess
    from rootless.model.host import Modes
    from rootless.paths import Paths
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Source


class PullOptions:
    """What a user can say about a pull.

    Attributes:
        platform: None is this host's.
        settings: how to reach registries.
    """

    __slots__ = ("platform", "settings")

    def __init__(self, *, settings: RegistrySettings, platform: Platform | None = None) -> None:
        self.settings = settings
        self.platform = platform


def pull_blocking(
    paths: Paths,
    modes: Modes,
    reference: str,
    *,
    options: PullOptions,
    progress: Progress | None = None,
    early: WorkerProcess | None = None,
) -> PulledImage:
    """Pull in an event loop of its own; see `pull` and `loop.run`."""

    async def body() -> PulledImage:
        return await pull(paths, modes, reference, options=options, progress=progress, early=early)

    return loop.run(body)


async def pull(
    paths: Paths,
    modes: Modes,
    reference: str,
    *,
    options: PullOptions,
    progress: Progress | None = None,
    early: WorkerProcess | None = None,
) -> PulledImage:
    """Make an image of a registry, or of another transport, ready to run here.

    Args:
        reference: as a user writes it: a name, or `TRANSPORT:…`.
        early: a worker for the first layer that needs one, started while we imported what a pull needs. One
            that none needed ends with this process.

    Raises:
        ImageError: the image is wrong. RegistryError: the registry, or the way to it, is.
        RootlessError: this host cannot take it (disk full…).
    """
    if stored := find_stored(paths, reference):
        return await unpack_stored(paths, modes, stored)
    return await take(
        paths,
        modes,
        lambda: open_source(reference, options.settings),
        shown=reference,
        admission=Admission.to(reference, options.settings),
        platform=options.platform,
        progress=progress,
        early=early,
    )


async def take(
    paths: Paths,
    modes: Modes,
    opened: Callable[[], Source],
    *,
    shown: str,
    action: str = "pull",
    admission: Admission | None = None,
    platform: Platform | None = None,
    progress: Progress | None = None,
    early: WorkerProcess | None = None,
) -> PulledImage:
    """Make the image of a source ready to run here; see `pull`.

    Args:
        opened: makes the source. With "" for its name the image gets none.
        shown: what errors call it.
        action: what the event is called: "load" does not record a digest, which no registry has given.
        admission: decides whether it may come in; None lets it.
        platform: None is this host's.
    """
    progress = progress or Progress()
    paths.ensure()
    disk = free_space(paths.store)
    with explained(shown, disk=disk):
        layout = ImageLayout(paths.store, locks=paths.locks)
        layout.ensure()
        try:
            async with held(layout.pulling(wait_s=0)), opened() as source:
                if not gc.isenabled():  # a command line that ends with this pull: what is imported now stays
                    gc.freeze()
                    gc.enable()
                job = Pull(
                    paths, modes, layout, source, progress, disk=disk, early=early, admission=admission
                )
                job.is_local = action == "load"
                pulled = await job.run(platform or Platform.host())
                _record(paths, pulled, action)
                return pulled
        except BaseException as exc:
            if getattr(loop.most_telling(exc), "reference", "") == DISK_FULL:
                _make_room(paths, layout)
            raise
        finally:
            progress.close()


def unpack_blocking(paths: Paths, modes: Modes, manifest: Descriptor, *, name: str) -> PulledImage:
    """Unpack in an event loop of its own; see `unpack_stored` and `loop.run`."""

    async def body() -> PulledImage:
        return await unpack_stored(paths, modes, manifest, name=name)

    return loop.run(body)


async def unpack_stored(paths: Paths, modes: Modes, manifest: Descriptor, *, name: str = "") -> PulledImage:
    """Make an image ready to run whose blobs are in the store.

    Who has just stored them holds `pulling` until the end of this.

    Args:
        name: canonical, that it gets; "" for none, or for those that it has.
    Raises:
        ImageError: the image is wrong. RootlessError: this host cannot take it (disk full…).
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    disk = free_space(paths.store)
    with explained(name or manifest.digest.short, disk=disk):
        async with held(layout.pulling(wait_s=0)):
            source = StoredImage(layout, manifest, name=name)
            job = Pull(paths, modes, layout, source, Progress(), disk=disk, early=None)
            job.is_local = True
            return await job.run(Platform.host())


def _record(paths: Paths, pulled: PulledImage, action: str) -> None:
    layout = ImageLayout(paths.store, locks=paths.locks)
    labels = labels_of(layout, pulled.name or pulled.image_id)
    id, name = pulled.image_id, str(pulled.image_id)
    if pulled.name:
        reference = Reference.parse(pulled.name)
        id, name = reference.familiar, reference.familiar_repository
    events.record_image(paths, action, id=id, name=name, labels=labels)


def _make_room(paths: Paths, layout: ImageLayout) -> None:
    """Delete the blobs that a pull brought before the disk was full; not while another pull may need them."""
    users = frozenset(container.spec.image_id for container in records.load_all(paths))
    layout.sweep(in_use=users)
