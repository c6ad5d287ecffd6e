"""`dir:PATH`: an image in a directory, blobs named by their digests, as skopeo's transport of that name.

version          Directory Transport Version: 1.1
manifest.json    the manifest, or the index
<hex>            a config or a layer
<hex>.manifest.json    a manifest that the index names
"""

from __future__ import annotations

import os

from layers.digest import digest_bytes
from layers.errors import DigestMismatch, SizeMismatch
from layers.manifest import Descriptor, find_media_type
from rootless.errors import ImageError
from rootless.registry.settings import MAX_MANIFEST_BYTES
from rootless.registry.transport.files import DirectoryFiles
from rootless.registry.transport.oci import local_name
from rootless.registry.transport.outputs import DirectoryOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Read

_MANIFEST = "manifest.json"
_VERSION = "version"
_VERSION_TEXT = b"Directory Transport Version: 1.1\n"


class DirectoryTransport:
    """Images in directories."""

    def open(self, rest: str, settings: RegistrySettings) -> DirectorySource:
        return DirectorySource(_path(rest))

    def open_destination(self, rest: str, settings: RegistrySettings) -> DirectoryDestination:
        return DirectoryDestination(_path(rest))


class DirectorySource:
    """The image of a directory, which also names it; see `transport.base.Source`."""

    def __init__(self, path: str) -> None:
        self._files = DirectoryFiles(path)
        self.name = local_name(path, "")
        self.title = f"the only image: Pulling from {path}"

    async def __aenter__(self) -> Self:
        await self._files.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._files.__aexit__(*exc)

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        name = _manifest_name(wanted) if wanted else _MANIFEST
        if wanted and not self._files.has(name):
            name = _MANIFEST  # the only one
        data = self._files.read(name, MAX_MANIFEST_BYTES)
        actual = digest_bytes(data)
        if wanted and wanted.size != len(data):
            raise SizeMismatch(expected=wanted.size, actual=len(data), on=wanted.digest)
        if wanted and wanted.digest != actual:
            raise DigestMismatch(expected=wanted.digest, actual=actual, on=f"{self._files.place}/{name}")
        media_type = find_media_type(data, wanted.media_type if wanted else "")
        return Descriptor(media_type=media_type, digest=actual, size=len(data)), data

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        return self._files.pieces(descriptor.digest.encoded, size=descriptor.size, offset=offset)


class DirectoryDestination:
    """Where one image is written; see `transport.base.Destination`.

    An image that is there already is replaced, and its files go; a directory with anything else is refused.
    """

    accepts: frozenset[str] | None = None

    def __init__(self, path: str) -> None:
        self.name = path
        self._output = DirectoryOutput(path)
        self._written = {_VERSION, _MANIFEST}
        self._before: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._output.__aenter__()
        try:
            self._before = set(os.listdir(self._output.root))
            if self._before and _VERSION not in self._before:
                raise ImageError(
                    "cannot write the image: the directory holds other files",
                    on=self.name,
                    reference="transport",
                )
            await self._output.put_bytes(_VERSION, _VERSION_TEXT)
        except BaseException as exc:
            await self._output.__aexit__(type(exc), exc, None)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if exc[0] is None:
                self._output.remove(self._before - self._written)
        finally:
            await self._output.__aexit__(*exc)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        found = self._output.has(descriptor.digest.encoded, descriptor.size)
        if found:
            self._written.add(descriptor.digest.encoded)
        return found

    async def put_blob(self, descriptor: Descriptor, read: Read) -> None:
        await self._output.put(descriptor.digest.encoded, read, size=descriptor.size)
        self._written.add(descriptor.digest.encoded)

    async def put_manifest(self, data: bytes, descriptor: Descriptor, *, final: bool) -> None:
        name = _MANIFEST if final else _manifest_name(descriptor)
        await self._output.put_bytes(name, data)
        self._written.add(name)


def _manifest_name(descriptor: Descriptor) -> str:
    return f"{descriptor.digest.encoded}.manifest.json"


def _path(rest: str) -> str:
    if not rest:
        raise ImageError("cannot use `dir:`: it needs a path", reference="transport")
    return os.path.abspath(rest)


TRANSPORT = DirectoryTransport()
