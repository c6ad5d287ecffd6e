"""`oci:PATH[:REFERENCE]`: an image layout in a local directory (image-spec image-layout.md).

A layout that came in an archive is as hostile as a registry: no link in it is followed (attack: B19).
"""

from __future__ import annotations

import os
import re
import stat

import trio  # noqa: TID253  imported with a transport only

from layers import document
from layers.digest import digest_bytes
from layers.errors import BlobNotFound, DigestMismatch, ImageNotFound, InvalidManifest, SizeMismatch
from layers.manifest import Descriptor, find_media_type
from layers.reference import Reference
from rootless.errors import ImageError, os_error_text
from rootless.registry.settings import MAX_MANIFEST_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from rootless.registry.settings import RegistrySettings

REF_NAME = "org.opencontainers.image.ref.name"
_PIECE_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not keep us waiting


class OciTransport:
    """Opens sources from "PATH[:REFERENCE]"; the path ends at the first colon, as for skopeo and podman."""

    def open(self, rest: str, settings: RegistrySettings) -> LayoutSource:
        path, _, reference = rest.partition(":")
        if not path:
            raise ImageError("cannot pull from `oci:`: it needs a path", reference="transport")
        return LayoutSource(os.path.abspath(path), reference)


class LayoutSource:
    """One image in a layout; see `transport.base.Source`. Owns descriptors of its directories while entered.

    The name that the image gets is REFERENCE, below localhost/ if it names no registry, as podman does it;
    with no REFERENCE it is the directory's own, `localhost/NAME:latest`.
    """

    def __init__(self, path: str, reference: str) -> None:
        self._path = path
        self._wanted = reference
        self.name = _local_name(path, reference)
        self.title = f"{reference or 'the only image'}: Pulling from {path}"
        self._root = self._blobs = -1

    async def __aenter__(self) -> Self:
        try:
            self._root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._blobs = self._open_directory("blobs", "sha256")
        except OSError as exc:
            self._close()
            raise ImageError(
                f"cannot open the image layout: {os_error_text(exc)}", on=self._path, reference="image-layout"
            ) from exc
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._close()

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        descriptor = wanted or self._find_root()
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise InvalidManifest(
                f"invalid manifest: it has more than {MAX_MANIFEST_BYTES} bytes", on=self._path
            )
        data = self._read(self._open_blob(descriptor), descriptor.size + 1)
        if len(data) != descriptor.size:
            raise SizeMismatch(expected=descriptor.size, actual=len(data), on=descriptor.digest)
        actual = digest_bytes(data)
        if actual != descriptor.digest:
            raise DigestMismatch(expected=descriptor.digest, actual=actual, on=self._path)
        media_type = find_media_type(data, descriptor.media_type)
        return Descriptor(media_type=media_type, digest=actual, size=len(data)), data

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        fd = self._open_blob(descriptor)
        try:
            size = os.fstat(fd).st_size
            if size != descriptor.size:
                raise SizeMismatch(expected=descriptor.size, actual=size, on=descriptor.digest)
            os.lseek(fd, offset, os.SEEK_SET)
            while piece := await trio.to_thread.run_sync(os.read, fd, _PIECE_BYTES):
                yield piece
        finally:
            os.close(fd)

    def _find_root(self) -> Descriptor:
        """Return what index.json names by the reference, or its only entry."""
        try:
            fd = os.open("index.json", _OPEN, dir_fd=self._root)
        except OSError as exc:
            raise ImageError(
                f"cannot open the image layout's index.json: {os_error_text(exc)}",
                on=self._path,
                reference="image-layout",
            ) from exc
        data = self._read(fd, MAX_MANIFEST_BYTES + 1)
        entries = document.decode(data, "index.json").children("manifests", required=True)
        found = [Descriptor.from_fields(entry) for entry in entries]
        if self._wanted:
            found = [item for item in found if item.annotations.get(REF_NAME) == self._wanted]
        if len(found) == 1:
            return found[0]
        what = f"named `{self._wanted}`" if self._wanted else "in it; say which with oci:PATH:REFERENCE"
        raise ImageNotFound(f"cannot find the image: there are {len(found)} {what}", on=self._path)

    def _open_directory(self, *names: str) -> int:
        """Open a directory below the root; no part of the way may be a symlink."""
        current = os.dup(self._root)
        for name in names:
            try:
                inner = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=current)
            finally:
                os.close(current)
            current = inner
        return current

    def _open_blob(self, descriptor: Descriptor) -> int:
        """Open a blob for reading; the caller owns the descriptor.

        Raises:
            BlobNotFound: it is missing, or anything but a regular file.
        """
        try:
            fd = os.open(descriptor.digest.encoded, _OPEN, dir_fd=self._blobs)
        except OSError as exc:
            raise BlobNotFound(
                f"cannot open blob of the image layout: {os_error_text(exc)}", on=descriptor.digest
            ) from exc
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise BlobNotFound("cannot read blob of the image layout: it is no file", on=descriptor.digest)
        return fd

    def _read(self, fd: int, limit: int) -> bytes:
        """Read up to `limit` bytes of a file and close it."""
        with open(fd, "rb") as file:
            return file.read(limit)

    def _close(self) -> None:
        for fd in (self._root, self._blobs):
            if fd >= 0:
                os.close(fd)
        self._root = self._blobs = -1


def _local_name(path: str, reference: str) -> str:
    """Return the canonical name for an image of a layout.

    Raises:
        InvalidReference: the reference cannot be an image's name.
    """
    first, slash, _ = reference.partition("/")
    if slash and (first == "localhost" or set(first) & set(".:") or first != first.lower()):
        return Reference.parse(reference).canonical
    directory = re.sub(r"[^a-z0-9]+", "-", os.path.basename(path).lower()).strip("-")
    return Reference.parse(f"localhost/{reference or directory or 'image'}").canonical


TRANSPORT = OciTransport()
