"""Images as archives: what `save` writes and `load` reads."""

from __future__ import annotations

import itertools
import os
from contextlib import AsyncExitStack

import trio  # noqa: TID253  never on the launch path

from layers.errors import InvalidArchive, InvalidReference
from layers.platforms import Platform
from layers.reference import Reference
from layers.store.directory import ImageLayout
from rootless.engine import image_names, images, loop
from rootless.engine.copying import copy_image
from rootless.engine.explain import explained, free_space
from rootless.engine.image_lookup import find_entry, keep_images
from rootless.registry.transport import docker_archive, oci
from rootless.registry.transport.files import ArchiveFiles, DirectoryFiles
from rootless.registry.transport.outputs import ArchiveOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layers.index import ImageEntry
    from layers.manifest import Descriptor
    from rootless.engine.progress import Progress
    from rootless.engine.worker import WorkerProcess
    from rootless.model.host import Modes
    from rootless.paths import Paths
    from rootless.registry.transport.base import Source
    from rootless.registry.transport.files import Files

DOCKER = "docker-archive"
OCI = "oci-archive"
FORMATS = (DOCKER, OCI)


def save(paths: Paths, queries: Sequence[str], *, target: str | int, form: str) -> None:
    """Write images to an archive, with the names by which they were asked for.

    Args:
        queries: names, or ids for images that shall have none; a name without a tag is all tags that it has.
        target: a path, where the archive appears whole or not at all, or a descriptor.
        form: one of FORMATS.

    Raises:
        NotFound: there is no such image; nothing is written. RootlessError: it cannot be read, or written.
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    with keep_images(paths):
        chosen = choose_saved(layout.entries(), queries, find=lambda query: find_entry(paths, query))
        output = ArchiveOutput(target, scratch=_scratch(paths))
        destination: docker_archive.DockerArchiveDestination | oci.LayoutDestination
        if form == DOCKER:
            destination = docker_archive.DockerArchiveDestination(output)
        else:
            destination = oci.LayoutDestination(output)

        platform = Platform.host() if form == DOCKER else None  # its format has no lists of several

        async def body() -> None:
            with explained(", ".join(queries), disk=""):
                async with DirectoryFiles(paths.store) as files, destination:
                    for descriptor, names in chosen:
                        shown = [Reference.parse(name).familiar for name in names]
                        destination.names = tuple(shown if form == DOCKER else names)
                        source = oci.LayoutSource(files, root=descriptor)
                        await copy_image(source, destination, platform=platform, parallel=1)

        loop.run(body)


def choose_saved(
    entries: Sequence[ImageEntry], queries: Sequence[str], *, find: Callable[[str], ImageEntry]
) -> list[tuple[Descriptor, list[str]]]:
    """Decide what is saved under which canonical names, each image once, in the order of the queries. Pure.

    Args:
        entries: all that the store has. find: returns the one that a query means, or raises.
    """
    chosen: dict[str, tuple[Descriptor, list[str]]] = {}
    for query in queries:
        repository = _bare_repository(query)
        found = [
            e for e in entries if e.reference and e.reference.tag and e.reference.repository == repository
        ]
        for entry in found or [find(query)]:
            _, names = chosen.setdefault(entry.digest, (entry.descriptor, []))
            named = found or _canonical(query) == entry.name
            if named and entry.name and entry.name not in names:
                names.append(entry.name)
    return list(chosen.values())


class LoadedImage:
    """An image that came out of an archive and is ready to run; `names` as a person writes them."""

    __slots__ = ("image_id", "names", "notes")

    def __init__(self, image_id: str, names: tuple[str, ...], notes: tuple[str, ...]) -> None:
        self.image_id = image_id
        self.names = names
        self.notes = notes


def load(
    paths: Paths,
    modes: Modes,
    source: str | int,
    *,
    report: Callable[[LoadedImage], None],
    progress: Progress | None = None,
    early: WorkerProcess | None = None,
) -> None:
    """Make all images of an archive ready to run, with the names that they have in it.

    Args:
        source: a path, or a descriptor to read from.
        report: told of each image when it is ready.
        early: see `images.pull`.

    Raises:
        ImageError: it is no archive of images, or an image in it is wrong; those before it are loaded.
        RootlessError: this host cannot take it (disk full…).
    """
    paths.ensure()
    ImageLayout(paths.store, locks=paths.locks).ensure()

    async def body() -> None:
        async with AsyncExitStack() as stack:
            files = ArchiveFiles(source, scratch=_scratch(paths))
            with explained(files.place, disk=free_space(paths.store)):
                await stack.enter_async_context(files)
                found = list_images(files)
            workers = itertools.chain([early], itertools.repeat(None))
            for image, worker in zip(found, workers, strict=False):
                report(await _take(paths, modes, image, progress=progress, early=worker))

    loop.run(body)


class FoundImage:
    """An image in an archive: its source, and its canonical names, the first of which the source has."""

    __slots__ = ("names", "shown", "source")

    def __init__(self, source: Source, names: Sequence[str], *, place: str) -> None:
        self.source = source
        self.names = names
        self.shown = Reference.parse(names[0]).familiar if names else place
        source.title = f"{self.shown}: Loading" if names else f"Loading from {place}"


def list_images(files: Files) -> list[FoundImage]:
    """Return the images of an archive, of whichever format it is.

    Raises:
        LayersError: it is of none, is malformed, or has a name that is none.
    """
    if files.has(docker_archive.MANIFEST):
        found = []
        for image in docker_archive.list_archive(files):
            names = [Reference.parse(tag).canonical for tag in image.tags]
            source = docker_archive.DockerArchiveSource(files, image=image, name=next(iter(names), ""))
            found.append(FoundImage(source, names, place=files.place))
        return found
    if not files.has("index.json"):
        raise InvalidArchive(
            "cannot find images in the archive: it has neither a manifest.json nor an index.json",
            hint="a root file system becomes an image by `rootless import`",
        )
    roots: dict[str, list[Descriptor]] = {}
    for root in oci.list_layout(files):
        roots.setdefault(root.digest, []).append(root)
    return [_layout_image(files, same) for same in roots.values()]


def _layout_image(files: Files, same: Sequence[Descriptor]) -> FoundImage:
    names = [oci.local_name(files.place, name) for name in map(oci.name_of, same) if name]
    source = oci.LayoutSource(files, root=same[0], name=next(iter(names), ""))
    return FoundImage(source, names, place=files.place)


async def _take(
    paths: Paths,
    modes: Modes,
    found: FoundImage,
    *,
    progress: Progress | None,
    early: WorkerProcess | None,
) -> LoadedImage:
    taken = await images.take(
        paths, modes, lambda: found.source, shown=found.shown, action="load", progress=progress, early=early
    )
    for name in found.names[1:]:
        await trio.to_thread.run_sync(image_names.tag, paths, str(taken.image_id), name)
    names = tuple(Reference.parse(name).familiar for name in found.names)
    return LoadedImage(taken.image_id, names, taken.notes)


def _bare_repository(query: str) -> str:
    """Return the canonical repository that a query names without a tag or digest, else ""."""
    if set(":@") & set(query.rpartition("/")[2]):
        return ""
    try:
        return Reference.parse(query).repository
    except InvalidReference:
        return ""


def _canonical(query: str) -> str:
    try:
        return Reference.parse(query).canonical
    except InvalidReference:
        return ""


def _scratch(paths: Paths) -> str:
    """Return a directory for unnamed files on the store's disk."""
    return os.path.join(paths.store, "ingest")
