"""What a manifest that is pushed says: its kind, what must be there for it, whom it refers to. Pure."""

from __future__ import annotations

from layers import document, media
from layers.digest import Digest, digest_bytes
from layers.errors import LayersError
from layers.manifest import Descriptor, find_media_type, parse_index, parse_manifest
from rootless.model.value import Value
from rootless.registry.server.refusal import MANIFEST_INVALID, Refusal

_ELSEWHERE = (".foreign.", ".nondistributable.")
"""Layers of these kinds come from where their `urls` say: image-spec layer.md §Non-Distributable Layers."""


class Examined(Value):
    """A manifest or an index that was understood.

    Attributes:
        digest, size, media_type: of it.
        blobs, manifests: digests of what it is made of.
        subject: the manifest that it is about, None for none.
        artifact_type, annotations: what a list of referrers tells of it.
    """

    __slots__ = (
        "annotations",
        "artifact_type",
        "blobs",
        "digest",
        "manifests",
        "media_type",
        "size",
        "subject",
    )

    def __init__(
        self,
        *,
        digest: Digest,
        size: int,
        media_type: str,
        blobs: tuple[Digest, ...] = (),
        manifests: tuple[Digest, ...] = (),
        subject: Digest | None = None,
        artifact_type: str = "",
        annotations: dict[str, str] | None = None,
    ) -> None:
        self.digest = digest
        self.size = size
        self.media_type = media_type
        self.blobs = blobs
        self.manifests = manifests
        self.subject = subject
        self.artifact_type = artifact_type
        self.annotations = annotations or {}

    @property
    def referrer(self) -> Descriptor:
        """How the list of its subject's referrers names it."""
        return Descriptor(
            media_type=self.media_type,
            digest=self.digest,
            size=self.size,
            artifact_type=self.artifact_type,
            annotations=self.annotations,
        )


def examine(data: bytes, media_type: str) -> Examined:
    """Read a manifest or an index.

    Args:
        media_type: that it came with, "" for what it says of itself.
    Raises:
        Refusal: it is malformed, ambiguous or of another kind.
    """
    try:
        return _examine(data, find_media_type(data, media_type))
    except LayersError as exc:
        raise Refusal(400, MANIFEST_INVALID, str(exc)) from None


def _examine(data: bytes, media_type: str) -> Examined:
    digest = digest_bytes(data)
    if media.is_index(media_type):
        index = parse_index(data, media_type)
        subject = document.decode(data, "index").child("subject")
        return Examined(
            digest=digest,
            size=len(data),
            media_type=media_type,
            manifests=tuple(child.digest for child in index.manifests),
            subject=Descriptor.from_fields(subject).digest if subject else None,
            artifact_type=index.artifact_type,
            annotations=index.annotations,
        )
    manifest = parse_manifest(data, media_type)
    parts = (manifest.config, *(layer for layer in manifest.layers if not _is_elsewhere(layer)))
    return Examined(
        digest=digest,
        size=len(data),
        media_type=media_type,
        blobs=tuple(dict.fromkeys(part.digest for part in parts)),
        subject=manifest.subject.digest if manifest.subject else None,
        artifact_type=manifest.artifact_type or manifest.config.media_type,
        annotations=manifest.annotations,
    )


def _is_elsewhere(layer: Descriptor) -> bool:
    return any(word in layer.media_type for word in _ELSEWHERE)
