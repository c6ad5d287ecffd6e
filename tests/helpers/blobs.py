"""Small images made in memory, for tests of everything that reads manifests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from layers import media
from layers.digest import digest_bytes
from layers.manifest import Descriptor

if TYPE_CHECKING:
    from layers.store.directory import ImageLayout
    from layers.store.memory import MemoryStore


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def describe(data: bytes, media_type: str = media.OCI_LAYER, **rest: Any) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data), **rest)


def config_json(*diff_ids: str, **config: Any) -> bytes:
    return as_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        }
    )


def manifest_json(config: Descriptor, *layers: Descriptor) -> bytes:
    return as_json(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )


def add_image(store: ImageLayout | MemoryStore, *layers: bytes, **config: Any) -> Descriptor:
    """Store an image with these uncompressed layers and return its manifest's descriptor."""
    for layer in layers:
        with store.begin(describe(layer)) as ingest:
            if not ingest.present:
                ingest.write(layer[ingest.offset :])
                ingest.commit()
    raw = config_json(*map(digest_bytes, layers), **config)
    store.add_blob(raw)
    manifest = manifest_json(describe(raw, media.OCI_CONFIG), *map(describe, layers))
    store.add_blob(manifest)
    return describe(manifest, media.OCI_MANIFEST)
