"""Mend what `engine.checking` has found. In a process with one thread; the last step may leave threads."""

from __future__ import annotations

from functools import partial

from layers.store.directory import ImageLayout
from rootless.engine import checking, claims, events, image_removal, removal
from rootless.errors import RootlessError
from rootless.runtime import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.engine.checking import Check
    from rootless.model.host import Modes
    from rootless.paths import Paths


def repair(paths: Paths, check: Check, *, modes: Modes) -> Iterator[RootlessError]:
    """Do what the findings' remedies say; yields what could not be done."""
    _drop_images(paths, check)
    _sweep(paths, check, modes)
    yield from _unpack(paths, check, modes)


def _drop_images(paths: Paths, check: Check) -> None:
    """Delete corrupt blobs, then take the images that are not whole out of the list."""
    layout = ImageLayout(paths.store, locks=paths.locks)
    for digest in check.corrupt:
        layout.drop_corrupt(digest)
    for entry in check.damaged:
        layout.remove(entry.digest)
        reference = entry.reference
        name = reference.familiar if reference else entry.name or ""
        image_id = layout.image_id(entry) or entry.digest
        if name:
            events.record_image(paths, "untag", id=image_id, name=name)
        events.record_image(paths, "delete", id=image_id, name=image_id)


def _sweep(paths: Paths, check: Check, modes: Modes) -> None:
    """Remove what nobody needs, and names that lead nowhere."""
    removal.sweep(paths, mapping=modes.mapping)
    if check.lost_names:
        with claims.names_lock(paths):
            claims.forget(paths, set(check.lost_names.values()))
    remove_tree = partial(userns.remove_tree, mapping=modes.mapping, run_dir=paths.run)
    if check.is_listed:
        image_removal.free_space_of_images(paths, remove_tree=remove_tree)
    for tree in checking.stale_trees(paths):
        remove_tree(tree)


def _unpack(paths: Paths, check: Check, modes: Modes) -> Iterator[RootlessError]:
    if not check.torn:
        return
    from rootless.engine import images  # trio

    with ImageLayout(paths.store, locks=paths.locks).pulling():
        for manifest in check.torn.values():
            try:
                images.unpack_blocking(paths, modes, manifest, name="")
            except RootlessError as exc:
                yield exc
