"""Manifests in the other family of media types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from layers import media
from layers.convert import DOCKER, OCI, convert, has_zstd
from layers.digest import digest_bytes
from layers.errors import UnknownMediaType
from layers.manifest import Descriptor, parse_index, parse_manifest

_OCI_LAYER = {"mediaType": media.OCI_LAYER_GZIP, "digest": "sha256:" + "1" * 64, "size": 7}


def named(value: dict[str, Any]) -> tuple[bytes, Descriptor]:
    data = json.dumps(value).encode()
    return data, Descriptor(media_type=value["mediaType"], digest=digest_bytes(data), size=len(data))


def manifest(*layers: dict[str, Any], config: str = media.OCI_CONFIG) -> tuple[bytes, Descriptor]:
    return named(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": config, "digest": "sha256:" + "2" * 64, "size": 3},
            "layers": list(layers),
            "annotations": {"a": "b"},
        }
    )


def test_manifest_becomes_docker_s_and_blobs_stay() -> None:
    data, root = manifest({**_OCI_LAYER, "annotations": {"c": "d"}})
    made, text = convert(data, root, form=DOCKER)
    assert made.digest == digest_bytes(text)
    assert made.size == len(text)
    found = parse_manifest(text, media.DOCKER_MANIFEST)
    assert found.config.media_type == media.DOCKER_CONFIG
    assert [layer.media_type for layer in found.layers] == [media.DOCKER_LAYER_GZIP]
    before = parse_manifest(data, media.OCI_MANIFEST)
    assert [(b.digest, b.size) for b in (found.config, *found.layers)] == [
        (b.digest, b.size) for b in (before.config, *before.layers)
    ]
    assert b"annotations" not in text


def test_conversion_there_and_back_names_the_same_types() -> None:
    data, root = manifest(_OCI_LAYER)
    docker, text = convert(data, root, form=DOCKER)
    back, again = convert(text, docker, form=OCI)
    assert back.media_type == media.OCI_MANIFEST
    assert parse_manifest(again, media.OCI_MANIFEST).layers == parse_manifest(data, root.media_type).layers


@pytest.mark.parametrize("spaces", [None, 1])
def test_what_has_the_format_stays_bit_for_bit(spaces: int | None) -> None:
    data = json.dumps(json.loads(manifest(_OCI_LAYER)[0]), indent=spaces).encode()
    root = Descriptor(media_type=media.OCI_MANIFEST, digest=digest_bytes(data), size=len(data))
    assert convert(data, root, form=OCI) == (root, data)


def test_zstd_is_refused_with_a_way_out() -> None:
    data, root = manifest({**_OCI_LAYER, "mediaType": media.OCI_LAYER_ZSTD})
    assert has_zstd(data, root.media_type)
    with pytest.raises(UnknownMediaType, match="no such layers") as caught:
        convert(data, root, form=DOCKER)
    assert "--format oci" in caught.value.hint


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(UnknownMediaType, match="not a container image"):
        convert(*manifest(_OCI_LAYER, config="application/vnd.cncf.helm.config.v1+json"), form=DOCKER)


def test_index_names_what_its_members_became() -> None:
    data, root = manifest(_OCI_LAYER)
    platform = {"os": "windows", "architecture": "amd64", "os.version": "10.0"}
    index, top = named(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_INDEX,
            "manifests": [{**root.to_json(), "platform": platform, "annotations": {"e": "f"}}],
            "annotations": {"g": "h"},
        }
    )
    made, _ = convert(data, root, form=DOCKER)
    _, text = convert(index, top, form=DOCKER, members={root.digest: made})
    (member,) = json.loads(text)["manifests"]
    assert member == {**made.to_json(), "platform": platform}
    assert parse_index(text, media.DOCKER_LIST).annotations == {}
