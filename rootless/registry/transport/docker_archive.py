"""`docker-archive:PATH[:NAME[:TAG]]`, or `:@NUMBER`: what `docker save` writes and `docker load` reads.

The archive's manifest.json lists images: a config, plain layers, names. A manifest is made from that, the
same one each time. Some programs compress the layers; those are taken as they are.
Format: Docker Engine API, "Export an image"; image-spec has none of it.
"""

from __future__ import annotations

import os

import trio  # noqa: TID253  imported with a transport only

from layers import document, jsontext, media
from layers.decompress import PlainStream, detect
from layers.digest import Digest, digest_bytes, is_digest
from layers.errors import (
    DigestMismatch,
    ImageNotFound,
    InvalidArchive,
    InvalidLayer,
    InvalidManifest,
    SizeMismatch,
)
from layers.manifest import (
    Descriptor,
    Manifest,
    check_consistency,
    check_is_image,
    parse_config,
    parse_manifest,
)
from layers.reference import Reference
from layers.tarheader import BLOCK
from rootless.registry.settings import MAX_MANIFEST_BYTES
from rootless.registry.transport.files import PIECE_BYTES, ArchiveFiles, scratch_directory, write_all
from rootless.registry.transport.oci import local_name, split_path
from rootless.registry.transport.outputs import ArchiveOutput, cannot_write, read_back

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any, Self

    from layers.document import Fields
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Read
    from rootless.registry.transport.files import Files

MANIFEST = "manifest.json"
_LAYER_TYPES = {
    "none": media.OCI_LAYER,
    "gzip": media.OCI_LAYER_GZIP,
    "zstd": media.OCI_LAYER_ZSTD,
}


class DockerArchiveTransport:
    """Archives of `docker save`."""

    def open(self, rest: str, settings: RegistrySettings) -> DockerArchiveSource:
        path, reference = split_path(rest, "docker-archive")
        files = ArchiveFiles(path, scratch=scratch_directory(settings))
        return DockerArchiveSource(files, reference)

    def open_destination(self, rest: str, settings: RegistrySettings) -> DockerArchiveDestination:
        path, reference = split_path(rest, "docker-archive")
        names = (Reference.parse(reference).familiar,) if reference else ()
        return DockerArchiveDestination(ArchiveOutput(path, scratch=scratch_directory(settings)), names=names)


class ArchivedImage:
    """One image as manifest.json has it: names of entries, and names of the image."""

    __slots__ = ("config", "layers", "tags")

    def __init__(self, fields: Fields) -> None:
        self.config = fields.text("Config")
        self.tags = fields.texts("RepoTags")
        self.layers = fields.texts("Layers")


