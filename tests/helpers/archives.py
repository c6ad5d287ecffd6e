"""Make archives as `docker save` writes them, well-formed or not, with nothing but the standard library.

    archive = DockerArchive()
    archive.image([Layer().file("a", b"1")], tags=["box:1"])
    archive.bytes()

Entries are those of a tar: `archive.tar` takes more of them, hostile ones too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.helpers.images import ARCHITECTURE, Layer, compress, digest

if TYPE_CHECKING:
    from collections.abc import Sequence


class DockerArchive:
    """An archive under construction.

    Attributes:
        tar: its entries so far.
        listed: what manifest.json will say.
    """

    def __init__(self) -> None:
        self.tar = Layer()
        self.listed: list[dict[str, Any]] = []
        self._names: set[str] = set()

    def image(
        self,
        layers: Sequence[Layer | bytes],
        *,
        tags: Sequence[str] = (),
        compression: str = "none",
        diff_ids: Sequence[str] = (),
        **listed: Any,
    ) -> str:
        """Append an image and return its id.

        Args:
            diff_ids: of the config, in place of the true ones.
            listed: fields of its entry in manifest.json, in place of the true ones.
        """
        plain = [layer.bytes() if isinstance(layer, Layer) else layer for layer in layers]
        config = json.dumps(
            {
                "os": "linux",
                "architecture": ARCHITECTURE,
                "config": {"Cmd": ["sh"]},
                "rootfs": {"type": "layers", "diff_ids": list(diff_ids or map(digest, plain))},
            }
        ).encode()
        names = [self._add(compress(data, compression), ".tar") for data in plain]
        entry = {"Config": self._add(config, ".json"), "RepoTags": list(tags) or None, "Layers": names}
        self.listed.append({**entry, **listed})
        return digest(config)

    def bytes(self, manifest: bytes | None = None) -> bytes:
        """Close the archive (idempotent); `manifest` stands in for its list of images."""
        if "manifest.json" not in self._names:
            self._names.add("manifest.json")
            self.tar.file("manifest.json", json.dumps(self.listed).encode() if manifest is None else manifest)
        return self.tar.bytes()

    def _add(self, data: bytes, suffix: str) -> str:
        name = digest(data).removeprefix("sha256:") + suffix
        if name not in self._names:
            self._names.add(name)
            self.tar.file(name, data)
        return name
