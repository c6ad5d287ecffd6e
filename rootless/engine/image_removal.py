"""Remove images: names first, then what nothing else needs. No trio.

Docker's rules: removing one name of several only unties it; the last name takes the image along, unless a
container uses it.
"""

from __future__ import annotations

import os

from layers import media
from layers.store.directory import ImageLayout
from rootless.engine import events, records
from rootless.engine.image_lookup import find_entry, iter_images, labels_of, same_image, shadows
from rootless.errors import StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from layers.index import ImageEntry
    from rootless.engine.image_lookup import LocalImage
    from rootless.paths import Paths


def remove_image(
    paths: Paths,
    query: str,
    *,
    force: bool,
    users: Mapping[str, list[str]],
    running: Callable[[str], bool],
    with_layers: bool = True,
) -> list[str]:
    """Remove a name, or an image with all its names; a manifest list in the same way.

    Args:
        query: a name removes that name; an id, or its prefix, the image.
        force: several names, and images of stopped containers, are no obstacle.
        users: image id → ids of the containers that use it.
        running: tells whether a container runs.
        with_layers: what else is there of it goes next, so tell of that too.
    Returns:
        what Docker prints: "Untagged: …", then "Deleted: sha256:…" for the image, and for each of its layers
        that nothing needs any more, top first.

    Raises:
        NotFound: there is no such image.
        StateConflict: a container uses it, or it has several names and was given by id.
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    entry = find_entry(paths, query)
    entries = same_image(layout, entry)
    names = [each.name for each in entries if each.name]
    subject = layout.image_id(entry) or entry.digest
    if len(names) > 1 and layout.load_index().find_name(query) is not None:
        return _untag(paths, layout, entry, image_id=subject)
    _check_removable(query, names, users.get(subject, []), force=force, running=running)
    chains = next((image.chain_ids for image in iter_images(paths) if image.image_id == subject), ())
    lines = []
    for each in entries:
        if each.name:
            lines += _untag(paths, layout, each, image_id=subject)
        layout.remove(each.digest)
    events.record_image(paths, "delete", id=subject, name=subject)
    lines.append(f"Deleted: {subject}")
    if with_layers:
        needed = _needed_chains(paths)
        lines += [f"Deleted: {chain}" for chain in reversed(chains) if chain not in needed]
    return lines


def unused_images(paths: Paths, *, users: Container[str], everything: bool) -> list[LocalImage]:
    """Return the images that no container uses, each once: those without a name, or all of them.

    Args:
        users: image ids of the containers.
    """
    found: dict[str, LocalImage] = {}
    named: set[str] = set()
    for image in iter_images(paths):
        if image.image_id not in users:
            found.setdefault(image.image_id, image)
        if image.name is not None:
            named.add(image.image_id)
    return [image for id, image in found.items() if everything or id not in named]


def free_space_of_images(
    paths: Paths, *, remove_tree: Callable[[str], None], weigh: Callable[[str], int] = lambda _: 0
) -> int:
    """Delete blobs and snapshots that nothing needs any more; nothing while a pull is in the way.

    Who makes a container holds the same lock until the container's record tells what it needs.

    Args:
        remove_tree: removes a tree whose files may belong to mapped ids.
        weigh: returns the size of such a tree, for who wants to know.
    Returns:
        bytes that were freed: of blobs, and of trees as `weigh` says.
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    lock = layout.collecting()
    if not lock.try_acquire():
        return 0
    try:
        nameless = [image.entry for image in shadows(paths)]
        nameless += [e for e in layout.entries() if not e.name and media.is_index(e.descriptor.media_type)]
        for entry in nameless:
            layout.remove(entry.digest)
        users = frozenset(container.spec.image_id for container in records.load_all(paths))
        freed = layout.collect(in_use=users).freed_bytes
        hidden = [_hide(path) for path in doomed_snapshots(paths)]
    finally:
        lock.release()
    for path in hidden:
        freed += weigh(path)
        remove_tree(path)
    return freed


def doomed_snapshots(paths: Paths) -> list[str]:
    """Return the trees that neither an image nor a container needs, of all id mappings."""
    needed = {chain.removeprefix("sha256:") for chain in _needed_chains(paths)}
    doomed: list[str] = []
    for key in _names(paths.snapshots):
        parent = os.path.join(paths.snapshots, key)
        doomed += [
            os.path.join(parent, name) for name in _names(parent) if len(name) == 64 and name not in needed
        ]
    return doomed


def _needed_chains(paths: Paths) -> set[str]:
    """Return the chain ids of all images and containers."""
    found: set[str] = {chain for image in iter_images(paths) for chain in image.chain_ids}
    return found.union(*(container.spec.layers for container in records.load_all(paths)))


def _untag(paths: Paths, layout: ImageLayout, entry: ImageEntry, *, image_id: str) -> list[str]:
    """Take a name away; return what Docker prints."""
    assert entry.name is not None
    labels = labels_of(layout, entry.name)
    layout.untag(entry.name)
    reference = entry.reference
    name = reference.familiar if reference else entry.name
    events.record_image(paths, "untag", id=image_id, name=name, labels=labels)
    lines = [f"Untagged: {name}"]
    if reference and entry.repo_digest and not reference.digest:
        lines.append(f"Untagged: {reference.familiar_repository}@{entry.repo_digest}")
    return lines


def _check_removable(
    query: str, names: list[str], users: list[str], *, force: bool, running: Callable[[str], bool]
) -> None:
    if len(names) > 1 and not force:
        raise StateConflict(
            f"cannot remove image `{query}`: it has {len(names)} names: {', '.join(names)}",
            hint="remove it name by name, or use -f",
            reference="image-has-names",
        )
    alive = [user for user in users if running(user)]
    if alive:
        raise StateConflict(
            f"cannot remove image `{query}`: running container {alive[0][:12]} uses it",
            hint="stop and remove the container first",
            reference="image-in-use",
        )
    if users and not force:
        raise StateConflict(
            f"cannot remove image `{query}`: stopped container {users[0][:12]} uses it",
            hint="remove the container first, or use -f",
            reference="image-in-use",
        )


def _hide(path: str) -> str:
    """Give a snapshot a temporary's name: it is gone at once, and swept later if we are killed now."""
    hidden = os.path.join(os.path.dirname(path), "tmp-" + os.urandom(8).hex())
    os.rename(path, hidden)
    return hidden


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
