"""Files that images are read from, by name: those of a directory, or the entries of an archive.

Both are as hostile as a registry. A name never becomes a path: a directory is walked by descriptors, no link
in it is followed, and only regular files are read (attack: B19).
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile

import trio  # noqa: TID253  imported with a transport only

from layers.decompress import MAX_RATIO, RATIO_FREE_BYTES, decoder_of, detect
from layers.errors import BlobNotFound, InvalidArchive, InvalidLayer, SizeMismatch
from layers.tarheader import BLOCK
from layers.tarindex import TarIndex
from rootless.errors import ImageError, RootlessError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from typing import Self

    from rootless.registry.settings import RegistrySettings

PIECE_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not keep us waiting


class OpenFile:
    """One file that is open for reading, from `offset` of a descriptor on.

    Attributes:
        size: its bytes.
    """

    __slots__ = ("_fd", "_offset", "_owned", "size")

    def __init__(self, fd: int, *, offset: int, size: int, owned: bool) -> None:
        self._fd = fd
        self._offset = offset
        self._owned = owned
        self.size = size

    def read(self, count: int, position: int = 0) -> bytes:
        """Return up to `count` bytes, none beyond the end."""
        count = min(count, self.size - position)
        return os.pread(self._fd, count, self._offset + position) if count > 0 else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._owned:
            os.close(self._fd)


class Files:
    """Where an image lies; an async context manager that may be entered several times at once.

    Attributes:
        place: its path, for messages.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._users = 0

    async def __aenter__(self) -> Self:
        if not self._users:
            await self._open()
        self._users += 1
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._users -= 1
        if not self._users:
            self._close()

    def open(self, name: str) -> OpenFile:
        """Open a file.

        Raises:
            BlobNotFound: there is none, or it is no regular file.
        """
        raise NotImplementedError

    def has(self, name: str) -> bool:
        """Tell whether there is a file of that name."""
        try:
            with self.open(name):
                return True
        except BlobNotFound:
            return False

    def read(self, name: str, limit: int) -> bytes:
        """Return a small file whole.

        Raises:
            BlobNotFound: there is none. SizeMismatch: it has more than `limit` bytes.
        """
        with self.open(name) as file:
            if file.size > limit:
                raise SizeMismatch(expected=limit, actual=file.size, on=f"{self.place}: {name}")
            data = file.read(limit)
            if len(data) != file.size:
                raise SizeMismatch(expected=file.size, actual=len(data), on=f"{self.place}: {name}")
            return data

    async def pieces(self, name: str, *, size: int, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a file from `offset` on.

        Raises:
            BlobNotFound: there is none. SizeMismatch: it has not the size that it should.
        """
        with self.open(name) as file:
            if file.size != size:
                raise SizeMismatch(expected=size, actual=file.size, on=f"{self.place}: {name}")
            while piece := await trio.to_thread.run_sync(file.read, PIECE_BYTES, offset):
                offset += len(piece)
                yield piece

    async def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError


class DirectoryFiles(Files):
    """The files of a directory, by names like "blobs/sha256/…"."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._root = -1

    def open(self, name: str) -> OpenFile:
        try:
            fd = open_inside(self._root, name, _OPEN)
        except OSError as exc:
            raise BlobNotFound(f"cannot open {name}: {os_error_text(exc)}", on=self.place) from exc
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise BlobNotFound(f"cannot read {name}: it is no plain file", on=self.place)
        return OpenFile(fd, offset=0, size=info.st_size, owned=True)

    async def _open(self) -> None:
        try:
            self._root = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise ImageError(
                f"cannot open the directory: {os_error_text(exc)}", on=self.place, reference="image-layout"
            ) from exc

    def _close(self) -> None:
        os.close(self._root)


class ArchiveFiles(Files):
    """The entries of a tar archive, compressed or not, that is a file or comes from a pipe.

    What cannot be read in any order is first copied, plain, to an unnamed file.

    Args:
        source: a path, or a descriptor that stays the caller's.
        scratch: directory for the copy, on a disk that has room for the whole archive.
    """

    def __init__(self, source: str | int, *, scratch: str) -> None:
        super().__init__(source if isinstance(source, str) else "standard input")
        self._source = source
        self._scratch = scratch
        self._fd = -1
        self._index: TarIndex | None = None

    def open(self, name: str) -> OpenFile:
        assert self._index is not None
        place = self._index.find(name)
        if place is None:
            raise BlobNotFound(f"cannot find {name} in the archive", on=self.place)
        return OpenFile(self._fd, offset=place[0], size=place[1], owned=False)

    async def _open(self) -> None:
        # Abandoned when the user has enough of waiting for a pipe: the process ends then.
        self._fd, self._index = await trio.to_thread.run_sync(self._prepare, abandon_on_cancel=True)

    def _close(self) -> None:
        os.close(self._fd)

    def _prepare(self) -> tuple[int, TarIndex]:
        fd = self._open_source()
        try:
            fd = _seekable(fd, self._scratch)
            return fd, TarIndex(fd)
        except BaseException as exc:
            os.close(fd)
            if isinstance(exc, InvalidLayer):
                problem = exc.message.partition(": ")[2] or exc.message
                raise InvalidArchive(f"cannot read archive: {problem}", on=self.place) from exc
            if isinstance(exc, InvalidArchive):
                exc.on = f"{self.place}: {exc.on}" if exc.on else self.place
            raise

    def _open_source(self) -> int:
        """Return a descriptor of our own."""
        try:
            if isinstance(self._source, int):
                return os.dup(self._source)
            return os.open(self._source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as exc:
            raise ImageError(
                f"cannot open the archive: {os_error_text(exc)}", on=self.place, reference="image-archive"
            ) from exc


def scratch_directory(settings: RegistrySettings) -> str:
    """Return where big temporary files belong: $TMPDIR, else /var/tmp, which is not in memory."""
    return settings.environment.get("TMPDIR") or "/var/tmp"  # noqa: S108  the files there have no names


def open_inside(root: int, name: str, flags: int, mode: int = 0o644) -> int:
    """Open a file below a directory, no part of whose name may be a symbolic link or lead upwards.

    Raises:
        OSError: as open(2); ELOOP or ENOTDIR for a link.
    """
    *directories, last = name.split("/")
    if ".." in (*directories, last):
        raise OSError(errno.EINVAL, "Name leads out of the directory", name)
    current = os.dup(root)
    try:
        for directory in directories:
            inner = os.open(directory, _OPEN | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
        return os.open(last, flags, mode, dir_fd=current)
    finally:
        os.close(current)


def _seekable(fd: int, scratch: str) -> int:
    """Return a plain archive in a file: the descriptor itself, or in its place one of a copy.

    Raises:
        InvalidLayer, InvalidArchive: it cannot be decompressed. ImageError: it is empty.
        RootlessError: there is no room for the copy.
    """
    is_file = stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0
    try:
        start = os.pread(fd, BLOCK, 0) if is_file else _read_block(fd)
    except OSError as exc:
        raise InvalidArchive(f"cannot read archive: {os_error_text(exc)}") from exc
    if not start:
        raise InvalidArchive("cannot read archive: it is empty")
    compression = detect(start)
    if is_file and compression == "none":
        return fd
    try:
        with tempfile.TemporaryFile(dir=scratch, buffering=0) as file:
            copy = file.fileno()
            for chunk in _plain(_reader(fd, b"" if is_file else start), compression):
                write_all(copy, chunk)
            os.dup2(copy, fd, inheritable=False)
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RootlessError(
            f"cannot make a copy of the archive: {os_error_text(exc)}",
            on=scratch,
            hint="free space there" if full else None,
            reference="disk-full" if full else "files",
        ) from exc
    return fd


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of the data at the position of the file."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _plain(read: Callable[[int], bytes], compression: str) -> Iterator[bytes]:
    taken = given = 0

    def counted(size: int) -> bytes:
        nonlocal taken
        data = read(size)
        taken += len(data)
        return data

    for chunk in decoder_of(compression)(counted):
        given += len(chunk)
        if given > RATIO_FREE_BYTES and given > MAX_RATIO * taken:
            raise InvalidArchive(f"cannot read archive: it expands to more than {MAX_RATIO} times its size")
        yield chunk


def _reader(fd: int, start: bytes) -> Callable[[int], bytes]:
    """Return a read function that gives `start` first, which was read already."""
    pending = [start] if start else []
    return lambda size: pending.pop() if pending else os.read(fd, size)


def _read_block(fd: int) -> bytes:
    """Read the first block of a pipe, or less where it has less."""
    data = b""
    while len(data) < BLOCK and (more := os.read(fd, BLOCK - len(data))):
        data += more
    return data
