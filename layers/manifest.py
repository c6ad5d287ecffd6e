"""Descriptors, manifests and indexes, of OCI and of Docker's schema 2. Pure; ring 1.

One document has one meaning: its media type is fixed by who named it (descriptor, Content-Type), has to agree
with what it says of itself, and a document that could be read as both index and manifest is refused
(CVE-2021-41190). Spec: image-spec descriptor.md, manifest.md, image-index.md.
"""

from __future__ import annotations

from layers import document, media
from layers.config import HistoryEntry, ImageConfig, chain_ids, config_bytes, parse_config
from layers.errors import InvalidManifest, UnknownMediaType
from layers.platforms import Platform, choose_platform
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from layers.digest import Digest
    from layers.document import Fields

__all__ = [
    "Descriptor",
    "HistoryEntry",
    "ImageConfig",
    "ImageSearch",
    "Index",
    "Manifest",
    "Platform",
    "chain_ids",
    "check_consistency",
    "check_is_image",
    "choose_platform",
    "config_bytes",
    "find_media_type",
    "parse_config",
    "parse_index",
    "parse_manifest",
]

MAX_MANIFEST_BYTES = document.MAX_DOCUMENT_BYTES
MAX_LAYERS = 1000
"""Docker stops at 127; overlayfs at 500 lower directories. More is an attempt to exhaust something."""
MAX_INDEX_DEPTH = 4
"""Buildx nests one index in another; nobody nests two."""
_MAX_MEDIA_TYPE = 255  # RFC 6838 §4.2: 127 characters on each side of the slash


class Descriptor(Record):
    """Names content: what it is, its digest, its size in bytes.

    `urls` is left out on purpose: content comes from where the image came from (CVE-2020-15157).
    """

    __slots__ = ("annotations", "artifact_type", "digest", "media_type", "platform", "size")
    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str]
    platform: Platform | None
    artifact_type: str

    def __init__(
        self,
        *,
        media_type: str,
        digest: Digest,
        size: int,
        annotations: Mapping[str, str] | None = None,
        platform: Platform | None = None,
        artifact_type: str = "",
    ) -> None:
        self._fill(
            media_type=media_type,
            digest=digest,
            size=size,
            annotations=dict(annotations or {}),
            platform=platform,
            artifact_type=artifact_type,
        )

    @classmethod
    def from_fields(cls, fields: Fields) -> Descriptor:
        media_type = fields.text("mediaType")
        if not 0 < len(media_type) <= _MAX_MEDIA_TYPE:
            fields.fail("mediaType", "is empty or too long")
        platform = fields.child("platform")
        return cls(
            media_type=media_type,
            digest=fields.digest("digest"),
            size=fields.integer("size"),
            annotations=fields.text_map("annotations"),
            platform=Platform.from_fields(platform) if platform else None,
            artifact_type=fields.text("artifactType", default=""),
        )

    def with_annotations(self, annotations: Mapping[str, str]) -> Descriptor:
        """Return the same with other annotations."""
        return Descriptor(
            media_type=self.media_type,
            digest=self.digest,
            size=self.size,
            platform=self.platform,
            artifact_type=self.artifact_type,
            annotations=annotations,
        )

    def to_json(self) -> dict[str, Any]:
        result: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        if self.platform:
            result["platform"] = self.platform.to_json()
        if self.annotations:
            result["annotations"] = self.annotations
        return result


class Index(Record):
    """An OCI index or a Docker manifest list: manifests of one image for several platforms."""

    __slots__ = ("annotations", "artifact_type", "manifests", "media_type")
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str]
    artifact_type: str

    def __init__(self, fields: Fields, media_type: str) -> None:
        self._fill(
            media_type=media_type,
            manifests=tuple(map(Descriptor.from_fields, fields.children("manifests", required=True))),
            annotations=fields.text_map("annotations"),
            artifact_type=fields.text("artifactType", default=""),
        )


class Manifest(Record):
    """The manifest of one image: its config and its layers, bottom first.

    Other artifacts (charts, signatures) have manifests too: `check_is_image` tells them apart.
    """

    __slots__ = ("annotations", "artifact_type", "config", "layers", "media_type", "subject")
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]
    artifact_type: str
    subject: Descriptor | None

    def __init__(self, fields: Fields, media_type: str) -> None:
        config = fields.child("config")
        if config is None:
            fields.fail("config", "is missing")
        layers = fields.children("layers", required=True)
        if len(layers) > MAX_LAYERS:
            fields.fail("layers", f"has {len(layers)} entries, more than {MAX_LAYERS}")
        subject = fields.child("subject")
        self._fill(
            media_type=media_type,
            config=Descriptor.from_fields(config),
            layers=tuple(map(Descriptor.from_fields, layers)),
            annotations=fields.text_map("annotations"),
            artifact_type=fields.text("artifactType", default=""),
            subject=Descriptor.from_fields(subject) if subject else None,
        )

    @property
    def size(self) -> int:
        """Bytes of config and layers as they are transferred."""
        return self.config.size + sum(layer.size for layer in self.layers)


