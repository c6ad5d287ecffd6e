"""Files that images are written to, by name: those of a directory, or the entries of a new archive.

A file of a directory appears whole; an archive appears whole, when everything is in it. Names are ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from contextlib import asynccontextmanager, suppress

import trio  # noqa: TID253  imported with a transport only

from layers.tarencode import END, encode_member, padding
from layers.tarheader import DIRECTORY, REGULAR, Member
from rootless.errors import RootlessError, os_error_text
from rootless.registry.transport.files import PIECE_BYTES, open_inside, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
    from typing import Self

    from rootless.registry.transport.base import Read

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Output:
    """Where files are written; an async context manager. Several tasks write at once.

    Attributes:
        place: its path, for messages.
    """

    def __init__(self, place: str) -> None:
        self.place = place

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(self, *exc: object) -> None:
        """End; without an exception the output is complete."""
        raise NotImplementedError

    async def end(self, finish: Callable[[], Awaitable[None]], *exc: object) -> None:
        """Leave a block as `__aexit__` does, if it went well after writing what makes the output whole."""
        try:
            if exc[0] is None:
                await finish()
        except BaseException as error:
            exc = (type(error), error, None)
            raise
        finally:
            await self.__aexit__(*exc)

    def has(self, name: str, size: int) -> bool:
        """Tell whether a file of that name and size is there already."""
        raise NotImplementedError

    async def put(self, name: str, read: Read, *, size: int) -> None:
        """Write a file of known size; it is not there if the iteration raises."""
        raise NotImplementedError

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep other programs from changing the same file at the same time."""
        yield

    async def put_bytes(self, name: str, data: bytes) -> None:
        """Write a small file, in place of one that is there."""

        async def read() -> AsyncGenerator[bytes, None]:
            yield data

        await self.put(name, read, size=len(data))