class DockerArchiveSource:
    """One image of an archive; see `transport.base.Source`.

    Its name is the one asked for, else its first one, else made from the file's.
    """

    def __init__(
        self, files: Files, reference: str = "", *, image: ArchivedImage | None = None, name: str = ""
    ) -> None:
        """Set up.

        Args:
            reference: which image; "" is the only one.
            image: the image itself, in place of a search for it, and its canonical `name`.
        """
        self._files = files
        self._wanted = reference
        self._places: dict[Digest, str] = {}
        self.name = name
        self.title = f"{reference or 'the only image'}: Pulling from {files.place}"
        self._image = image

    async def __aenter__(self) -> Self:
        await self._files.__aenter__()
        if self._image is not None:
            return self
        try:
            self._image = choose_image(list_archive(self._files), self._wanted, place=self._files.place)
            tag = self._wanted if self._wanted[:1] not in ("", "@") else next(iter(self._image.tags), "")
            self.name = Reference.parse(tag).canonical if tag else local_name(self._files.place, "")
        except BaseException as exc:
            await self._files.__aexit__(type(exc), exc, None)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._files.__aexit__(*exc)

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        assert self._image is not None
        data = await trio.to_thread.run_sync(self._make_manifest, self._image)
        made = Descriptor(media_type=media.OCI_MANIFEST, digest=digest_bytes(data), size=len(data))
        if wanted is not None and wanted.digest != made.digest:
            raise DigestMismatch(expected=wanted.digest, actual=made.digest, on=self._files.place)
        return made, data

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        place = self._places[descriptor.digest]
        return self._files.pieces(place, size=descriptor.size, offset=offset)

    def _make_manifest(self, image: ArchivedImage) -> bytes:
        data = self._files.read(image.config, MAX_MANIFEST_BYTES)
        claimed = _digest_in(image.config)
        digest = digest_bytes(data)
        if claimed not in (None, digest):
            raise DigestMismatch(
                expected=str(claimed), actual=digest, on=f"{self._files.place}: {image.config}"
            )
        config = parse_config(data)
        if len(config.diff_ids) != len(image.layers):
            raise InvalidManifest(
                f"invalid image: the archive lists {len(image.layers)} layers, "
                f"its config has {len(config.diff_ids)} diff_ids",
                on=f"{self._files.place}: {image.config}",
            )
        self._places[digest] = image.config
        layers = [self._describe(*pair) for pair in zip(image.layers, config.diff_ids, strict=True)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": {"mediaType": media.OCI_CONFIG, "digest": digest, "size": len(data)},
            "layers": [layer.to_json() for layer in layers],
        }
        return jsontext.dumps(manifest, compact=True).encode()

    def _describe(self, name: str, diff_id: Digest) -> Descriptor:
        """Return what a layer is: a plain one is named by its diff id, which its bytes are held to later."""
        with self._files.open(name) as file:
            compression = detect(file.read(BLOCK))
            if compression not in _LAYER_TYPES:
                raise InvalidArchive(
                    f"cannot use layer: it is compressed with {compression}",
                    on=f"{self._files.place}: {name}",
                )
            digest = diff_id if compression == "none" else _digest_in(name) or _hash(file)
            self._places[digest] = name
            return Descriptor(media_type=_LAYER_TYPES[compression], digest=digest, size=file.size)


