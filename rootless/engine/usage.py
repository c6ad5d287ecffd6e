"""How much space a container's own files take. Reads only; ring 1."""

from __future__ import annotations

import os

from rootless.runtime import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from rootless.model.host import IdMapping
    from rootless.paths import Paths


def written_bytes(paths: Paths, container: Container, *, mapping: IdMapping) -> int:
    """Return the size of the files that a container has made or changed.

    With the storage "copy" that is all of its files: what was copied cannot be told from what was written.
    Must run in a process with one thread.

    Raises:
        RootlessError: the user namespace cannot be entered, where other users' directories need it.
    """
    storage = container.state.storage or container.spec.storage
    return directory_bytes(paths, container.path("rootfs" if storage == "copy" else "upper"), mapping=mapping)


def directory_bytes(paths: Paths, directory: str, *, mapping: IdMapping) -> int:
    """Return the size of the files in a directory, whoever owns them; errors as above."""
    try:
        return tree_bytes(directory)
    except PermissionError:  # a directory of another id of the container
        return _tree_bytes_inside(directory, mapping=mapping, run_dir=paths.run)


def tree_bytes(directory: str) -> int:
    """Return the sum of the sizes of the files below a directory; those that vanish meanwhile do not count.

    Raises:
        PermissionError: a directory cannot be read.
    """
    total = 0
    pending = [directory]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total


def _tree_bytes_inside(directory: str, *, mapping: IdMapping, run_dir: str) -> int:
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)

    def tell() -> None:
        os.write(write_fd, str(tree_bytes(directory)).encode())

    try:
        userns.run_inside(mapping, run_dir, tell)
        return int(os.read(read_fd, 32))
    finally:
        os.close(read_fd)
        os.close(write_fd)
