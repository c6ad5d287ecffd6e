"""Manifest lists as values."""

from __future__ import annotations

import json

import pytest

from layers import media
from layers.digest import Digest, digest_bytes
from layers.errors import ImageNotFound, InvalidManifest, UnknownMediaType
from layers.manifest import Descriptor, parse_index
from layers.manifest_list import ManifestList, Traits

ONE = Descriptor(media_type=media.OCI_MANIFEST, digest=Digest("sha256:" + "1" * 64), size=5)
TWO = Descriptor(media_type=media.DOCKER_MANIFEST, digest=Digest("sha256:" + "2" * 64), size=6)
ARM = Traits(os="linux", architecture="arm", variant="v7")


def test_new_list_is_an_index_without_members() -> None:
    descriptor, data = ManifestList().described()
    assert descriptor.digest == digest_bytes(data)
    assert parse_index(data, media.OCI_INDEX).manifests == ()


def test_member_is_there_once_and_last_said_counts() -> None:
    made = ManifestList().with_member(ONE, Traits()).with_member(TWO, ARM).with_member(ONE, ARM)
    found = parse_index(made.to_bytes(), media.OCI_INDEX).manifests
    assert [entry.digest for entry in found] == [TWO.digest, ONE.digest]
    assert [str(entry.platform) for entry in found] == ["linux/arm/v7"] * 2


def test_traits_change_what_they_name_and_keep_the_rest() -> None:
    made = ManifestList().with_member(ONE, ARM).with_member(TWO, Traits())
    change = Traits(variant="v6", os_version="10.0", os_features=["sse4"], annotations={"a": "b"})
    (first, second) = made.with_traits(ONE.digest, change).with_traits(ONE.digest, Traits()).items
    assert first["platform"] == {
        "architecture": "arm",
        "os": "linux",
        "os.version": "10.0",
        "os.features": ["sse4"],
        "variant": "v6",
    }
    assert first["annotations"] == {"a": "b"}
    assert second == made.items[1]


def test_stranger_s_fields_survive() -> None:
    text = {"schemaVersion": 2, "manifests": [{**ONE.to_json(), "x": 1}], "annotations": {"k": "v"}}
    made = ManifestList.parse(json.dumps(text).encode(), media.OCI_INDEX).with_traits(ONE.digest, ARM)
    again = json.loads(made.to_bytes())
    assert again["annotations"] == {"k": "v"}
    assert again["manifests"][0]["x"] == 1


@pytest.mark.parametrize("change", ["without_member", "with_traits"])
def test_who_is_no_member_is_not_changed(change: str) -> None:
    made = ManifestList().with_member(ONE, ARM)
    arguments = (TWO.digest,) if change == "without_member" else (TWO.digest, ARM)
    with pytest.raises(ImageNotFound):
        getattr(made, change)(*arguments)
    assert made.without_member(ONE.digest).items == ()


def test_manifest_is_no_list() -> None:
    with pytest.raises(UnknownMediaType):
        ManifestList.parse(b"{}", media.OCI_MANIFEST)
    with pytest.raises(InvalidManifest):
        ManifestList.parse(b'{"schemaVersion": 2, "manifests": [], "layers": []}', media.OCI_INDEX)


def test_platform_is_read_from_a_config() -> None:
    data = b'{"os": "windows", "architecture": "amd64", "os.version": "10.0.1", "rootfs": {}}'
    assert Traits.of_config(data).to_json() == {
        "platform": {"architecture": "amd64", "os": "windows", "os.version": "10.0.1"}
    }
