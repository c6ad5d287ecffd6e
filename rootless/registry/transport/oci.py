"""`oci:PATH[:REFERENCE]`, `oci-archive:PATH[:REFERENCE]`: an image layout in a directory, or in an archive.

The path ends at the first colon, as for skopeo and podman. Spec: image-spec image-layout.md.
"""

from __future__ import annotations

import os
import re

from layers import document
from layers.digest import digest_bytes
from layers.errors import BlobNotFound, DigestMismatch, ImageNotFound, InvalidManifest, SizeMismatch
from layers.index import ImageIndex
from layers.manifest import Descriptor, find_media_type
from layers.reference import Reference
from rootless.errors import ImageError
from rootless.registry.settings import MAX_MANIFEST_BYTES
from rootless.registry.transport.files import ArchiveFiles, DirectoryFiles, scratch_directory
from rootless.registry.transport.outputs import ArchiveOutput, DirectoryOutput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Read
    from rootless.registry.transport.files import Files
    from rootless.registry.transport.outputs import Output

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
"""The whole name, where Docker and containerd keep nothing but the tag in the other annotation."""


class OciTransport:
    """Image layouts in directories."""

    def open(self, rest: str, settings: RegistrySettings) -> LayoutSource:
        path, reference = split_path(rest, "oci")
        return LayoutSource(DirectoryFiles(path), reference)

    def open_destination(self, rest: str, settings: RegistrySettings) -> LayoutDestination:
        path, reference = split_path(rest, "oci")
        return LayoutDestination(DirectoryOutput(path), DirectoryFiles(path), names=_as_names(reference))


class OciArchiveTransport:
    """Image layouts in tar archives."""

    def open(self, rest: str, settings: RegistrySettings) -> LayoutSource:
        path, reference = split_path(rest, "oci-archive")
        return LayoutSource(ArchiveFiles(path, scratch=scratch_directory(settings)), reference)

    def open_destination(self, rest: str, settings: RegistrySettings) -> LayoutDestination:
        path, reference = split_path(rest, "oci-archive")
        return LayoutDestination(
            ArchiveOutput(path, scratch=scratch_directory(settings)), names=_as_names(reference)
        )


class LayoutSource:
    """One image in a layout; see `transport.base.Source`.

    The name that the image gets is REFERENCE, below localhost/ if it names no registry, as podman does it;
    with no REFERENCE it is the directory's own, `localhost/NAME:latest`.
    """

    def __init__(
        self, files: Files, reference: str = "", *, root: Descriptor | None = None, name: str | None = None
    ) -> None:
        """Set up.

        Args:
            reference: which image; "" is the only one.
            root: the image itself, in place of a search for it.
            name: its canonical name, if it is not made from the reference.
        """
        self._files = files
        self._wanted = reference
        self._known_root = root
        self.name = local_name(files.place, reference) if name is None else name
        self.title = f"{reference or 'the only image'}: Pulling from {files.place}"

    async def __aenter__(self) -> Self:
        await self._files.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._files.__aexit__(*exc)

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        place = self._files.place
        descriptor = wanted or self._known_root or self._find_root()
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise InvalidManifest(f"invalid manifest: it has more than {MAX_MANIFEST_BYTES} bytes", on=place)
        data = self._files.read(blob_name(descriptor), MAX_MANIFEST_BYTES)
        if len(data) != descriptor.size:
            raise SizeMismatch(expected=descriptor.size, actual=len(data), on=descriptor.digest)
        actual = digest_bytes(data)
        if actual != descriptor.digest:
            raise DigestMismatch(expected=descriptor.digest, actual=actual, on=place)
        media_type = find_media_type(data, descriptor.media_type)
        return Descriptor(media_type=media_type, digest=actual, size=len(data)), data

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        return self._files.pieces(blob_name(descriptor), size=descriptor.size, offset=offset)

    def _find_root(self) -> Descriptor:
        """Return what index.json names by the reference, or its only entry."""
        found = list_layout(self._files)
        if self._wanted:
            names = (IMAGE_NAME, REF_NAME)
            found = [d for d in found if self._wanted in [d.annotations.get(name) for name in names]]
        if len(found) == 1:
            return found[0]
        what = f"named `{self._wanted}`" if self._wanted else "in it; say which with PATH:REFERENCE"
        raise ImageNotFound(f"cannot find the image: there are {len(found)} {what}", on=self._files.place)


