from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layers import media
from layers.digest import Digest, digest_bytes
from layers.gc import garbage
from tests.helpers.blobs import as_json, config_json, describe, manifest_json

if TYPE_CHECKING:
    from layers.manifest import Descriptor


class Blobs(dict[Digest, bytes]):
    def add(self, data: bytes, media_type: str = media.OCI_LAYER) -> Descriptor:
        self[digest_bytes(data)] = data
        return describe(data, media_type)

    def image(self, name: str, *layers: bytes) -> Descriptor:
        described = [self.add(layer) for layer in layers]
        config = self.add(config_json(*map(digest_bytes, layers), User=name), media.OCI_CONFIG)
        return self.add(manifest_json(config, *described), media.OCI_MANIFEST)

    def config_of(self, manifest: Descriptor) -> str:
        import json

        return str(json.loads(self[manifest.digest])["config"]["digest"])

    def index(self, *manifests: Descriptor) -> Descriptor:
        document = {
            "schemaVersion": 2,
            "mediaType": media.OCI_INDEX,
            "manifests": [m.to_json() for m in manifests],
        }
        return self.add(as_json(document), media.OCI_INDEX)

    def garbage(self, *roots: Descriptor, in_use: tuple[str, ...] = ()) -> list[Digest]:
        present = {digest: len(data) for digest, data in self.items()}
        return garbage(roots, present, in_use=in_use, read=self.get)


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


def test_everything_an_image_needs_stays_and_the_rest_goes(blobs: Blobs) -> None:
    kept = blobs.image("kept", b"base", b"top")
    before = set(blobs)
    blobs.image("gone", b"base", b"other")
    assert set(blobs.garbage(kept)) == set(blobs) - before
    assert digest_bytes(b"base") not in blobs.garbage(kept)


def test_without_images_everything_goes(blobs: Blobs) -> None:
    blobs.image("x", b"base")
    assert blobs.garbage() == sorted(blobs)


def test_images_below_nested_indexes_stay(blobs: Blobs) -> None:
    root = blobs.index(blobs.index(blobs.image("a", b"1")), blobs.image("b", b"2"))
    assert blobs.garbage(root) == []


def test_index_with_missing_children_keeps_the_others(blobs: Blobs) -> None:
    missing = describe(b"not here", media.OCI_MANIFEST)
    root = blobs.index(missing, blobs.image("b", b"2"))
    assert blobs.garbage(root) == []


def test_index_that_names_itself_ends(blobs: Blobs) -> None:
    root = blobs.index(describe(b"child", media.OCI_INDEX))
    child = blobs.index(root)
    blobs[digest_bytes(b"child")] = blobs[child.digest]
    del blobs[child.digest]
    assert blobs.garbage(root) == []


def test_image_of_a_container_stays_without_a_name(blobs: Blobs) -> None:
    used = blobs.image("used", b"base", b"top")
    needed = set(blobs)
    blobs.image("gone", b"other")
    blobs.add(b"{ not a manifest")
    assert set(blobs.garbage(in_use=(blobs.config_of(used),))) == set(blobs) - needed


def test_image_id_of_nothing_changes_nothing(blobs: Blobs) -> None:
    kept = blobs.image("kept", b"base")
    assert blobs.garbage(kept, in_use=("sha256:" + "0" * 64,)) == []


def test_root_that_cannot_be_read_is_itself_kept(blobs: Blobs) -> None:
    broken = blobs.add(b"\xff garbage", media.OCI_MANIFEST)
    broken_index = blobs.add(b"\xfe garbage", media.OCI_INDEX)
    other = blobs.add(b"layer")
    assert blobs.garbage(broken, broken_index) == [other.digest]
