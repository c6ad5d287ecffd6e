"""An image of this store as a source of images: what is unpacked from it is here already."""

from __future__ import annotations

import trio  # noqa: TID253  the engine's pull side, never on the launch path

from rootless.registry.settings import MAX_MANIFEST_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from layers.manifest import Descriptor
    from layers.store.directory import ImageLayout


class StoredImage:
    """See `registry.transport.base.Source`.

    Args:
        manifest: of the image.
        name: that it gets, "" for none.
    """

    def __init__(self, layout: ImageLayout, manifest: Descriptor, *, name: str) -> None:
        self._layout = layout
        self._manifest = manifest.with_annotations({})
        self.name = name
        self.title = f"{name or manifest.digest}: Unpacking"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        descriptor = wanted or self._manifest
        read = self._layout.read_blob
        return descriptor, await trio.to_thread.run_sync(read, descriptor.digest, MAX_MANIFEST_BYTES)

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield a blob that was not found in the store: it is missing, as the error says."""
        yield await trio.to_thread.run_sync(self._layout.read_blob, descriptor.digest)
