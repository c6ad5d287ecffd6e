"""Find images of the store: names, ids, configs. Reads only. Ring 1, no trio."""

from __future__ import annotations

from layers import media
from layers.digest import Digest
from layers.errors import AmbiguousImage, ImageNotFound, LayersError
from layers.index import ImageEntry
from layers.manifest import Descriptor, ImageSearch, Platform, chain_ids, find_media_type
from layers.snapshot import Snapshots
from layers.store.directory import ImageLayout
from rootless.errors import ImageError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from layers.locks import FileLock
    from layers.manifest import ImageConfig, Manifest
    from layers.store.base import Image
    from rootless.paths import Paths

PLAIN_SIZES = "io.rootless.layer-sizes"
"""Annotation of an entry: sizes of the uncompressed layers, bottom first, comma-separated; 0 is unknown."""


class LocalImage:
    """An image of this store.

    Attributes:
        name: canonical reference, None if it lost its name.
        image_id: digest of the config.
        chain_ids: names of its layers' snapshots, bottom first.
        repo_digest: what the registry gave for the name, "" for none.
        size_bytes: of the uncompressed layers, of the compressed ones where that is unknown.
    """

    __slots__ = ("chain_ids", "config", "entry", "image_id", "manifest", "name", "repo_digest")

    def __init__(self, image: Image) -> None:
        self.entry: ImageEntry = image.entry
        self.manifest: Manifest = image.manifest
        self.config: ImageConfig = image.config
        self.name = image.entry.name
        self.image_id: Digest = image.id
        self.repo_digest = image.entry.repo_digest
        self.chain_ids = chain_ids(image.config.diff_ids)

    @property
    def created(self) -> str:
        """RFC 3339, "" if the image does not say."""
        return self.config.created or ""

    @property
    def labels(self) -> Mapping[str, str]:
        return self.config.labels

    @property
    def size_bytes(self) -> int:
        return sum(self.layer_sizes)

    @property
    def layer_sizes(self) -> list[int]:
        """Bytes of each uncompressed layer, bottom first; of the compressed one where that is unknown."""
        plain = plain_sizes(self.entry, len(self.manifest.layers))
        return [size or layer.size for size, layer in zip(plain, self.manifest.layers, strict=True)]


def find_image(paths: Paths, query: str, *, snapshots_key: str = "") -> LocalImage:
    """Return the image that a user means: by name, id, unique prefix of an id, or digest.

    Args:
        snapshots_key: of the id mapping that is to run it; an image that was pulled under another one counts
            as missing, and pulling it again unpacks what is here already. "" does not look.

    Raises:
        NotFound: there is none, or a prefix fits several.
        ImageError: it is here, but damaged.
    """
    entry = find_entry(paths, query)
    layout = ImageLayout(paths.store, locks=paths.locks)
    try:
        image = LocalImage(layout.load_image(_for_host(layout, entry)))
    except LayersError as exc:
        raise ImageError(
            exc.message, on=f"{query}: {exc.on}", hint=exc.hint, reference=exc.reference
        ) from exc
    if snapshots_key and missing_snapshots(paths, snapshots_key, image):
        raise not_found(query)
    return image


def find_entry(paths: Paths, query: str) -> ImageEntry:
    """Return the entry that a user means, of an image or of a manifest list, in the same words.

    Raises:
        NotFound: there is none, or a prefix fits several.
    """
    try:
        return ImageLayout(paths.store, locks=paths.locks).resolve(query)
    except AmbiguousImage as exc:
        raise NotFound(exc.message, on=query, hint=exc.hint, reference="ambiguous-id") from exc
    except ImageNotFound as exc:
        raise not_found(query) from exc


def same_image(layout: ImageLayout, entry: ImageEntry) -> list[ImageEntry]:
    """Return all entries of the image, or of the manifest list, that an entry names."""
    image_id = layout.image_id(entry)
    return [
        other
        for other in layout.entries()
        if other.digest == entry.digest or (image_id and layout.image_id(other) == image_id)
    ]


def labels_of(layout: ImageLayout, query: str) -> Mapping[str, str]:
    """Return the labels of an image, none if it is damaged, or a manifest list, or not here."""
    try:
        return layout.load_image(layout.resolve(query)).config.labels
    except LayersError:
        return {}


