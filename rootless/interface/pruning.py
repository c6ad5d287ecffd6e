"""Remove what nobody uses: containers, volumes, images. Blocking, in a process with one thread; no trio."""

from __future__ import annotations

import os
from functools import partial

from rootless.engine import events, image_removal, records, removal, usage, volume_removal
from rootless.errors import NotFound, StateConflict
from rootless.interface.store import ImageRemoval
from rootless.model import lifecycle
from rootless.runtime import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.image_lookup import LocalImage
    from rootless.engine.records import Container
    from rootless.engine.volumes import Volume
    from rootless.model.host import IdMapping
    from rootless.paths import Paths


class Pruned:
    """What was removed: its names, or what Docker prints of them, and the bytes that were freed."""

    __slots__ = ("freed_bytes", "lines")

    def __init__(self, lines: list[str], freed_bytes: int) -> None:
        self.lines = lines
        self.freed_bytes = freed_bytes


def prune_containers(paths: Paths, mapping: IdMapping, *, wanted: Callable[[Container], bool]) -> Pruned:
    """Remove the containers without a process; their volumes stay."""
    removed, freed = [], 0
    for container in records.load_all(paths):
        if container.state.status in lifecycle.MINDED or not wanted(container):
            continue
        size = usage.written_bytes(paths, container, mapping=mapping)
        try:
            removal.remove(paths, container, mapping=mapping, with_volumes=False)
        except (NotFound, StateConflict):
            continue  # somebody starts it just now, or was quicker
        removed.append(container.spec.id)
        freed += size
    return _told(paths, events.CONTAINER, Pruned(removed, freed))


def prune_volumes(paths: Paths, mapping: IdMapping, *, wanted: Callable[[Volume], bool]) -> Pruned:
    """Remove the volumes that no container mounts."""
    hidden = volume_removal.hide_unused(paths, wanted=wanted)
    freed = 0
    for _, directory in hidden:
        freed += usage.directory_bytes(paths, os.path.join(directory, "_data"), mapping=mapping)
        removal.delete(paths, directory, mapping=mapping)
    return _told(paths, events.VOLUME, Pruned([name for name, _ in hidden], freed))


def prune_images(
    paths: Paths, mapping: IdMapping, *, everything: bool, wanted: Callable[[LocalImage], bool]
) -> Pruned:
    """Remove the images that no container uses, and what was left of others.

    Args:
        everything: those with names too.
    """
    users = {container.spec.image_id for container in records.load_all(paths)}
    removing = ImageRemoval(paths, force=True)
    lines: list[str] = []
    for image in image_removal.unused_images(paths, users=users, everything=everything):
        if wanted(image):
            lines += removing.remove(image.image_id)
    freed = image_removal.free_space_of_images(
        paths,
        remove_tree=partial(userns.remove_tree, mapping=mapping, run_dir=paths.run),
        weigh=partial(usage.directory_bytes, paths, mapping=mapping),
    )
    return _told(paths, events.IMAGE, Pruned(lines, freed))


def _told(paths: Paths, kind: str, pruned: Pruned) -> Pruned:
    events.record(paths, kind, "prune", id="", attributes={"reclaimed": str(pruned.freed_bytes)})
    return pruned
