"""Blobs and layers that are made here."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from layers.digest import digest_bytes
from layers.newlayer import NewLayer
from layers.store.directory import ImageLayout

if TYPE_CHECKING:
    from pathlib import Path

TAR = b"".join(hashlib.sha256(bytes([n % 251])).digest() for n in range(40_000))


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    made = ImageLayout(tmp_path)
    made.ensure()
    return made


def temporaries(layout: ImageLayout) -> list[str]:
    return [name for name in os.listdir(os.path.join(layout.root, "ingest")) if name.endswith(".tmp")]


def make(layout: ImageLayout, pieces: list[bytes]) -> tuple[str, str, int]:
    with layout.create_blob() as blob:
        layer = NewLayer(blob)
        for piece in pieces:
            layer.write(piece)
        diff_id = layer.finish()
        return blob.commit(), diff_id, layer.plain_bytes


def test_layer_is_named_by_both_digests(layout: ImageLayout) -> None:
    digest, diff_id, size = make(layout, [TAR])
    stored = layout.read_blob(digest)
    assert gzip.decompress(stored) == TAR
    assert (diff_id, size) == (digest_bytes(TAR), len(TAR))
    assert stored[4:8] == bytes(4), "a time in gzip's header"
    assert os.stat(layout.blob_path(digest)).st_mode & 0o777 == 0o444
    assert temporaries(layout) == []


def test_same_bytes_make_the_same_blob_however_they_come(layout: ImageLayout) -> None:
    whole = make(layout, [TAR])
    assert make(layout, [TAR[n : n + 777] for n in range(0, len(TAR), 777)]) == whole
    assert len(list(layout.blobs())) == 1


def test_blob_that_is_not_committed_leaves_nothing(layout: ImageLayout) -> None:
    with layout.create_blob() as blob:
        blob.write(TAR)
        assert len(temporaries(layout)) == 1
    assert temporaries(layout) == []
    assert list(layout.blobs()) == []


def test_manifest_is_found_by_its_config(layout: ImageLayout) -> None:
    config = layout.add_blob(b"{}")
    media_type = "application/vnd.oci.image.config.v1+json"
    described = {"mediaType": media_type, "digest": config, "size": 2}
    text = json.dumps({"schemaVersion": 2, "layers": [], "config": described})
    manifest = layout.add_blob(text.encode())
    found = layout.find_manifest(config)
    assert found is not None
    assert (found.digest, found.size) == (manifest, len(text))
    assert layout.find_manifest(manifest) is None
