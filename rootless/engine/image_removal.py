"""Remove images: names first, then what nothing else needs. No trio.

Docker's rules: removing one name of several only unties it; the last name takes the image along, unless a
container uses it.
"""

from __future__ import annotations

import os

from layers.errors import AmbiguousImage, ImageNotFound
from layers.locks import FileLock
from layers.store.directory import ImageLayout
from rootless.engine import events
from rootless.engine.image_lookup import iter_images, not_found
from rootless.errors import NotFound, StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layers.index import ImageEntry
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
    events.record(paths, events.IMAGE, "delete", id=subject, attributes={"name": subject})
    return removed


def doomed_snapshots(paths: Paths, *, in_use: frozenset[str]) -> list[str]:
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


def free_space_of_images(
    paths: Paths, *, image_ids: frozenset[str], chains: frozenset[str], remove_tree: Callable[[str], None]
) -> bool:
    """Delete blobs and snapshots that nothing needs any more; False when a pull is in the way.

    Args:
        image_ids, chains: used by containers.
        remove_tree: removes a tree whose files may belong to mapped ids.
    """
    layout = ImageLayout(paths.store, locks=paths.locks)
    if layout.sweep(in_use=image_ids).deferred:
        return False
    lock = FileLock(paths.locks, "gc.lock", wait_s=0)  # layers.store.directory: pulls hold it shared
    if not lock.try_acquire():
        return False
    try:
        hidden = [_hide(path) for path in doomed_snapshots(paths, in_use=chains)]
    finally:
        lock.release()
    for path in hidden:
        remove_tree(path)
    return True


def _untag(paths: Paths, layout: ImageLayout, entry: ImageEntry, removed: Removed, *, image_id: str) -> None:
    assert entry.name is not None
    layout.untag(entry.name)
    reference = entry.reference
    name = reference.familiar if reference else entry.name
    removed.lines.append(f"Untagged: {name}")
    events.record(paths, events.IMAGE, "untag", id=image_id, attributes={"name": name})
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
