"""Remove images: names first, then what nothing else needs. No trio.

Docker's rules: removing one name of several only unties it; the last name takes the image along, unless a
container uses it.
"""

from __future__ import annotations

import os

from layers.errors import AmbiguousImage, ImageNotFound
from layers.store.directory import ImageLayout
from rootless.engine import events, records
from rootless.engine.image_lookup import iter_images, not_found, shadows
from rootless.errors import NotFound, StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping

    from layers.index import ImageEntry
    from rootless.engine.image_lookup import LocalImage
    from rootless.paths import Paths


class Removed:
    """What one removal did, in the words that Docker prints.

    Attributes:
        lines: "Untagged: …", "Deleted: sha256:…".
    """

    __slots__ = ("lines",)

    def __init__(self) -> None:
        self.lines: list[str] = []


def remove_image(
    paths: Paths,
    query: str,
    *,
    force: bool,
    users: Mapping[str, list[str]],
    running: Callable[[str], bool],
) -> Removed:
    """Remove a name, or an image with all its names.

    Args:
        query: a name removes that name; an id, or its prefix, the image.
        force: several names, and images of stopped containers, are no obstacle.
        users: image id → ids of the containers that use it.
        running: tells whether a container runs.

    Raises:
        NotFound: there is no such image.
        StateConflict: a container uses it, or it has several names and was given by id.
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    try:
        entry = layout.resolve(query)
    except AmbiguousImage as exc:
        raise NotFound(exc.message, on=query, hint=exc.hint, reference="ambiguous-id") from exc
    except ImageNotFound as exc:
        raise not_found(query) from exc
    removed = Removed()
    image_id = layout.image_id(entry)
    siblings = [e for e in layout.entries() if image_id and layout.image_id(e) == image_id]
    names = [e.name for e in siblings if e.name]
    by_name = layout.load_index().find_name(query) is not None
    subject = str(image_id or entry.digest)
    if by_name and len(names) > 1:
        _untag(paths, layout, entry, removed, image_id=subject)
        return removed
    if len(names) > 1 and not force:
        raise StateConflict(
            f"cannot remove image `{query}`: it has {len(names)} names: {', '.join(names)}",
            hint="remove it name by name, or use -f",
            reference="image-has-names",
        )
    _check_users(query, users.get(image_id or "", []), force=force, running=running)
    for each in siblings or [entry]:
        if each.name:
            _untag(paths, layout, each, removed, image_id=subject)
        layout.remove(each.digest)
    removed.lines.append(f"Deleted: {subject}")
    events.record_image(paths, "delete", id=subject, name=subject)
    return removed


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
        for image in shadows(paths):
            layout.remove(image.entry.digest)
        specs = [container.spec for container in records.load_all(paths)]
        freed = layout.collect(in_use=frozenset(spec.image_id for spec in specs)).freed_bytes
        hidden = [
            _hide(path) for path in doomed_snapshots(paths, in_use={c for s in specs for c in s.layers})
        ]
    finally:
        lock.release()
    for path in hidden:
        freed += weigh(path)
        remove_tree(path)
    return freed


def doomed_snapshots(paths: Paths, *, in_use: Collection[str]) -> list[str]:
    """Return the trees that neither an image nor a container needs, of all id mappings.

    Args:
        in_use: chain ids of all containers.
    """
    needed = {chain.encoded for image in iter_images(paths) for chain in image.chain_ids}
    needed |= {chain.removeprefix("sha256:") for chain in in_use}
    doomed: list[str] = []
    for key in _names(paths.snapshots):
        parent = os.path.join(paths.snapshots, key)
        doomed += [
            os.path.join(parent, name) for name in _names(parent) if len(name) == 64 and name not in needed
        ]
    return doomed


def _untag(paths: Paths, layout: ImageLayout, entry: ImageEntry, removed: Removed, *, image_id: str) -> None:
    assert entry.name is not None
    layout.untag(entry.name)
    reference = entry.reference
    name = reference.familiar if reference else entry.name
    removed.lines.append(f"Untagged: {name}")
    events.record_image(paths, "untag", id=image_id, name=name)
    if reference and entry.repo_digest and not reference.digest:
        removed.lines.append(f"Untagged: {reference.familiar_repository}@{entry.repo_digest}")


def _check_users(query: str, users: list[str], *, force: bool, running: Callable[[str], bool]) -> None:
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