class DockerArchiveDestination:
    """Where images of an archive are written; see `transport.base.Destination`.

    Compressed layers are written plain, as Docker does.

    Attributes:
        names: of the next image, as Docker shows them.
    """

    accepts: frozenset[str] | None = media.MANIFESTS

    def __init__(self, output: ArchiveOutput, *, names: tuple[str, ...] = ()) -> None:
        self.name = output.place
        self.names = names
        self._output = output
        self._configs: dict[Digest, bytes] = {}
        self._plain: dict[Digest, Digest] = {}
        self._images: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        await self._output.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._output.end(self._put_listing, *exc)

    async def has_blob(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self._plain or descriptor.digest in self._configs

    async def put_blob(self, descriptor: Descriptor, read: Read) -> None:
        digest = descriptor.digest
        if descriptor.media_type in media.CONFIGS:
            self._configs[digest] = data = await _collect(descriptor, read)
            await self._output.put_bytes(f"{digest.encoded}.json", data)
        elif media.compression_of(descriptor.media_type) == "none":
            await self._output.put(_layer_name(digest), read, size=descriptor.size)
            self._plain[digest] = digest
        else:
            await self._put_compressed(descriptor, read)

    async def put_manifest(self, data: bytes, descriptor: Descriptor, *, final: bool) -> None:
        manifest = parse_manifest(data, descriptor.media_type)
        check_is_image(manifest)
        config = parse_config(self._configs[manifest.config.digest])
        check_consistency(manifest, config)
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            if self._plain[layer.digest] != diff_id:
                raise DigestMismatch(expected=diff_id, actual=self._plain[layer.digest], on=layer.digest)
        self._images.append(self._listed(manifest))

    async def _put_listing(self) -> None:
        listing = jsontext.dumps(self._images, compact=True).encode()
        await self._output.put_bytes(MANIFEST, listing)

    def _listed(self, manifest: Manifest) -> dict[str, Any]:
        return {
            "Config": f"{manifest.config.digest.encoded}.json",
            "RepoTags": list(self.names) or None,
            "Layers": [_layer_name(self._plain[layer.digest]) for layer in manifest.layers],
        }

    async def _put_compressed(self, descriptor: Descriptor, read: Read) -> None:
        """Write a layer by way of a file: how long it is plain nobody knows before."""
        fd = self._output.open_scratch()
        try:
            size, digest = await _decompress(descriptor, read, fd)
            await self._output.put(_layer_name(digest), read_back(fd, size), size=size)
            self._plain[descriptor.digest] = digest
        finally:
            os.close(fd)


def list_archive(files: Files) -> list[ArchivedImage]:
    """Return the images of an archive.

    Raises:
        BlobNotFound, InvalidManifest: its manifest.json is missing or malformed.
    """
    data = files.read(MANIFEST, MAX_MANIFEST_BYTES)
    # It is an array, and the reader of hostile documents takes objects.
    fields = document.decode(b'{"images":' + data + b"}", MANIFEST, max_bytes=MAX_MANIFEST_BYTES + 16)
    return [ArchivedImage(item) for item in fields.children("images", required=True)]


def choose_image(images: list[ArchivedImage], wanted: str, *, place: str) -> ArchivedImage:
    """Return the image that a reference means: a name, "@NUMBER", or "" for the only one.

    Raises:
        ImageNotFound: there is none, or more than one. InvalidReference: that is no name.
    """
    if wanted.startswith("@"):
        number = wanted[1:]
        found = images[int(number) :][:1] if number.isascii() and number.isdecimal() else []
    elif wanted:
        name = Reference.parse(wanted).canonical
        found = [i for i in images if name in [Reference.parse(tag).canonical for tag in i.tags]]
    else:
        found = images
    if len(found) == 1:
        return found[0]
    what = f"named `{wanted}`" if wanted else "in it; say which with docker-archive:PATH:NAME"
    raise ImageNotFound(f"cannot find the image: there are {len(found)} {what}", on=place)


def _layer_name(digest: Digest) -> str:
    return f"{digest.encoded}.tar"


def _digest_in(name: str) -> Digest | None:
    """Return the digest that a name claims: "<hex>.json", "blobs/sha256/<hex>"."""
    text = "sha256:" + name.rpartition("/")[2].removesuffix(".json")
    return Digest(text) if is_digest(text) else None


def _hash(file: Any) -> Digest:
    import hashlib

    found = hashlib.sha256()
    position = 0
    while piece := file.read(PIECE_BYTES, position):
        found.update(piece)
        position += len(piece)
    return Digest("sha256:" + found.hexdigest())


async def _collect(descriptor: Descriptor, read: Read) -> bytes:
    if descriptor.size > MAX_MANIFEST_BYTES:
        raise SizeMismatch(expected=MAX_MANIFEST_BYTES, actual=descriptor.size, on=descriptor.digest)
    data = bytearray()
    async for piece in read():
        data += piece
    return bytes(data)


async def _decompress(descriptor: Descriptor, read: Read, target: int) -> tuple[int, Digest]:
    """Write a layer's plain bytes to a file; return their number and digest."""
    compression = media.compression_of(descriptor.media_type)
    receiver, sender = os.pipe2(os.O_CLOEXEC)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_feed, read, sender)
            written = await trio.to_thread.run_sync(_write_plain, receiver, compression, target)
    finally:
        os.close(receiver)
    if isinstance(written, InvalidLayer):  # and the feed has not told that these are not the digest's bytes
        raise written
    return written


async def _feed(read: Read, sender: int) -> None:
    pieces = read()
    try:
        async with trio.lowlevel.FdStream(sender) as stream:
            async for piece in pieces:
                await stream.send_all(piece)
    finally:
        with trio.CancelScope(shield=True):
            await pieces.aclose()


def _write_plain(source: int, compression: str, target: int) -> tuple[int, Digest] | InvalidLayer:
    stream = PlainStream(source, compression)
    try:
        for chunk in stream:
            write_all(target, chunk)
    except InvalidLayer as exc:
        while os.read(source, PIECE_BYTES):  # to the end: bytes that are not those of the digest explain more
            pass
        return exc
    except OSError as exc:
        raise cannot_write("temporary file", exc) from exc
    finally:
        stream.close()
    return stream.plain_bytes, stream.digest


TRANSPORT = DockerArchiveTransport()
