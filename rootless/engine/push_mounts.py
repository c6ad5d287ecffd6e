"""From which other repositories of a registry it can take the blobs of a push, so that nobody sends them."""

from __future__ import annotations

from layers.digest import Digest
from layers.errors import LayersError
from layers.manifest import find_media_type, parse_manifest
from layers.reference import Reference
from rootless.engine.manifest_lists import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from layers.index import ImageEntry
    from layers.manifest import Descriptor
    from layers.store.directory import ImageLayout

    Holdings = tuple[Reference, Sequence[Descriptor]]
    """A name that came from or went to a registry, with the blobs of its image."""

_MOUNT_SOURCES = 2
"""Repositories that a registry is asked to take one blob from: each refusal costs a request."""


def mount_sources(images: Iterable[Holdings], target: Reference) -> dict[Digest, list[str]]:
    """Return blob → repositories of the target's registry that should have it. Pure.

    Args:
        images: names that came from or went to a registry, with the blobs of their images.
    """
    found: dict[Digest, list[str]] = {}
    for reference, blobs in images:
        if reference.domain != target.domain or reference.path == target.path:
            continue
        for blob in blobs:
            paths = found.setdefault(blob.digest, [])
            if reference.path not in paths and len(paths) < _MOUNT_SOURCES:
                paths.append(reference.path)
    return found


def known_blobs(layout: ImageLayout, entries: list[ImageEntry]) -> list[Holdings]:
    """Return the blobs of all images that share a registry with those that are pushed."""
    domains = {entry.reference.domain for entry in entries if entry.reference}
    found: list[Holdings] = []
    for entry in layout.entries():
        if entry.reference is None or not entry.repo_digest or entry.reference.domain not in domains:
            continue
        try:
            manifest = layout.load_manifest(entry)
        except LayersError:
            continue  # damaged, and none of ours
        found.append((entry.reference, (manifest.config, *manifest.layers)))
    for entry in entries:
        found += member_blobs(layout, entry)
    return found


def member_blobs(layout: ImageLayout, entry: ImageEntry) -> Iterator[Holdings]:
    """Iterate over the members of a manifest list that came from registries."""
    for digest, name in names_of(entry).items():
        try:
            reference = Reference.parse(name)
            data = layout.read_blob(Digest(digest))
            manifest = parse_manifest(data, find_media_type(data))
        except LayersError:
            continue  # from elsewhere, or an index; what is wrong with it is told when it is pushed
        yield reference, (manifest.config, *manifest.layers)
