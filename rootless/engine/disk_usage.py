"""What of the store takes how much space, and what of that nobody uses. Reads only; no trio.

An image takes its compressed blobs and its unpacked layers, each counted once however many images share it.
"""

from __future__ import annotations

import os
from functools import partial

from layers.digest import ENCODED_LENGTH
from layers.store import sweeping
from layers.store.directory import ImageLayout
from rootless.engine import image_lookup, records, usage, volume_removal, volumes
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rootless.engine.image_lookup import LocalImage
    from rootless.engine.records import Container
    from rootless.engine.volumes import Volume
    from rootless.model.host import IdMapping
    from rootless.paths import Paths


class Share:
    """What one kind of objects takes.

    Attributes:
        total, active: how many there are, and are in use.
        size_bytes, free_bytes: what they take, and what of it the unused ones take.
    """

    __slots__ = ("active", "free_bytes", "size_bytes", "total")

    def __init__(self, *, total: int, active: int, size_bytes: int, free_bytes: int) -> None:
        self.total = total
        self.active = active
        self.size_bytes = size_bytes
        self.free_bytes = free_bytes


class ImageSize:
    """A name of an image, with the bytes of its files that other images have too, and how many containers."""

    __slots__ = ("containers", "image", "shared_bytes")

    def __init__(self, image: LocalImage, *, shared_bytes: int, containers: int) -> None:
        self.image = image
        self.shared_bytes = shared_bytes
        self.containers = containers


class DiskUsage:
    """Everything that `system df` tells.

    Attributes:
        images: one item per name. containers, volumes: with their bytes; links: volume → containers.
    """

    def __init__(self, paths: Paths, mapping: IdMapping) -> None:
        self._paths = paths
        weigh = partial(usage.directory_bytes, paths, mapping=mapping)
        found = records.load_all(paths)
        self.containers: list[tuple[Container, int]] = [
            (container, usage.written_bytes(paths, container, mapping=mapping)) for container in found
        ]
        self.links: Mapping[str, list[str]] = volume_removal.users(paths)
        self.volumes: list[tuple[Volume, int]] = [
            (volume, weigh(os.path.join(paths.volumes, volume.name, "_data")))
            for volume in volumes.load_all(paths)
        ]
        local = list(image_lookup.iter_images(paths))
        self.images = image_sizes(local, [container.spec.image_id for container in found])
        self._trees = self._weigh_trees(local, weigh)

    def image_share(self) -> Share:
        """Return what images take; what no image needs any more counts as theirs, and as unused."""
        used_ids = {container.spec.image_id for container, _ in self.containers}
        chains = {
            c.removeprefix("sha256:") for container, _ in self.containers for c in container.spec.layers
        }
        layout = ImageLayout(self._paths.store, locks=self._paths.locks)
        used = [item.image.entry for item in self.images if item.image.image_id in used_ids]
        free = sum(sweeping.unneeded(layout, in_use=used_ids, images=used).values())
        free += sum(size for tree, size in self._trees.items() if os.path.basename(tree) not in chains)
        ids = {item.image.image_id for item in self.images}
        return Share(
            total=len(ids),
            active=len(ids & used_ids),
            size_bytes=sum(size for _, size in layout.blobs()) + sum(self._trees.values()),
            free_bytes=free,
        )

    def container_share(self) -> Share:
        return _share(
            [(size, container.state.status in lifecycle.MINDED) for container, size in self.containers]
        )

    def volume_share(self) -> Share:
        return _share([(size, volume.name in self.links) for volume, size in self.volumes])

    def _weigh_trees(self, images: Iterable[LocalImage], weigh: partial[int]) -> dict[str, int]:
        """Return the bytes of each unpacked layer: those recorded when it was, else what it holds."""
        known = {
            chain.encoded: size
            for image in images
            for chain, size in zip(
                image.chain_ids,
                image_lookup.plain_sizes(image.entry, len(image.chain_ids)),
                strict=True,
            )
            if size
        }
        sizes = {}
        for key in _names(self._paths.snapshots):
            directory = os.path.join(self._paths.snapshots, key)
            for name in _names(directory):
                tree = os.path.join(directory, name)
                if len(name) == ENCODED_LENGTH:
                    sizes[tree] = known.get(name) or weigh(tree)
        return sizes


def image_sizes(images: Iterable[LocalImage], used_ids: Collection[str]) -> list[ImageSize]:
    """Return each name of an image with what it shares with other images. Pure.

    Args:
        used_ids: image ids of the containers, once for each.
    """
    images = list(images)
    owners: dict[str, set[str]] = {}
    for image in images:
        for chain in image.chain_ids:
            owners.setdefault(chain, set()).add(image.image_id)
    return [
        ImageSize(
            image,
            shared_bytes=sum(
                size
                for chain, size in zip(image.chain_ids, image.layer_sizes, strict=True)
                if len(owners[chain]) > 1
            ),
            containers=list(used_ids).count(image.image_id),
        )
        for image in images
    ]


def _share(items: Collection[tuple[int, bool]]) -> Share:
    """Add up (bytes, whether it is in use)."""
    return Share(
        total=len(items),
        active=sum(used for _, used in items),
        size_bytes=sum(size for size, _ in items),
        free_bytes=sum(size for size, used in items if not used),
    )


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
