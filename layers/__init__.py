"""OCI images on disk: digests, manifests, references, layers and the store that holds them.

A library of its own: imports nothing of the engine above it, speaks to no network. The names below are loaded
from their modules when they are first used; `import layers` itself costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from layers.config import ImageConfig, chain_ids, parse_config
    from layers.digest import Digest, VerifyingHasher, VerifyingReader, digest_bytes
    from layers.errors import LayersError
    from layers.index import ImageEntry
    from layers.manifest import Descriptor, ImageSearch, Index, Manifest, parse_index, parse_manifest
    from layers.platforms import Platform, choose_platform
    from layers.reference import Reference
    from layers.store.base import Image
    from layers.store.directory import ImageLayout
    from layers.store.memory import MemoryStore

__all__ = [
    "Descriptor",
    "Digest",
    "Image",
    "ImageConfig",
    "ImageEntry",
    "ImageLayout",
    "ImageSearch",
    "Index",
    "LayersError",
    "Manifest",
    "MemoryStore",
    "Platform",
    "Reference",
    "VerifyingHasher",
    "VerifyingReader",
    "chain_ids",
    "choose_platform",
    "digest_bytes",
    "parse_config",
    "parse_index",
    "parse_manifest",
]

_MODULES = {
    "Descriptor": "manifest",
    "Digest": "digest",
    "Image": "store.base",
    "ImageConfig": "config",
    "ImageEntry": "index",
    "ImageLayout": "store.directory",
    "ImageSearch": "manifest",
    "Index": "manifest",
    "LayersError": "errors",
    "Manifest": "manifest",
    "MemoryStore": "store.memory",
    "Platform": "platforms",
    "Reference": "reference",
    "VerifyingHasher": "digest",
    "VerifyingReader": "digest",
    "chain_ids": "config",
    "choose_platform": "platforms",
    "digest_bytes": "digest",
    "parse_config": "config",
    "parse_index": "manifest",
    "parse_manifest": "manifest",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"layers.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
