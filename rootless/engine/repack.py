"""Compress the layers of an image anew, for a push: the store gets blobs that no image there names.

The files stay the same, and so do config, image id and diff ids; the manifest is another one.
"""

from __future__ import annotations

import os

import trio  # noqa: TID253  never on the launch path

from layers import document, jsontext, media
from layers.convert import oci_type
from layers.decompress import decoder_of
from layers.errors import DigestMismatch, LayersError
from layers.manifest import Descriptor, parse_config, parse_manifest
from layers.newlayer import NewLayer
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from layers.digest import Digest
    from layers.store.directory import ImageLayout

_LEVELS = {"gzip": 9, "zstd": 22}
_PACKED = {"gzip": media.OCI_LAYER_GZIP, "zstd": media.OCI_LAYER_ZSTD}


class Packing:
    """How layers are to be compressed: "gzip" or "zstd", and its level, None for our choice."""

    __slots__ = ("compression", "level")

    def __init__(self, compression: str, level: int | None = None) -> None:
        self.compression = compression
        self.level = level


def packing_of(compression: str, level: int | None = None, *, form: str) -> Packing | None:
    """Return how layers are to be compressed anew, None for as they are.

    Args:
        compression: "" for none. form: of the manifest, "" for its own.
    Raises:
        UsageError: there is no such compression or level, or the format does not know it.
    """
    if not compression:
        if level is not None:
            raise UsageError("--compression-level needs --compression")
        return None
    if compression not in _LEVELS:
        raise UsageError(f"invalid compression: {compression!r} is neither gzip nor zstd")
    if compression == "zstd" and form == "docker":
        raise UsageError("Docker's format has no zstd: --compression zstd goes with --format oci")
    if level is not None and not 1 <= level <= _LEVELS[compression]:
        raise UsageError(f"invalid compression level: {compression} takes 1 to {_LEVELS[compression]}")
    return Packing(compression, level)


async def repack(layout: ImageLayout, root: Descriptor, packing: Packing) -> Descriptor:
    """Return the manifest of the same image in another compression; the caller keeps sweeps away meanwhile.

    Layers that have the compression already stay as they are, unless a level is wanted.

    Raises:
        LayersError: a layer is damaged. StoreError: the disk is full.
    """
    data = layout.read_blob(root.digest)
    manifest = parse_manifest(data, root.media_type)
    config = parse_config(layout.read_blob(manifest.config.digest))
    layers = list(manifest.layers)
    spare = trio.CapacityLimiter(max(1, len(os.sched_getaffinity(0))))

    async def work(number: int, diff_id: Digest) -> None:
        made = await trio.to_thread.run_sync(
            _repack_layer, layout, layers[number], diff_id, packing, limiter=spare
        )
        layers[number] = made

    async with trio.open_nursery() as nursery:
        for number, (layer, diff_id) in enumerate(zip(manifest.layers, config.diff_ids, strict=True)):
            if packing.level is not None or media.compression_of(layer.media_type) != packing.compression:
                nursery.start_soon(work, number, diff_id)
    if layers == list(manifest.layers):
        return root
    fields = document.decode(data, "manifest").data
    document_bytes = jsontext.dumps(with_layers(fields, layers, media_type=root.media_type)).encode()
    return Descriptor(
        media_type=media.OCI_MANIFEST, digest=layout.add_blob(document_bytes), size=len(document_bytes)
    )


def with_layers(fields: dict[str, Any], layers: Sequence[Descriptor], *, media_type: str) -> dict[str, Any]:
    """Return a manifest of OCI's types that has other layers, and else what it had. Pure.

    Args:
        fields: the manifest that was. media_type: of it.
    """
    config = dict(fields["config"])
    config["mediaType"] = oci_type(config["mediaType"])
    shown = []
    for layer in layers:
        item = layer.to_json()
        item["mediaType"] = oci_type(layer.media_type)
        shown.append(item)
    return {**fields, "mediaType": oci_type(media_type), "config": config, "layers": shown}


def _repack_layer(layout: ImageLayout, layer: Descriptor, diff_id: Digest, packing: Packing) -> Descriptor:
    """Make one layer; its plain bytes are held to the diff id, whatever the compressed ones were."""
    fd = layout.open_blob(layer.digest)
    try:
        decode = decoder_of(media.compression_of(layer.media_type))
        with layout.create_blob() as blob:
            new = NewLayer(blob, compression=packing.compression, level=packing.level)
            for chunk in decode(lambda count: os.read(fd, count)):
                new.write(chunk)
            actual = new.finish()
            if actual != diff_id:
                raise DigestMismatch(expected=diff_id, actual=actual)
            size = blob.size
            digest = blob.commit()
    except LayersError as exc:
        exc.on = exc.on or layer.digest
        raise
    finally:
        os.close(fd)
    return Descriptor(
        media_type=_PACKED[packing.compression], digest=digest, size=size, annotations=layer.annotations
    )
