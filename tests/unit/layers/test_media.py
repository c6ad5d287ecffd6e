from __future__ import annotations

import pytest

from layers import media
from layers.errors import UnknownMediaType


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        ("application/vnd.oci.image.layer.v1.tar", "none"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", "gzip"),
        ("application/vnd.oci.image.layer.v1.tar+zstd", "zstd"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "gzip"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip"),
    ],
)
def test_compression_of_layers(media_type: str, compression: str) -> None:
    assert media.is_layer(media_type)
    assert media.compression_of(media_type) == compression


@pytest.mark.parametrize("media_type", ["", "application/x-tar", media.OCI_CONFIG, media.OCI_LAYER + "+xz"])
def test_compression_of_anything_else_is_an_error(media_type: str) -> None:
    assert not media.is_layer(media_type)
    with pytest.raises(UnknownMediaType):
        media.compression_of(media_type)


def test_kinds_do_not_overlap() -> None:
    kinds = (media.INDEXES, media.MANIFESTS, media.CONFIGS, media.SCHEMA1, media.LAYERS)
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))


def test_essence_drops_parameters_and_case() -> None:
    assert media.essence(" Application/JSON ; charset=UTF-8") == "application/json"