class ImageSearch:
    """Follow indexes down to the manifest of one platform, without doing any I/O.

        search = ImageSearch(descriptor, platform)
        while search.wanted:
            search.feed(fetch(search.wanted))
        search.chosen, search.manifest

    Attributes:
        wanted: what to fetch next; None when the manifest is found.
        chosen, manifest: the result; the descriptor carries the media type that was verified.
    """

    __slots__ = ("_platform", "_seen", "chosen", "manifest", "wanted")

    def __init__(self, root: Descriptor, platform: Platform) -> None:
        self._platform = platform
        self._seen: list[Digest] = []
        self.wanted: Descriptor | None = root
        self.chosen: Descriptor | None = None
        self.manifest: Manifest | None = None

    def feed(self, data: bytes) -> None:
        """Take the verified bytes of `wanted`.

        Raises:
            InvalidManifest: malformed, in a cycle, or nested too deeply.
            NoMatchingPlatform: the index does not serve the platform.
        """
        current = self.wanted
        if current is None:
            raise ValueError("the search is over")
        if current.digest in self._seen or len(self._seen) >= MAX_INDEX_DEPTH:
            raise InvalidManifest("invalid index: indexes are nested too deeply", on=current.digest)
        self._seen.append(current.digest)
        if media.is_index(current.media_type):
            self.wanted = choose_platform(parse_index(data, current.media_type), self._platform)
        else:
            self.manifest = parse_manifest(data, current.media_type)
            self.chosen, self.wanted = current, None


def find_media_type(data: bytes, declared: str = "") -> str:
    """Return what a document is: as declared, else as it says itself, else by its shape.

    Registries differ in their Content-Type: pass what came, in any case and with parameters.

    Raises:
        InvalidManifest: malformed, ambiguous, or contradicting the declaration.
        UnknownMediaType: neither index nor manifest; schema 1.
    """
    declared = media.essence(declared)
    known = declared in media.INDEXES or declared in media.MANIFESTS or declared in media.SCHEMA1
    fields = document.decode(data, "manifest")
    found = declared if known else fields.text("mediaType", default="")
    if not found:
        found = media.OCI_INDEX if "manifests" in fields.data else media.OCI_MANIFEST
    _check_version(fields, found)
    if media.is_index(found) or media.is_manifest(found):
        _check_shape(fields, found)
        return found
    raise UnknownMediaType("cannot use manifest: its media type is unknown", on=found[:160])


def parse_index(data: bytes, media_type: str) -> Index:
    """Read an index or manifest list.

    Args:
        media_type: what the descriptor or the registry says that it is.

    Raises:
        InvalidManifest: it is malformed or something else; the message names the field.
    """
    if not media.is_index(media_type):
        raise UnknownMediaType("cannot read index: its media type is none", on=media_type[:160])
    fields = document.decode(data, "index")
    _check_version(fields, media_type)
    _check_shape(fields, media_type)
    return Index(fields, media_type)


def parse_manifest(data: bytes, media_type: str) -> Manifest:
    """Read the manifest of one image.

    Args:
        media_type: what the descriptor or the registry says that it is.

    Raises:
        InvalidManifest: it is malformed or something else; the message names the field.
        UnknownMediaType: it is not a manifest, or of schema 1.
    """
    fields = document.decode(data, "manifest")
    _check_version(fields, media_type)
    if not media.is_manifest(media_type):
        raise UnknownMediaType("cannot read manifest: its media type is unknown", on=media_type[:160])
    _check_shape(fields, media_type)
    return Manifest(fields, media_type)


def check_is_image(manifest: Manifest) -> None:
    """Refuse artifacts that are no container image, before their content is fetched.

    Raises:
        UnknownMediaType: the config or a layer is of another kind.
    """
    if manifest.config.media_type not in media.CONFIGS:
        kind = manifest.artifact_type or manifest.config.media_type
        raise UnknownMediaType("cannot use artifact: it is not a container image", on=kind[:160])
    for layer in manifest.layers:
        media.compression_of(layer.media_type)


def check_consistency(manifest: Manifest, config: ImageConfig) -> None:
    """Hold a manifest and its config to each other.

    Raises:
        InvalidManifest: they disagree about the number of layers.
        UnknownMediaType: it is no container image.
    """
    check_is_image(manifest)
    if len(manifest.layers) != len(config.diff_ids):
        raise InvalidManifest(
            f"invalid image: its manifest has {len(manifest.layers)} layers, "
            f"its config has {len(config.diff_ids)} diff_ids",
            on=manifest.config.digest,
        )


def _check_version(fields: Fields, media_type: str) -> None:
    version = fields.data.get("schemaVersion")
    if media_type in media.SCHEMA1 or (version == 1 and "fsLayers" in fields.data):
        raise UnknownMediaType(
            "cannot use image: it has Docker's schema 1 format, which cannot be verified",
            on=media_type[:160],
            hint="ask its publisher to push it again with any Docker newer than 1.10",
        )
    if type(version) is not int or version != 2:
        fields.fail("schemaVersion", "is not 2")


def _check_shape(fields: Fields, media_type: str) -> None:
    own = fields.text("mediaType", default="")
    if own and own != media_type:
        fields.fail("mediaType", f"is {own[:160]!r}, but it came as {media_type[:160]!r}")
    if not own and media_type in (media.DOCKER_MANIFEST, media.DOCKER_LIST):
        fields.fail("mediaType", "is missing")  # Docker's formats require it; OCI's do not
    # Go's decoder, which most other engines use, ignores the case of keys: so does this check.
    wrong = ("layers", "config", "fslayers") if media.is_index(media_type) else ("manifests", "fslayers")
    for name, value in fields.data.items():
        if name.lower() in wrong and value is not None:
            fields.fail(name, "does not belong there: index and manifest cannot be told apart")
