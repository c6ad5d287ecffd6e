"""The host's side of `cp`: the user's files as an archive, and an archive as files of the user.

Runs as the user and has no more rights. What a container sends never leaves the directory that the user named
and cannot become a program that lets others act as the user.
"""

from __future__ import annotations

import os
import stat

from layers.chain import ChainEntry, PlainTree
from layers.effects import CallersOwners
from layers.errors import InvalidLayer, LayersError
from layers.pack import Packer
from layers.places import Places
from layers.tarcodec import TarReader
from layers.unpack import Unpacker, replace_top
from rootless.errors import NotFound, RootlessError, os_error_text
from rootless.model import copying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

    Json = dict[str, Any]

_READ_BYTES = 1 << 18


class HostSource:
    """What is to be copied into a container; the path is the host's."""

    def __init__(self, path: str, *, follow: bool) -> None:
        self.path = path
        self.name = os.path.basename(os.path.abspath(path)) or "."
        self.contents = self.name == "." or os.path.basename(path) == "."
        try:
            follow = follow or copying.wants_directory(path)
            self.place = os.path.realpath(path) if follow else path.rstrip("/") or "/"
            self.info = os.lstat(self.place)
        except OSError as exc:
            raise RootlessError(f"cannot copy {path}: {os_error_text(exc)}", reference="files") from exc
        self.directory = stat.S_ISDIR(self.info.st_mode)
        if copying.wants_directory(path) and not self.directory:
            raise RootlessError(f"cannot copy {path}: it is not a directory", reference="files")
        if stat.S_IFMT(self.info.st_mode) in (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK):
            raise RootlessError(f"cannot copy {path}: it is a device or a socket", reference="not-copyable")

    def describe(self) -> Json:
        return {"directory": self.directory, "contents": self.contents, "name": self.name}

    def pack(self, fd: int) -> Packer:
        """Write it as an archive with one entry at the top; ends early when the reader goes away."""
        packer = Packer(fd, owners=CallersOwners())
        name = os.fsencode(self.name)
        try:
            if self.directory:
                with PlainTree(self.place) as tree:
                    assert tree.root is not None
                    whole = packer.add_tree(tree, tree.root, name)
            else:
                parent, entry = os.path.split(self.place)
                with PlainTree(parent or ".") as tree:
                    assert tree.root is not None
                    found = ChainEntry(tree.root.parts[0], os.fsencode(entry), self.info)
                    whole = packer.add_entry(tree, found, name)
            if not whole:
                raise RootlessError(f"cannot copy {self.path}: it changes meanwhile", reference="files")
            packer.finish()
        except BrokenPipeError:
            return packer  # the worker's answer says why
        except LayersError as exc:
            raise RootlessError(exc.message, on=exc.on, reference=exc.reference) from exc
        except OSError as exc:
            raise _cannot_copy(exc, self.path) from exc
        return packer


class HostDestination:
    """Where on the host something of a container goes. A context manager that owns its descriptors."""

    def __init__(self, path: str, found: Json) -> None:
        self.path = path
        try:
            info: os.stat_result | None = os.stat(path)
        except FileNotFoundError:
            info = None
        except OSError as exc:
            raise _cannot_copy(exc, path) from exc
        is_directory = info is not None and stat.S_ISDIR(info.st_mode)
        if info is not None and not is_directory and not stat.S_ISREG(info.st_mode):
            raise RootlessError(
                "cannot copy there: it is neither a file nor a directory", on=path, reference="copy-target"
            )
        how = copying.place(
            is_directory=found["kind"] == "directory",
            contents=found["contents"],
            target=path,
            exists=info is not None,
            target_is_directory=is_directory,
        )
        directory, name = path, b"" if how == copying.CONTENTS else os.fsencode(found["name"])
        if how == copying.AS:
            directory, last = os.path.split(os.path.realpath(path))
            name = os.fsencode(last)
        self._rename = replace_top(name)
        try:
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as exc:
            raise NotFound("cannot copy there: no such directory", on=directory) from exc
        except OSError as exc:
            raise _cannot_copy(exc, directory) from exc
        self._places = Places(self._fd, follow=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._places.close()
        os.close(self._fd)

    def unpack(self, fd: int, *, owners: CallersOwners, archive: bool) -> list[str]:
        """Unpack an archive; returns notes on what was left out.

        Set-id bits are dropped: a program of the container would run as this user for whoever calls it.
        """
        unpacker = Unpacker(
            self._places,
            self._places.root,
            owners=owners,
            archive=archive,
            set_ids=False,
            rename=self._rename,
        )
        reader = TarReader(read_chunks(fd))
        umask = os.umask(0)  # modes come out as they are in the container, as with Docker
        try:
            unpacker.run(reader)
            reader.drain()
        except InvalidLayer:
            raise
        except LayersError as exc:
            raise RootlessError(exc.message, on=exc.on or self.path, reference=exc.reference) from exc
        except OSError as exc:
            raise _cannot_copy(exc, self.path) from exc
        finally:
            os.umask(umask)
        return unpacker.notes


def read_chunks(fd: int) -> Iterator[bytes]:
    """Yield what comes from a pipe, to its end."""
    while data := os.read(fd, _READ_BYTES):
        yield data


def _cannot_copy(exc: OSError, path: str) -> RootlessError:
    name = exc.filename
    shown = os.fsdecode(name) if isinstance(name, (str, bytes)) else None
    return RootlessError(f"cannot copy {path}: {os_error_text(exc)}", on=shown, reference="files")
