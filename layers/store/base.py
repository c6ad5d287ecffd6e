"""What every image store offers beyond bytes: names, images, look-ups. Ring 1."""

from __future__ import annotations

from layers import media
from layers.document import MAX_DOCUMENT_BYTES
from layers.errors import LayersError
from layers.index import ImageEntry, ImageIndex
from layers.manifest import check_consistency, parse_config, parse_index, parse_manifest
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layers.digest import Digest
    from layers.manifest import Descriptor, ImageConfig, Manifest


class Image(Record):
    """An image of the store: its entry, its manifest, its config, found consistent."""

    __slots__ = ("config", "entry", "manifest")
    entry: ImageEntry
    manifest: Manifest
    config: ImageConfig

    def __init__(self, *, entry: ImageEntry, manifest: Manifest, config: ImageConfig) -> None:
        self._fill(entry=entry, manifest=manifest, config=config)

    @property
    def id(self) -> Digest:
        """The image id: digest of the config."""
        return self.manifest.config.digest


class ImageStore:
    """Names over content-addressed blobs. Subclasses keep the bytes.

    Changes of the index are atomic and one at a time: a reader sees the state before or after.
    """

    __slots__ = ()

    def has(self, digest: Digest, *, size: int | None = None) -> bool:
        """Tell whether a blob is there, with the size that it should have if that is given."""
        raise NotImplementedError

    def read_blob(self, digest: Digest, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
        """Return a small blob, verified.

        Raises:
            BlobNotFound, CorruptBlob.
            SizeMismatch: it has more than max_bytes.
        """
        raise NotImplementedError

    def load_index(self) -> ImageIndex:
        """Return the names; empty for a store that has none yet."""
        raise NotImplementedError

    def update_index(self, change: Callable[[ImageIndex], ImageIndex]) -> ImageIndex:
        """Replace the names by what `change` makes of them; it may be called more than once."""
        raise NotImplementedError

    def entries(self) -> list[ImageEntry]:
        """Return all entries, dangling ones too."""
        return list(self.load_index().entries)

    def resolve(self, query: str) -> ImageEntry:
        """Find the image that a user means.

        Args:
            query: a name (short or canonical), `repository@digest`, an image id or a unique prefix of one
                (with or without `sha256:`), or the digest of a manifest.

        Raises:
            ImageNotFound, AmbiguousImage.
        """
        return self.load_index().resolve(query, self.image_id)

    def image_id(self, entry: ImageEntry) -> Digest | None:
        """Return the digest of an entry's config, None if its manifest cannot be read."""
        try:
            return self.load_manifest(entry).config.digest
        except LayersError:
            return None

    def load_manifest(self, entry: ImageEntry) -> Manifest:
        """Read an entry's manifest.

        Raises:
            BlobNotFound, CorruptBlob, InvalidManifest.
        """
        return parse_manifest(self.read_blob(entry.digest), entry.descriptor.media_type)

    def load_image(self, entry: ImageEntry) -> Image:
        """Read an entry's manifest and config.

        Raises:
            BlobNotFound, CorruptBlob, InvalidManifest.
        """
        manifest = self.load_manifest(entry)
        config = parse_config(self.read_blob(manifest.config.digest))
        check_consistency(manifest, config)
        return Image(entry=entry, manifest=manifest, config=config)

    def tag(
        self, name: str, descriptor: Descriptor, annotations: Mapping[str, str] | None = None
    ) -> ImageEntry:
        """Give a manifest or an index a name. The image that had it stays, dangling if it has no other.

        Args:
            name: canonical reference.
            descriptor: of what is in the store; of an index the members need not be.
            annotations: of the entry, in place of the descriptor's own.

        Raises:
            BlobNotFound: the manifest or its config is not in the store (any more).
        """
        named = ImageEntry.named(name, descriptor, annotations)
        if media.is_index(descriptor.media_type):
            parse_index(self.read_blob(descriptor.digest), descriptor.media_type)
        else:
            self.read_blob(self.load_manifest(named).config.digest)
        self.update_index(lambda index: index.with_tag(name, named.descriptor))
        return named

    def keep(self, descriptor: Descriptor, annotations: Mapping[str, str]) -> None:
        """List an image without a name, unless it is listed under whatever name.

        Args:
            annotations: of its entry.
        """
        entry = descriptor.with_annotations(annotations)
        self.update_index(lambda index: index.with_image(entry))

    def untag(self, name: str) -> None:
        """Take a name away, exactly as it stands in the index; its image stays, perhaps dangling."""
        self.update_index(lambda index: index.without_name(name))

    def remove(self, digest: Digest) -> None:
        """Take an image out of the index with all its names; `sweep` deletes what it alone needed.

        Args:
            digest: of the manifest.
        """
        self.update_index(lambda index: index.without_manifest(digest))