class DirectoryOutput(Output):
    """A directory, made if it is missing.

    Attributes:
        root: descriptor of it while entered.
    """

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.root = -1

    async def __aenter__(self) -> Self:
        try:
            os.makedirs(self.place, exist_ok=True)
            self.root = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise cannot_write(self.place, exc) from exc
        return self

    async def __aexit__(self, *_exc: object) -> None:
        os.close(self.root)
        self.root = -1

    def remove(self, names: Iterable[str]) -> None:
        """Remove plain files of the directory; what is none of them stays."""
        for name in names:
            with suppress(OSError):
                os.unlink(name, dir_fd=self.root)

    def has(self, name: str, size: int) -> bool:
        try:
            fd = open_inside(self.root, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            info = os.fstat(fd)
            return stat.S_ISREG(info.st_mode) and info.st_size == size
        finally:
            os.close(fd)

    async def put(self, name: str, read: Read, *, size: int) -> None:
        parent, _, last = name.rpartition("/")
        try:
            with _Draft(self._open_directory(parent), mode=0o644) as draft:
                await _pour(read, draft.fd)
                draft.keep(last)
        except OSError as exc:
            raise cannot_write(f"{self.place}/{name}", exc) from exc

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        await trio.to_thread.run_sync(fcntl.flock, self.root, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self.root, fcntl.LOCK_UN)

    def _open_directory(self, name: str) -> int:
        """Open a directory below the root; those that are missing are made."""
        current = os.dup(self.root)
        for part in filter(None, name.split("/")):
            try:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
                inner = open_inside(
                    current, part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                )
            finally:
                os.close(current)
            current = inner
        return current


class ArchiveOutput(Output):
    """A new tar archive: a file that appears whole or not at all, a device or FIFO, or an open descriptor.

    Entries are written one after the other; the same files give the same bytes.

    Args:
        target: a path, or a descriptor that stays the caller's.
        scratch: directory for copies of what has no known size.
    """

    def __init__(self, target: str | int, *, scratch: str) -> None:
        super().__init__(target if isinstance(target, str) else "standard output")
        self._target = target
        self._scratch = scratch
        self._draft: _Draft | None = None
        self._fd = -1
        self._turn = trio.Lock()
        self._sizes: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        try:
            self._fd = self._open()
        except OSError as exc:
            raise cannot_write(self.place, exc) from exc
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if exc[0] is None:
                await trio.to_thread.run_sync(self._finish)
        except OSError as error:
            raise cannot_write(self.place, error) from error
        finally:
            if self._draft is None:
                os.close(self._fd)
            else:
                self._draft.close()

    def has(self, name: str, size: int) -> bool:
        return self._sizes.get(name) == size

    async def put(self, name: str, read: Read, *, size: int) -> None:
        async with self._turn:
            if name in self._sizes:
                return
            member = Member(name.encode(), REGULAR, mode=0o644, uid=0, gid=0, size=size)
            try:
                headers = self._new_directories(name) + encode_member(member)
                await trio.to_thread.run_sync(write_all, self._fd, headers)
                await _pour(read, self._fd)
                await trio.to_thread.run_sync(write_all, self._fd, padding(size))
            except OSError as exc:
                raise cannot_write(self.place, exc) from exc
            self._sizes[name] = size

    def open_scratch(self) -> int:
        """Return a new unnamed file, which the caller owns."""
        try:
            with tempfile.TemporaryFile(dir=self._scratch, buffering=0) as file:
                return os.dup(file.fileno())
        except OSError as exc:
            raise cannot_write(self._scratch, exc) from exc

    def _new_directories(self, name: str) -> bytes:
        """Return entries for the directories of a file that have none: skopeo fails to make them itself."""
        made = b""
        above = name.split("/")[:-1]
        for depth in range(1, len(above) + 1):
            directory = "/".join(above[:depth]) + "/"
            if directory not in self._sizes:
                self._sizes[directory] = 0
                member = Member(directory.encode(), DIRECTORY, mode=0o755, uid=0, gid=0, size=0)
                made += encode_member(member)
        return made

    def _open(self) -> int:
        target = self._target
        if isinstance(target, int):
            return os.dup(target)
        if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
            return os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        directory = os.open(os.path.dirname(target) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._draft = _Draft(directory, mode=0o600)  # as Docker makes it
        return self._draft.fd

    def _finish(self) -> None:
        write_all(self._fd, END)
        if self._draft is not None:
            os.fsync(self._fd)
            self._draft.keep(os.path.basename(self.place))


class _Draft:
    """A file that gets its name when it is whole; where the file system can, it has none before.

    Attributes:
        fd: open for writing; `close` closes it.
    """

    def __init__(self, directory: int, *, mode: int) -> None:
        """Make the file; `directory` is ours from now on."""
        self._directory = directory
        self._name = ""
        try:
            self.fd = self._make(mode)
        except BaseException:
            os.close(directory)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def keep(self, name: str) -> None:
        """Give it its name, in place of what has it."""
        directory = self._directory
        if not self._name:
            self._name = _draft_name()
            # With a descriptor of a directory CPython calls linkat(2), which can follow the link in /proc.
            os.link(f"/proc/self/fd/{self.fd}", self._name, dst_dir_fd=directory, follow_symlinks=True)
        os.rename(self._name, name, src_dir_fd=directory, dst_dir_fd=directory)
        self._name = ""

    def close(self) -> None:
        """Close it; without its name it is gone."""
        if self._name:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        os.close(self.fd)
        os.close(self._directory)

    def _make(self, mode: int) -> int:
        if os.access("/proc/self/fd", os.X_OK):  # without it an unnamed file could not be given a name
            try:
                flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
                return os.open(".", flags, mode, dir_fd=self._directory)
            except OSError as exc:
                if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):  # NFS and others
                    raise
        self._name = _draft_name()
        return os.open(self._name, _NEW, mode, dir_fd=self._directory)


def _draft_name() -> str:
    return f".new-{os.urandom(8).hex()}"


async def _pour(read: Read, fd: int) -> None:
    pieces = read()
    try:
        async for piece in pieces:
            write_all(fd, piece)  # into the page cache: a thread would take longer to wake
    finally:
        with trio.CancelScope(shield=True):
            await pieces.aclose()


def read_back(fd: int, size: int) -> Read:
    """Return what reads `size` bytes of a file from its start."""

    async def read() -> AsyncGenerator[bytes, None]:
        position = 0
        while position < size:
            piece = await trio.to_thread.run_sync(os.pread, fd, min(PIECE_BYTES, size - position), position)
            position += len(piece)
            yield piece

    return read


def cannot_write(place: str, exc: OSError) -> Exception:
    """Return the error to raise; a reader that has left is for the command line to judge."""
    if isinstance(exc, BrokenPipeError):
        return exc
    full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
    return RootlessError(
        f"cannot write there: {os_error_text(exc)}", on=place, reference="disk-full" if full else "files"
    )
