"""Find, list, describe and remove what is in the store: blocking, for commands and async methods.

Ring 1: what is imported late is slow by nature, or needed by few commands.
"""

from __future__ import annotations

from functools import partial

from rootless.engine import describe, records
from rootless.errors import NotFound
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias, TypeVar

    from rootless.engine.image_lookup import LocalImage
    from rootless.engine.manifest_lists import LocalList
    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.paths import Paths

    Listed: TypeAlias = LocalImage | LocalList
    AnyListed = TypeVar("AnyListed", bound=Listed)


def find_object(paths: Paths, query: str, *, kind: str = "", with_size: bool = False) -> dict[str, Any]:
    """Return the description of what a word means; containers come first, then images, then volumes.

    Args:
        kind: "container", "image" or "volume"; "" for any.
        with_size: of a container.
    Raises:
        NotFound: there is none, or a prefix means several.
    """
    finders: dict[str, Callable[[], dict[str, Any]]] = {
        "container": lambda: _container(paths, records.find(paths, query), with_size=with_size),
        "image": lambda: _image(paths, query),
        "volume": lambda: _volume(paths, query),
    }
    if kind:
        return finders[kind]()
    for name, find in finders.items():
        try:
            return find()
        except NotFound as exc:
            if exc.reference != f"no-such-{name}":
                raise
    raise NotFound(
        f"no such object: {query}",
        hint="`rootless ps -a`, `rootless images` and `rootless volume ls` list what there is",
        reference="no-such-object",
    )


def list_containers(paths: Paths) -> list[Container]:
    """Return all containers, newest first, damaged ones included."""
    containers = records.load_all(paths)
    if len(containers) < len(records.list_ids(paths)):
        from rootless.engine import damaged

        containers += damaged.load_all(paths, known={container.spec.id for container in containers})
        containers.sort(key=lambda container: container.spec.created_ns, reverse=True)
    return containers


def list_images(paths: Paths) -> list[LocalImage]:
    """Return all images, one item per name, `in_order`."""
    from rootless.engine import image_lookup

    return in_order(image_lookup.iter_images(paths))


def list_listed(paths: Paths) -> list[Listed]:
    """Return all images and manifest lists, one item per name, `in_order`."""
    from rootless.engine import image_lookup, manifest_lists

    return in_order([*image_lookup.iter_images(paths), *manifest_lists.iter_lists(paths)])


def in_order(images: Iterable[AnyListed]) -> list[AnyListed]:
    """Sort images: newest first, those of the same moment by name, and the nameless last."""
    return sorted(
        images,
        key=lambda image: (
            -created_seconds(image.created),
            image.name is None,
            image.name or "",
            image.image_id,
        ),
    )


def created_seconds(text: str) -> float:
    """Return seconds since the epoch of an RFC 3339 time, 0 for none and for nonsense."""
    from datetime import datetime

    whole, _, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction = rest[:digits][:6]  # images write nanoseconds, datetime takes microseconds
    try:
        moment = datetime.fromisoformat(whole + (f".{fraction:0<6}" if fraction else "") + rest[digits:])
        return max(0.0, moment.timestamp())
    except (ValueError, OverflowError, OSError):
        return 0.0


class ImageRemoval:
    """A removal of images, in view of the containers that are there at its beginning."""

    def __init__(self, paths: Paths, *, force: bool, with_layers: bool = True) -> None:
        self._with_layers = with_layers
        self._paths = paths
        self._force = force
        containers = records.load_all(paths)
        self._users: dict[str, list[str]] = {}
        for container in containers:
            self._users.setdefault(container.spec.image_id, []).append(container.spec.id)
        self._running = {c.spec.id for c in containers if c.state.status == lifecycle.RUNNING}

    def remove(self, query: str) -> list[str]:
        """Remove a name, or an image with all its names; returns what Docker prints of it.

        Raises:
            NotFound: there is none; by force, absence is success.
            StateConflict: a container uses it, or it has several names and was given by id.
        """
        from rootless.engine import image_removal

        try:
            return image_removal.remove_image(
                self._paths,
                query,
                force=self._force,
                users=self._users,
                running=self._running.__contains__,
                with_layers=self._with_layers,
            )
        except NotFound as exc:
            if self._force and exc.reference == "no-such-image":
                return []
            raise

    def prune(self, mapping: IdMapping) -> None:
        """Delete the layers that nothing else needs; must run in a process without threads."""
        from rootless.engine import image_removal
        from rootless.runtime import userns

        remove_tree = partial(userns.remove_tree, mapping=mapping, run_dir=self._paths.run)
        image_removal.free_space_of_images(self._paths, remove_tree=remove_tree)


def _container(paths: Paths, container: Container, *, with_size: bool) -> dict[str, Any]:
    addresses: tuple[str, ...] = ()
    if describe.has_addresses(container):
        from rootless.network.addresses import load_addresses  # not for images

        addresses = load_addresses(container.state.pid)
    condition = None
    if container.spec.healthcheck.test:
        from rootless.engine import health  # most containers have no check

        condition = health.read(container)
    shown = describe.container_json(paths, container, addresses=addresses, health=condition)
    return shown | _sizes(paths, container) if with_size else shown


def _sizes(paths: Paths, container: Container) -> dict[str, int]:
    from rootless.engine import image_lookup, modes, usage  # slow by nature: it looks at every file

    paths.ensure()
    written = usage.written_bytes(paths, container, mapping=modes.load_store_modes(paths)[1].mapping)
    images = {str(image.image_id): image.size_bytes for image in image_lookup.iter_images(paths)}
    return {"SizeRw": written, "SizeRootFs": written + images.get(container.spec.image_id, 0)}


def _volume(paths: Paths, query: str) -> dict[str, Any]:
    from rootless.engine import volumes  # not for containers and images

    return describe.volume_json(paths, volumes.find(paths, query))


def _image(paths: Paths, query: str) -> dict[str, Any]:
    from rootless.engine import image_lookup  # not for containers

    image = image_lookup.find_image(paths, query)
    same = [other for other in image_lookup.iter_images(paths) if other.image_id == image.image_id]
    named = [(other.repo_digest, other.entry.reference) for other in same if other.entry.reference]
    return describe.image_json(
        image.config,
        image_id=str(image.image_id),
        repo_tags=[name.familiar for _, name in named if not name.digest],
        repo_digests=sorted({f"{name.familiar_repository}@{digest}" for digest, name in named if digest}),
        size_bytes=image.size_bytes,
    )
