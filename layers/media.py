"""Media types of images, as OCI and Docker name them, and what they say about bytes. Pure; ring 1.

Spec: image-spec media-types.md; Docker's "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

from layers.errors import UnknownMediaType

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_GZIP = _OCI_FOREIGN + "+gzip"

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES = frozenset((OCI_INDEX, DOCKER_LIST))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))
SCHEMA1 = frozenset((DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED))
ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
"""What to ask a registry for. Schema 1 is not asked for: registries would convert to it."""

_COMPRESSION = {
    OCI_LAYER: "none",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    _OCI_FOREIGN: "none",
    OCI_FOREIGN_GZIP: "gzip",
    _OCI_FOREIGN + "+zstd": "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN_GZIP: "gzip",
}
LAYERS = frozenset(_COMPRESSION)


def is_index(media_type: str) -> bool:
    return media_type in INDEXES


def is_manifest(media_type: str) -> bool:
    """Tell whether it is the manifest of one image (not an index)."""
    return media_type in MANIFESTS


def is_layer(media_type: str) -> bool:
    return media_type in _COMPRESSION


def layer_type(compression: str, *, manifest: str) -> str:
    """Return the media type of a layer in a manifest of this media type, of the same family."""
    family = DOCKER_LAYER if manifest == DOCKER_MANIFEST else OCI_LAYER
    separator = "." if family == DOCKER_LAYER else "+"
    return family if compression == "none" else family + separator + compression


def compression_of(media_type: str) -> str:
    """Return "none", "gzip" or "zstd".

    Raises:
        UnknownMediaType: not a layer that this library can unpack.
    """
    try:
        return _COMPRESSION[media_type]
    except KeyError:
        raise UnknownMediaType(
            "cannot unpack layer: its media type is unknown", on=media_type[:160]
        ) from None


def essence(content_type: str) -> str:
    """Return the media type of a Content-Type header: no parameters, lower case (RFC 9110 §8.3.1)."""
    return content_type.partition(";")[0].strip().lower()
