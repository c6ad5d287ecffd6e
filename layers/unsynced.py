"""Snapshots that may not be on disk yet: `KEY/unsynced/CHAIN.BOOT.RANDOM`, an empty file for each.

Nobody waits for the disk to take what was unpacked. Instead a mark, named after this boot, is made durable
before a snapshot gets its name, and removed after the file system was synced. A mark of another boot says
that the power may have failed in between: its snapshot counts as absent, and is unpacked again from the
blobs. Those of layers are synced no earlier, and verified whenever they are read: where they are torn too,
the image is pulled again. A directory that was read once tells all: in an ordinary store it is not there.
Ring 1.

`python -P -m layers.unsynced DIRECTORY` is `settle` as a process of its own.
"""

from __future__ import annotations

import os
import sys

from layers.contexts import suppress
from layers.store.files import remove_if_there, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.digest import Digest

NAME = "unsynced"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_ONE_HOST = frozenset((0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994))
"""ext2 to ext4, xfs, btrfs, f2fs, tmpfs (linux/magic.h): what a boot of this host says holds for all users
of these. Elsewhere (NFS, FUSE…) a mark of another boot may be a living host's."""


class Mark:
    """The boot and the chain id that a mark's name holds."""

    __slots__ = ("boot", "chain", "path")

    def __init__(self, directory: str, name: str) -> None:
        self.path = os.path.join(directory, NAME, name)
        self.chain, self.boot, _ = name.split(".")


def serves(directory: str) -> bool:
    """Tell whether marks serve where snapshots are kept: no other host sees them, and the boot is known.

    Else what is unpacked must be synced before it gets its name.
    """
    from layers.syscalls import file_system_type  # ring 2

    return file_system_type(directory) in _ONE_HOST and boot_id() != ""


def make(directory: str, chain_id: Digest) -> None:
    """Mark a snapshot that is about to get its name, durably. Hold the lock under which it is made."""
    parent = os.path.join(directory, NAME)
    path = os.path.join(parent, f"{chain_id.encoded}.{boot_id()}.{os.urandom(4).hex()}")
    while True:
        with suppress(FileExistsError):
            os.mkdir(parent, 0o700)
            sync_directory(directory)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue  # somebody has just settled all marks and removed the directory
        os.close(fd)
        sync_directory(parent)
        return


def drop(directory: str, chain_id: Digest) -> None:
    """Remove the marks of a snapshot that is not made after all. Hold the lock under which it is made."""
    for mark in marks(directory):
        if mark.chain == chain_id.encoded:
            remove_if_there(mark.path)
    _remove_if_empty(directory)


def marks(directory: str) -> Iterator[Mark]:
    """Iterate over the marks of a mapping's snapshots."""
    try:
        names = os.listdir(os.path.join(directory, NAME))
    except OSError:  # as a rule: there are none
        return
    for name in names:
        if name.count(".") == 2:
            yield Mark(directory, name)


def doubted(directory: str) -> list[Mark]:
    """Return the marks of other boots: of snapshots that a power failure may have torn."""
    found = list(marks(directory))
    boot = boot_id() if found else ""
    return [mark for mark in found if mark.boot != boot]


def settle(directory: str) -> None:
    """Sync the file system and remove the marks of the snapshots that are there.

    Marks of snapshots that are being made stay. Nobody makes a snapshot that is there, and each attempt has
    a mark of its own: those that are removed here are of snapshots that were complete before the sync.
    """
    from layers.syscalls import syncfs  # ring 2

    boot = boot_id()
    complete = [
        mark
        for mark in marks(directory)
        if mark.boot == boot and os.path.isdir(os.path.join(directory, mark.chain))
    ]
    if not complete:
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
    for mark in complete:
        remove_if_there(mark.path)
    _remove_if_empty(directory)


def boot_id() -> str:
    """Return the identity of this boot of the kernel; "" where it is hidden."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _remove_if_empty(directory: str) -> None:
    with suppress(OSError):  # it is not, or is gone
        os.rmdir(os.path.join(directory, NAME))


if __name__ == "__main__":
    os.chdir("/")
    os.nice(10)
    settle(sys.argv[1])
