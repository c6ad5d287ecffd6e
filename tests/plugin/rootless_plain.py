"""A transport of somebody else: `plain:FILE` is an image of one layer, which is a tar archive.

Installed beside its metadata, as pip does it; the product finds it through the entry point alone. It can only
be read. What it uses of the product is what `rootless/registry/transport/base.py` asks for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Self

from layers import media
from layers.digest import digest_bytes
from layers.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rootless.registry.settings import RegistrySettings


class PlainSource:
    """See `rootless.registry.transport.base.Source`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._blobs: dict[str, bytes] = {}
        self.name = f"localhost/{path.stem}:latest"
        self.title = f"latest: Pulling from {path}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._blobs.clear()

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        layer = self._add(self._path.read_bytes(), media.OCI_LAYER)
        rootfs = {"type": "layers", "diff_ids": [layer.digest]}
        config = {"os": "linux", "architecture": "amd64", "config": {"Labels": {"made": "plainly"}}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": self._add(_json({**config, "rootfs": rootfs}), media.OCI_CONFIG).to_json(),
            "layers": [layer.to_json()],
        }
        data = _json(manifest)
        return self._add(data, media.OCI_MANIFEST), data

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        yield self._blobs[descriptor.digest][offset:]

    def _add(self, data: bytes, media_type: str) -> Descriptor:
        descriptor = Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))
        self._blobs[descriptor.digest] = data
        return descriptor


class PlainTransport:
    """See `rootless.registry.transport.base.Transport`."""

    def open(self, rest: str, settings: RegistrySettings) -> PlainSource:
        return PlainSource(Path(rest))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


TRANSPORT = PlainTransport()
