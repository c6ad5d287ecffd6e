"""Where an upload was left by a push that failed or was killed, for the next one of the same blob.

One small file per upload in the run directory: private, since whoever knows the address of an upload may add
to it. It goes when the blob has arrived, and with the directory at the next boot.
"""

from __future__ import annotations

import fcntl
import hashlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_MAX_BYTES = 16 << 10


class UploadNote:
    """The note of one upload; a context manager that keeps other processes from the same upload.

    Where another process is at it, or nothing can be written, this one remembers and finds nothing.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, directory: str, key: str) -> None:
        """Set up.

        Args:
            directory: made if missing. "" keeps no note.
            key: registry, repository and digest.
        """
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        self._path = os.path.join(directory, name) if directory else ""
        self._fd = -1

    def __enter__(self) -> Self:
        if not self._path:
            return self
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._fd = os.open(self._path, flags, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._close()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._fd >= 0 and (kind is None or not self.read()):
            try:
                os.unlink(self._path)
            except OSError:
                self.write("")
        self._close()

    def read(self) -> str:
        """Return the address that was noted, "" for none."""
        if self._fd < 0:
            return ""
        return os.pread(self._fd, _MAX_BYTES, 0).decode("utf-8", "replace")

    def write(self, location: str) -> None:
        """Note an address; best effort, as losing it costs no more than a new upload."""
        data = location.encode()
        if self._fd < 0 or len(data) > _MAX_BYTES:
            return
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, data, 0)
        except OSError:
            return

    def drop(self) -> None:
        """Remove what an earlier push left, when the blob has arrived all the same."""
        if self._path and os.path.exists(self._path):
            with self:
                self.write("")

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
