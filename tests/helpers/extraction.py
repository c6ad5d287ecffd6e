"""Extract layers in the test's own process, as an ordinary user without any namespace.

`extract` makes SANDBOX/layer0 from a layer and checks that nothing else in the sandbox has changed: the
directory beside it, SANDBOX/outside, stands for the host.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from layers.apply import LayerApplier
from layers.digest import Digest
from layers.extract import Extractor
from layers.tarcodec import TarReader
from tests.helpers.images import Layer, digest
from tests.helpers.trees import Tree, differences, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from layers.tarheader import Member

SECRET = b"of the host"


@contextmanager
def umask_zero() -> Iterator[None]:
    old = os.umask(0)
    try:
        yield
    finally:
        os.umask(old)


@contextmanager
def canary(sandbox: Path) -> Iterator[None]:
    """Put a directory and a file outside of the root, and check that they stay as they are."""
    outside = sandbox / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret").write_bytes(SECRET)
    before = read_tree(outside)
    names = set(os.listdir(sandbox))
    yield
    assert differences(before, read_tree(outside)) == []
    assert {name for name in os.listdir(sandbox) if not name.startswith("layer")} <= names


def apply(sandbox: Path, *layers: Layer | bytes, owners: str = "recorded") -> list[Path]:
    """Extract and finish layers, bottom first, into SANDBOX/layer0…; return their paths, topmost first."""
    done: list[Path] = []
    with umask_zero(), canary(sandbox):
        for layer in layers:
            content = layer.bytes() if isinstance(layer, Layer) else layer
            root = sandbox / f"layer{len(done)}"
            root.mkdir(mode=0o700)
            root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            source_fd = os.memfd_create("layer")
            try:
                os.write(source_fd, content)
                os.lseek(source_fd, 0, os.SEEK_SET)
                with LayerApplier(root_fd, owners=owners) as applier:
                    applier.extract(source_fd, compression="none", diff_id=Digest(digest(content)))
                    applier.finish([str(path) for path in done])
            finally:
                os.close(source_fd)
                os.close(root_fd)
            done.insert(0, root)
    return done


def extract(sandbox: Path, layer: Layer | bytes) -> Tree:
    """Extract one layer and return its tree."""
    return read_tree(apply(sandbox, layer)[0])


def read_members(content: bytes, *, chunk: int = 1 << 20) -> list[tuple[Member, bytes]]:
    """Return all members of an archive with their data."""
    reader = TarReader(iter(content[n : n + chunk] for n in range(0, len(content), chunk)))
    members = []
    for member in reader:
        data = b""
        while reader.left:
            data += reader.read_some()
        members.append((member, data))
    reader.drain()
    return members


def names(tree: Tree) -> Sequence[str]:
    return sorted(tree)


__all__ = ["Extractor", "apply", "canary", "extract", "names", "read_members", "umask_zero"]
