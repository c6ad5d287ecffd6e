"""Move an image of many layers: push, pull and copy beside programs of the same command line, and skopeo.

The image is made on the spot, of data that shrinks by half. Pushes go to a registry that is emptied before
each. skopeo unpacks nothing: it copies between a layout on disk and the registry, as `rootless copy` does.
"""

from __future__ import annotations

import random
import shlex
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.images import LAYER, Layer, Layout, compress, digest
from tests.helpers.registry import running_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYERS = 20
_FILE_BYTES = 400_000


class Place:
    """Two registries on loopback and the image.

    Attributes:
        image: name of the image in the first. pushed: its name in the second, which `wipe` empties.
        layout: the image on disk, readable for everybody.
    """

    def __init__(self, *, image: str, pushed: str, layout: Path, storage: Path) -> None:
        self.image = image
        self.pushed = pushed
        self.layout = layout
        self._storage = storage

    def wipe(self) -> None:
        """Have the second registry forget everything; it keeps nothing in memory."""
        shutil.rmtree(self._storage)
        self._storage.mkdir()

    def fields(self) -> dict[str, str]:
        """Return what commands may name."""
        return {
            "many": shlex.quote(self.image),
            "pushed": shlex.quote(self.pushed),
            "layout": shlex.quote(f"{self.layout}:many"),
        }


@contextmanager
def place(*, megabytes: int) -> Iterator[Place]:
    """Make the image and serve it until the block ends.

    Args:
        megabytes: of the image's files, before compression.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        directory.chmod(0o755)
        layout = make_image(directory / "layout", megabytes=megabytes)
        source = stack.enter_context(running_registry(directory / "source"))
        target = stack.enter_context(running_registry(directory / "target"))
        image = layout.push("many", f"{source.address}/many:1")
        yield Place(
            image=image, pushed=f"{target.address}/many:1", layout=layout.path, storage=target.storage
        )


def make_image(path: Path, *, megabytes: int) -> Layout:
    dice = random.Random(1)
    layout = Layout(path)
    descriptors, diff_ids = [], []
    for number in range(LAYERS):
        layer = Layer().directory(f"d{number}")
        for file in range(max(1, megabytes * 1_000_000 // LAYERS // _FILE_BYTES)):
            layer.file(f"d{number}/{file}", _half_random(dice))
        plain = layer.bytes()
        descriptors.append(layout.blob(compress(plain, "gzip"), f"{LAYER}+gzip"))
        diff_ids.append(digest(plain))
    layout.tag("many", layout.manifest_of(descriptors, diff_ids, config={"Cmd": ["true"]}))
    return layout


def _half_random(dice: random.Random) -> bytes:
    """Return bytes in which stretches of chance and of text take turns, as in programs."""
    pieces = (
        dice.randbytes(1000) + b"".join(b"line %d of many\n" % dice.randrange(1000) for _ in range(60))
        for _ in range(_FILE_BYTES // 2000)
    )
    return b"".join(pieces)
