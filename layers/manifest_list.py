"""A manifest list in the making: an image index to which members are added, annotated and taken out. Pure.

What other tools wrote into it is kept. Spec: image-spec image-index.md.
"""

from __future__ import annotations

from layers import document, jsontext, media
from layers.digest import digest_bytes
from layers.errors import ImageNotFound
from layers.manifest import Descriptor, parse_index
from layers.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from layers.digest import Digest


class Traits(Record):
    """What an entry says of its member beside what it is; "" and nothing leave as it was what was there.

    Attributes:
        os, architecture, variant, os_version, os_features: of the platform, in Go's vocabulary.
        annotations: are added to those that there are.
    """

    __slots__ = ("annotations", "architecture", "os", "os_features", "os_version", "variant")
    os: str
    architecture: str
    variant: str
    os_version: str
    os_features: tuple[str, ...]
    annotations: dict[str, str]

    def __init__(
        self,
        *,
        os: str = "",
        architecture: str = "",
        variant: str = "",
        os_version: str = "",
        os_features: Sequence[str] = (),
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self._fill(
            os=os,
            architecture=architecture,
            variant=variant,
            os_version=os_version,
            os_features=tuple(os_features),
            annotations=dict(annotations or {}),
        )

    @classmethod
    def of_config(cls, data: bytes) -> Traits:
        """Return the platform that the config of an image names.

        Raises:
            InvalidManifest: it is malformed.
        """
        return cls._of(document.decode(data, "config"))

    @classmethod
    def of_item(cls, item: Mapping[str, Any]) -> Traits:
        """Return what an entry of an index, which is well-formed, says."""
        fields = document.Fields(dict(item), "manifest")
        platform = fields.child("platform")
        found = cls._of(platform) if platform else cls()
        return found.updated(cls(annotations=fields.text_map("annotations")))

    @classmethod
    def _of(cls, fields: document.Fields) -> Traits:
        return cls(
            os=fields.text("os", default=""),
            architecture=fields.text("architecture", default=""),
            variant=fields.text("variant", default=""),
            os_version=fields.text("os.version", default=""),
            os_features=fields.texts("os.features"),
        )

    def updated(self, other: Traits) -> Traits:
        """Return the same with what the other says in its place."""
        return Traits(
            os=other.os or self.os,
            architecture=other.architecture or self.architecture,
            variant=other.variant or self.variant,
            os_version=other.os_version or self.os_version,
            os_features=other.os_features or self.os_features,
            annotations={**self.annotations, **other.annotations},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields of an entry that say this."""
        platform = {
            "architecture": self.architecture,
            "os": self.os,
            "os.version": self.os_version,
            "os.features": list(self.os_features),
            "variant": self.variant,
        }
        shown = {"platform": {name: value for name, value in platform.items() if value}}
        return {name: value for name, value in (*shown.items(), ("annotations", self.annotations)) if value}


class ManifestList:
    """An index as a value; `with_…` methods return another one.

    Attributes:
        media_type: of an index, OCI's for a new one.
        items: the entries, as they stand in the document.
    """

    __slots__ = ("_extra", "items", "media_type")

    def __init__(
        self, items: Sequence[dict[str, Any]] = (), *, extra: Mapping[str, Any] | None = None
    ) -> None:
        self._extra = dict(extra or {"schemaVersion": 2, "mediaType": media.OCI_INDEX})
        self.media_type: str = self._extra.get("mediaType", media.OCI_INDEX)
        self.items = tuple(items)

    @classmethod
    def parse(cls, data: bytes, media_type: str) -> ManifestList:
        """Read an index.

        Raises:
            InvalidManifest: it is malformed. UnknownMediaType: it is no index.
        """
        parse_index(data, media_type)
        fields = document.decode(data, "index").data
        extra = {name: value for name, value in fields.items() if name != "manifests"}
        return cls(fields["manifests"], extra={**extra, "mediaType": media_type})

    def to_bytes(self) -> bytes:
        return jsontext.dumps({**self._extra, "manifests": list(self.items)}).encode()

    def described(self) -> tuple[Descriptor, bytes]:
        """Return the document, and what names it."""
        data = self.to_bytes()
        return Descriptor(media_type=self.media_type, digest=digest_bytes(data), size=len(data)), data

    def with_member(self, member: Descriptor, traits: Traits) -> ManifestList:
        """Add a manifest, in place of an entry that names the same one."""
        item = {"mediaType": member.media_type, "size": member.size, "digest": str(member.digest)}
        kept = [old for old in self.items if old["digest"] != member.digest]
        return ManifestList([*kept, item | traits.to_json()], extra=self._extra)

    def with_traits(self, digest: Digest, traits: Traits) -> ManifestList:
        """Change what is said of a member.

        Raises:
            ImageNotFound: it is none.
        """
        self._check(digest)
        items = [
            {**item, **Traits.of_item(item).updated(traits).to_json()} if item["digest"] == digest else item
            for item in self.items
        ]
        return ManifestList(items, extra=self._extra)

    def without_member(self, digest: Digest) -> ManifestList:
        """Take a manifest out.

        Raises:
            ImageNotFound: it is no member.
        """
        self._check(digest)
        return ManifestList([i for i in self.items if i["digest"] != digest], extra=self._extra)

    def _check(self, digest: Digest) -> None:
        if all(item["digest"] != digest for item in self.items):
            raise ImageNotFound("cannot find the manifest in the list", on=digest)
