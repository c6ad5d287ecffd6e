"""Write manifests and indexes in the other family of media types, OCI's or Docker's. Pure.

Only documents change: configs and layers keep their bytes, and so their digests. Docker's schema 2 has no
zstd and no annotations. Specs: image-spec manifest.md, image-index.md; distribution's "Image Manifest
Version 2, Schema 2".
"""

from __future__ import annotations

from layers import document, jsontext, media
from layers.digest import digest_bytes
from layers.errors import UnknownMediaType
from layers.manifest import Descriptor, check_is_image, parse_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from layers.digest import Digest

DOCKER = "docker"
OCI = "oci"
FORMATS = (OCI, DOCKER)

_TO_OCI = {
    media.DOCKER_LIST: media.OCI_INDEX,
    media.DOCKER_MANIFEST: media.OCI_MANIFEST,
    media.DOCKER_CONFIG: media.OCI_CONFIG,
    media.DOCKER_LAYER: media.OCI_LAYER,
    media.DOCKER_LAYER_GZIP: media.OCI_LAYER_GZIP,
    media.DOCKER_LAYER_ZSTD: media.OCI_LAYER_ZSTD,
    media.DOCKER_FOREIGN_GZIP: media.OCI_FOREIGN_GZIP,
}
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items() if docker != media.DOCKER_LAYER_ZSTD}
_TYPES = {OCI: _TO_OCI, DOCKER: _TO_DOCKER}
_MANIFEST_FIELDS = {DOCKER: ("schemaVersion", "mediaType", "config", "layers")}
_INDEX_FIELDS = {DOCKER: ("schemaVersion", "mediaType", "manifests")}
_DESCRIPTOR_FIELDS = {DOCKER: ("mediaType", "size", "digest", "urls", "platform")}


def oci_type(media_type: str) -> str:
    """Return what OCI calls it; what has no name there keeps its own."""
    return _TO_OCI.get(media_type, media_type)


def has_zstd(data: bytes, media_type: str) -> bool:
    """Tell whether an image has layers that Docker's format does not know."""
    layers = parse_manifest(data, media_type).layers
    return any(
        media.is_layer(layer.media_type) and media.compression_of(layer.media_type) == "zstd"
        for layer in layers
    )


def convert(
    data: bytes, descriptor: Descriptor, *, form: str, members: Mapping[Digest, Descriptor] | None = None
) -> tuple[Descriptor, bytes]:
    """Return a manifest or an index in a format; one that has it already stays as it is, bit for bit.

    Args:
        data: verified bytes of what the descriptor names.
        form: of FORMATS.
        members: digest → what that manifest of an index has become.

    Raises:
        UnknownMediaType: a manifest holds what Docker's format does not: zstd, or no image.
    """
    changed: dict[str, Descriptor] = {
        digest: made for digest, made in (members or {}).items() if made.digest != digest
    }
    wanted = _TYPES[form].get(descriptor.media_type, descriptor.media_type)
    if wanted == descriptor.media_type and not changed:
        return descriptor, data
    fields = document.decode(data, "manifest").data
    if media.is_index(descriptor.media_type):
        items = [_member(item, changed, form=form) for item in fields["manifests"]]
        made = _kept(fields, _INDEX_FIELDS.get(form)) | {"mediaType": wanted, "manifests": items}
    else:
        check_is_image(parse_manifest(data, descriptor.media_type))
        made = _kept(fields, _MANIFEST_FIELDS.get(form)) | {
            "mediaType": wanted,
            "config": _retyped(fields["config"], form),
            "layers": [_retyped(item, form) for item in fields["layers"]],
        }
    text = jsontext.dumps(made).encode()
    return Descriptor(media_type=wanted, digest=digest_bytes(text), size=len(text)), text


def _member(item: dict[str, Any], changed: Mapping[str, Descriptor], *, form: str) -> dict[str, Any]:
    made = changed.get(item["digest"])
    if made is None:
        return _kept(item, _DESCRIPTOR_FIELDS.get(form))
    same = {"mediaType": made.media_type, "digest": str(made.digest), "size": made.size}
    return _kept(item, _DESCRIPTOR_FIELDS.get(form)) | same


def _retyped(item: dict[str, Any], form: str) -> dict[str, Any]:
    """Return the descriptor of a config or a layer in the other family."""
    media_type = item["mediaType"]
    types = _TYPES[form]
    if media_type not in types and media_type not in types.values():
        raise UnknownMediaType(
            "cannot write the image in Docker's format: it has no such layers",
            on=f"{item['digest']} ({media_type[:160]})",
            hint="`rootless push --format docker` compresses layers of zstd anew; --format oci keeps them",
        )
    return _kept(item, _DESCRIPTOR_FIELDS.get(form)) | {"mediaType": types.get(media_type, media_type)}


def _kept(fields: Mapping[str, Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the fields that a format knows, in their order; None is all."""
    return {name: value for name, value in fields.items() if names is None or name in names}
