"""Build one directory out of an image's layers: the storage `copy`, for hosts without overlays.

The merged tree is walked once, so that each file is copied once and nothing is removed again. Owners, modes,
extended attributes, hard links (within the merged tree), times and holes are kept. Must run with umask 0
where the files' ids are mapped. Ring 2.
"""

from __future__ import annotations

import os
import stat

from layers.chain import Chain, ChainDirectory, ChainEntry
from layers.copyup import copy_entry, copy_metadata
from layers.handles import Handle, OpenHandles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def flatten(layers: Sequence[str | bytes], target_fd: int) -> int:
    """Fill an empty directory with what the layers show together.

    Args:
        layers: their directories, bottom first; at least one.
        target_fd: stays the caller's. What was made stays when an error comes: remove it.
    Returns:
        the number of entries made.
    Raises:
        OSError: the disk is full, or files cannot be read here.
    """
    with Chain(list(reversed(layers))) as chain:
        flattener = _Flattener(chain, target_fd)
        try:
            return flattener.run()
        finally:
            flattener.targets.close()


class _Flattener:
    def __init__(self, chain: Chain, target_fd: int) -> None:
        self.chain = chain
        self.targets = OpenHandles()
        self.top = Handle(b"", None, fd=target_fd)
        self.links: dict[tuple[int, int], tuple[Handle, bytes]] = {}
        self.count = 0

    def run(self) -> int:
        assert self.chain.root is not None, "an image has at least one layer"
        todo: list[tuple[ChainDirectory, Handle]] = [(self.chain.root, self.top)]
        done: list[tuple[ChainDirectory, Handle]] = []
        while todo:
            source, target = pair = todo.pop()
            done.append(pair)
            for name, found in self.chain.entries(source).items():
                self.count += 1
                if isinstance(found, ChainEntry):
                    self._copy(found, target)
                else:
                    os.mkdir(name, 0o700, dir_fd=self.targets.fd(target))
                    todo.append((found, Handle(name, target)))
        for source, target in reversed(done):  # deepest first: a directory may not be writable afterwards
            copy_metadata(self.chain.fd(source.parts[0]), self.targets.fd(target))
            self.targets.forget(target)
        return self.count

    def _copy(self, entry: ChainEntry, target: Handle) -> None:
        info = entry.info
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            first = self.links.setdefault(key, (target, entry.name))
            if first != (target, entry.name):
                source_fd, target_fd = self.targets.fd(first[0]), self.targets.fd(target)
                os.link(
                    first[1], entry.name, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False
                )
                return
        copy_entry(self.chain.fd(entry.directory), entry.name, self.targets.fd(target), entry.name)