def plan_pull(paths: Paths, name: str, *, policy: str, snapshots_key: str) -> tuple[LocalImage | None, str]:
    """Decide what to pull before an image can run.

    A found image may have been pulled under another id mapping (an administrator has granted ids since), or
    the power failed before the disk had it: its own blobs are the source of the new tree, no registry is
    asked, unless they are lost too.

    Args:
        policy: "always", "missing" or "never" (--pull).
    Returns:
        the image as it is here, None if it is not, or not looked for; and what to pull: "" for nothing,
        the name, or what `find_stored` reads as the store's own copy.
    Raises:
        NotFound: it is not here and must not be pulled.
    """
    if policy == "always":
        return None, name
    try:
        image = find_image(paths, name)
    except NotFound:
        if policy == "never":
            raise
        return None, name
    if not missing_snapshots(paths, snapshots_key, image):
        return image, ""
    if policy == "never" or has_layers(paths, image):
        return image, f"@{image.entry.digest}"
    return image, name


def find_stored(paths: Paths, source: str) -> Descriptor | None:
    """Return the manifest of an image of this store that is to be unpacked: `@DIGEST`, which is no name."""
    if not source.startswith("@"):
        return None
    try:
        digest = Digest.parse(source[1:])
        data = ImageLayout(paths.store, locks=paths.locks).read_blob(digest)
        return Descriptor(media_type=find_media_type(data), digest=digest, size=len(data))
    except LayersError:
        return None


def keep_images(paths: Paths) -> FileLock:
    """Return a lock (a context manager) under which no image or layer is deleted; many may hold it."""
    return ImageLayout(paths.store, locks=paths.locks).pulling()


def missing_snapshots(paths: Paths, key: str, image: LocalImage) -> list[Digest]:
    """Return the chain ids of an image that are not unpacked under an id mapping."""
    return Snapshots(paths.snapshots, key).missing(image.chain_ids)


def has_layers(paths: Paths, image: LocalImage) -> bool:
    """Tell whether the blobs of all layers are there, in full length: a power cut may have taken them."""
    layout = ImageLayout(paths.store, locks=paths.locks)
    return all(layout.has(layer.digest, size=layer.size) for layer in image.manifest.layers)


def iter_images(paths: Paths) -> Iterator[LocalImage]:
    """Iterate over all images, one item per name, in no special order; damaged ones are passed over.

    A further manifest of an image, one that has lost its name, is no image of its own (`shadows`).
    """
    found = _load_all(paths)
    hidden = _shadows(found)
    yield from (image for image in found if image not in hidden)


def shadows(paths: Paths) -> list[LocalImage]:
    """Return the manifests without a name whose image has one under another manifest."""
    return _shadows(_load_all(paths))


def _load_all(paths: Paths) -> list[LocalImage]:
    layout = ImageLayout(paths.store, locks=paths.locks)
    found = []
    for entry in layout.entries():
        try:
            found.append(LocalImage(layout.load_image(entry)))
        except LayersError:
            continue  # another tool's artifact, or a damaged image: `rmi` by digest can still remove it
    return found


def _shadows(images: list[LocalImage]) -> list[LocalImage]:
    named = {image.image_id for image in images if image.name}
    return [image for image in images if not image.name and image.image_id in named]


def _for_host(layout: ImageLayout, entry: ImageEntry) -> ImageEntry:
    """Return the entry as one of this host's image, if it is of a manifest list."""
    if not media.is_index(entry.descriptor.media_type):
        return entry
    search = ImageSearch(entry.descriptor, Platform.host())
    while search.wanted is not None:
        search.feed(layout.read_blob(search.wanted.digest))
    assert search.chosen is not None
    return ImageEntry(search.chosen.with_annotations(entry.annotations))


def plain_sizes(entry: ImageEntry, count: int) -> list[int]:
    """Return the recorded sizes of an entry's uncompressed layers, 0 for each unknown one."""
    parts = entry.annotations.get(PLAIN_SIZES, "").split(",")
    sizes = [int(part) if part.isascii() and part.isdigit() and len(part) < 19 else 0 for part in parts]
    return sizes if len(sizes) == count else [0] * count


def not_found(query: str) -> NotFound:
    """Return the error for an image that is not here."""
    return NotFound(
        f"no such image: {query}",
        hint="`rootless images` lists them, `rootless pull` brings one",
        reference="no-such-image",
    )