class LayoutDestination:
    """Where images are added to a layout; see `transport.base.Destination`.

    Attributes:
        names: of the next image; one without any is found by its digest only.
    """

    accepts: frozenset[str] | None = None

    def __init__(self, output: Output, present: Files | None = None, *, names: tuple[str, ...] = ()) -> None:
        """Set up.

        Args:
            present: the files of `output`, if it is a directory that may hold a layout already.
        """
        self.name = output.place
        self.names = names
        self._output = output
        self._present = present
        self._images: list[tuple[str, Descriptor]] = []

    async def __aenter__(self) -> Self:
        await self._output.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._output.end(self._put_index, *exc)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        return self._output.has(blob_name(descriptor), descriptor.size)

    async def put_blob(self, descriptor: Descriptor, read: Read) -> None:
        await self._output.put(blob_name(descriptor), read, size=descriptor.size)

    async def put_manifest(self, data: bytes, descriptor: Descriptor, *, final: bool) -> None:
        await self._output.put_bytes(blob_name(descriptor), data)
        if final:
            self._images += [(name, _named(name, descriptor)) for name in self.names or ("",)]

    async def _put_index(self) -> None:
        """Write what makes it a layout, last."""
        await self._output.put_bytes("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        async with self._output.alone():
            index = ImageIndex()
            if self._present is not None:
                async with self._present:
                    index = _read_index(self._present)
            for name, descriptor in self._images:
                index = index.with_replaced(name, descriptor)
            await self._output.put_bytes("index.json", index.to_bytes())


def list_layout(files: Files) -> list[Descriptor]:
    """Return the entries of a layout's index.json, with their annotations.

    Raises:
        BlobNotFound, InvalidManifest: there is none, or it is malformed.
    """
    data = files.read("index.json", MAX_MANIFEST_BYTES)
    entries = document.decode(data, "index.json").children("manifests", required=True)
    return [Descriptor.from_fields(entry) for entry in entries]


def name_of(root: Descriptor) -> str:
    """Return the name that an entry of index.json has, "" for none."""
    return root.annotations.get(IMAGE_NAME) or root.annotations.get(REF_NAME, "")


def split_path(rest: str, transport: str) -> tuple[str, str]:
    """Split "PATH[:REFERENCE]" into an absolute path and a reference.

    Raises:
        ImageError: there is no path.
    """
    path, _, reference = rest.partition(":")
    if not path:
        raise ImageError(f"cannot use `{transport}:`: it needs a path", reference="transport")
    return os.path.abspath(path), reference


def local_name(path: str, reference: str) -> str:
    """Return the canonical name for an image that lies at a path.

    Raises:
        InvalidReference: the reference cannot be an image's name.
    """
    first, slash, _ = reference.partition("/")
    if slash and (first == "localhost" or set(first) & set(".:") or first != first.lower()):
        return Reference.parse(reference).canonical
    directory = re.sub(r"[^a-z0-9]+", "-", os.path.basename(path).lower()).strip("-")
    return Reference.parse(f"localhost/{reference or directory or 'image'}").canonical


def blob_name(descriptor: Descriptor) -> str:
    """Return where a blob lies in a layout."""
    return f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.encoded}"


def _read_index(files: Files) -> ImageIndex:
    try:
        return ImageIndex.parse(files.read("index.json", MAX_MANIFEST_BYTES))
    except BlobNotFound:
        return ImageIndex()


def _named(name: str, descriptor: Descriptor) -> Descriptor:
    """Return a descriptor with the annotations that a name needs beside its own one, and no others."""
    return descriptor.with_annotations({IMAGE_NAME: name} if name and local_name("", name) == name else {})


def _as_names(reference: str) -> tuple[str, ...]:
    return (reference,) if reference else ()


TRANSPORT = OciTransport()
ARCHIVE = OciArchiveTransport()
