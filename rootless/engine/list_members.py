"""What a manifest list is made of: found in this store or at its registry, and read from there for a push."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing

import trio  # noqa: TID253  never on the launch path

from layers import media
from layers.digest import Digest, VerifyingHasher
from layers.errors import InvalidManifest, SizeMismatch
from layers.manifest import (
    MAX_INDEX_DEPTH,
    Descriptor,
    Platform,
    choose_platform,
    parse_index,
    parse_manifest,
)
from layers.manifest_list import ManifestList, Traits
from layers.store.directory import ImageLayout
from rootless.engine import loop
from rootless.engine.admission import Admission
from rootless.engine.explain import explained
from rootless.engine.image_lookup import find_entry
from rootless.engine.manifest_lists import Member, member_name, names_of
from rootless.engine.stored import StoredImage
from rootless.errors import NotFound
from rootless.registry.settings import MAX_MANIFEST_BYTES
from rootless.registry.transport.base import open_source
from rootless.registry.transport.docker import RegistrySource
from rootless.registry.transport.files import DirectoryFiles
from rootless.registry.transport.oci import LayoutSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import Self

    from layers.index import ImageEntry
    from rootless.paths import Paths
    from rootless.registry.settings import RegistrySettings
    from rootless.registry.transport.base import Source


class Shown:
    """A manifest with its bytes, for `manifest inspect`; `item` is its entry, as it stands in an index."""

    __slots__ = ("data", "descriptor", "item")

    def __init__(self, descriptor: Descriptor, data: bytes, item: dict[str, object]) -> None:
        self.descriptor = descriptor
        self.data = data
        self.item = item


def find_members(
    paths: Paths, words: Sequence[str], *, everything: bool, settings: RegistrySettings
) -> list[Member]:
    """Return what a user wants to add to a list: images of this store, or else of their registries.

    What the policy does not let in is in no list either: what is here can be run.

    Args:
        everything: the images of all platforms, where a word means an index; else this host's.

    Raises:
        RootlessError: it cannot be had, or must not.
    """

    async def body() -> list[Member]:
        found: list[Member] = []
        for word in words:
            with explained(word, disk=""):
                found += await _find(paths, word, everything, settings)
        return found

    return loop.run(body)


def inspect(paths: Paths, query: str, *, deep: bool, settings: RegistrySettings) -> list[Shown]:
    """Return what a local list, or else a registry, has under a name, and with `deep` its members."""

    async def body() -> list[Shown]:
        with explained(query, disk=""):
            async with _source(paths, query, settings, lists_only=True) as source:
                root, data = await source.fetch_manifest(None)
                shown = [Shown(root, data, root.to_json())]
                if deep and media.is_index(root.media_type):
                    wanted = parse_index(data, root.media_type).manifests
                    items = ManifestList.parse(data, root.media_type).items
                    for member, item in zip(wanted, items, strict=True):
                        shown.append(Shown(*await source.fetch_manifest(member), item))
                return shown

    return loop.run(body)


class ListSource:
    """A list of this store as a source: layers that are not here are read where the member came from.

    See `registry.transport.base.Source`.
    """

    def __init__(self, layout: ImageLayout, entry: ImageEntry, settings: RegistrySettings) -> None:
        self._layout = layout
        self._settings = settings
        self._names = names_of(entry)
        self._here = LayoutSource(DirectoryFiles(layout.root), root=entry.descriptor, name=entry.name)
        self.name = entry.name or ""
        self.title = self._here.title
        self._origins: dict[Digest, str] = {}
        self._opened: dict[str, Source] = {}
        self._opening = trio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._here)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    async def fetch_manifest(self, wanted: Descriptor | None) -> tuple[Descriptor, bytes]:
        descriptor, data = await self._here.fetch_manifest(wanted)
        if descriptor.digest in self._names and media.is_manifest(descriptor.media_type):
            for blob in parse_manifest(data, descriptor.media_type).layers:
                self._origins[blob.digest] = self._names[descriptor.digest]
        return descriptor, data

    async def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> AsyncGenerator[bytes, None]:
        source: Source = self._here
        if not self._layout.has(descriptor.digest, size=descriptor.size):
            source = await self._elsewhere(descriptor) or source
        async with aclosing(source.open_blob(descriptor, offset=offset)) as pieces:
            async for piece in pieces:
                yield piece

    async def _elsewhere(self, descriptor: Descriptor) -> Source | None:
        name = self._origins.get(descriptor.digest)
        if name is None:
            return None
        async with self._opening:
            if name not in self._opened:
                source = open_source(name, self._settings)
                self._opened[name] = await self._stack.enter_async_context(source)
        return self._opened[name]


def _source(paths: Paths, word: str, settings: RegistrySettings, *, lists_only: bool = False) -> Source:
    """Return where a word is to be read: in this store if that has it, else where the word says."""
    layout = ImageLayout(paths.store, locks=paths.locks)
    try:
        entry = find_entry(paths, word)
    except NotFound:
        return open_source(word, settings)
    if lists_only and not media.is_index(entry.descriptor.media_type):
        return open_source(word, settings)
    return StoredImage(layout, entry.descriptor, name=entry.name or "")


async def _find(paths: Paths, word: str, everything: bool, settings: RegistrySettings) -> list[Member]:
    async with _source(paths, word, settings) as source:
        remote = isinstance(source, RegistrySource)
        admission = Admission.to(word, settings) if remote else None
        if admission:
            admission.check_name(source)
        root, data = await source.fetch_manifest(None)
        name = source.name if remote else member_name(word)
        found = await _members(source, root, data, Traits(), everything, name)
        if admission:
            for member in found:
                await admission.admit(source, root.digest, member.descriptor.digest)
        return found


async def _members(
    source: Source, root: Descriptor, data: bytes, traits: Traits, everything: bool, name: str, depth: int = 0
) -> list[Member]:
    if not media.is_index(root.media_type):
        config = parse_manifest(data, root.media_type).config
        documents = [data]
        if config.media_type in media.CONFIGS:  # else no image, but a list may hold it
            documents.append(await _read(source, config))
            traits = Traits.of_config(documents[-1]).updated(traits)
        return [Member(root, traits, name=name, documents=documents)]
    if depth >= MAX_INDEX_DEPTH:
        raise InvalidManifest("invalid index: indexes are nested too deeply", on=root.digest)
    index = parse_index(data, root.media_type)
    chosen = index.manifests if everything else (choose_platform(index, Platform.host()),)
    items = {item["digest"]: item for item in ManifestList.parse(data, root.media_type).items}
    found = []
    for wanted in chosen:
        inner, inner_data = await source.fetch_manifest(wanted)
        said = Traits.of_item(items[wanted.digest])
        found += await _members(source, inner, inner_data, said, everything, name, depth + 1)
    return found


async def _read(source: Source, descriptor: Descriptor) -> bytes:
    """Return a small blob, verified."""
    if descriptor.size > MAX_MANIFEST_BYTES:
        raise SizeMismatch(expected=MAX_MANIFEST_BYTES, actual=descriptor.size, on=descriptor.digest)
    hasher = VerifyingHasher(descriptor)
    data = bytearray()
    async with aclosing(source.open_blob(descriptor)) as pieces:
        async for piece in pieces:
            hasher.update(piece)
            data += piece
    hasher.finish()
    return bytes(data)
