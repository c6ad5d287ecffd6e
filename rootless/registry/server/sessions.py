"""Uploads under way: a file each, whose size says how far it got, so that they outlive the server. Blocking.

The hash goes along in memory; one that is lost, with a server or to make room, is made again from the file.
Spec: distribution-spec v1.1 §Pushing blobs.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict

import trio  # noqa: TID253  a server lives in its loop

from layers.digest import CHUNK_BYTES, Digest
from layers.store.files import disk_full, remove_if_there, sync_directory, write_all
from rootless.registry.server.refusal import BLOB_UPLOAD_UNKNOWN, DIGEST_INVALID, Refusal
from rootless.registry.server.storage import make_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

    from rootless.registry.server.storage import Storage

_REMEMBERED = 1024
"""Hashes that are kept in memory, some hundred bytes each."""
_BLOB_MODE = 0o444


class Session:
    """One upload; used by one thread at a time, the owner of its file's descriptor while it is open.

    Attributes:
        id: 32 hexadecimal digits. repository: that it belongs to.
        offset: bytes that have come.
        request: of the request that is sending; the next one cancels it, and has `lock` when it is gone.
    """

    __slots__ = ("_fd", "_hash", "_hashed", "id", "lock", "offset", "path", "repository", "request")

    def __init__(self, repository: str, upload: str, path: str) -> None:
        self.repository = repository
        self.id = upload
        self.path = path
        self.offset = 0
        self.request: trio.CancelScope | None = None
        self.lock = trio.Lock()
        self._fd = -1
        self._hash: _Hash = hashlib.sha256()
        self._hashed = 0

    def open(self) -> None:
        """Begin to take bytes, after those that the file has.

        Raises:
            Refusal: it was finished, cancelled or swept meanwhile.
        """
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _unknown() from None
        self.offset = os.fstat(self._fd).st_size
        if self._hashed > self.offset:  # somebody has cut the file
            self._hash, self._hashed = hashlib.sha256(), 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def write(self, pieces: list[bytes]) -> None:
        """Take the next bytes.

        Raises:
            StoreError: the disk is full; the upload is dropped, so that the space is free again.
        """
        self._catch_up()
        try:
            for piece in pieces:
                write_all(self._fd, piece, self.offset)
                self._hash.update(piece)
                self.offset += len(piece)
                self._hashed = self.offset
        except OSError as exc:
            if full := disk_full(exc, on=self.path):
                remove_if_there(self.path)
                raise full from exc
            raise

    def finish(self, digest: Digest) -> None:
        """Hold what has come to its digest, and have the disk take it.

        Raises:
            Refusal: other bytes; they are dropped.
        """
        self._catch_up()
        actual = f"sha256:{self._hash.hexdigest()}"
        if actual != digest:
            remove_if_there(self.path)
            message = f"the bytes that came are {actual}, {self.offset} of them"
            raise Refusal(400, DIGEST_INVALID, message)
        os.fsync(self._fd)

    def move(self, blob: str) -> None:
        """Give what was finished its name, durably."""
        os.rename(self.path, blob)
        os.fchmod(self._fd, _BLOB_MODE)  # last: killed before the rename, the file must stay resumable
        sync_directory(os.path.dirname(blob))

    def _catch_up(self) -> None:
        while self._hashed < self.offset:
            chunk = os.pread(self._fd, min(CHUNK_BYTES, self.offset - self._hashed), self._hashed)
            if not chunk:
                raise _unknown()  # the same, meanwhile
            self._hash.update(chunk)
            self._hashed += len(chunk)


class Sessions:
    """All uploads of a registry."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: OrderedDict[str, Session] = OrderedDict()

    def start(self, repository: str) -> Session:
        """Make an upload; the repository need not exist."""
        upload = os.urandom(16).hex()
        path = self._path(repository, upload)
        with self._storage.changing():
            make_directory(os.path.dirname(path))
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return Session(repository, upload, path)

    def find(self, repository: str, upload: str) -> Session:
        """Return an upload, perhaps of a server before this one. In the event loop: it only looks at a name.

        Raises:
            Refusal: there is none.
        """
        path = self._path(repository, upload)
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            self._known.pop(path, None)
            raise _unknown() from None
        session = self._known.get(path)
        if session is None:
            session = Session(repository, upload, path)
            session.offset = size
        self.remember(session)
        return session

    def remember(self, session: Session) -> None:
        """Keep the hash of an upload for its next request. In the event loop."""
        self._known[session.path] = session
        self._known.move_to_end(session.path)
        idle = [path for path, known in self._known.items() if known.request is None]
        for path in idle[: max(0, len(self._known) - _REMEMBERED)]:
            del self._known[path]

    def forget(self, session: Session) -> None:
        """In the event loop."""
        self._known.pop(session.path, None)

    def commit(self, session: Session, digest: Digest) -> None:
        """Make a blob of an upload; the upload is gone whatever comes of it.

        Raises:
            Refusal: its bytes are not the digest's.
        """
        session.finish(digest)
        storage = self._storage
        with storage.changing():
            if storage.layout.has(digest, size=session.offset):
                os.unlink(session.path)
            else:
                session.move(storage.layout.blob_path(digest))
            storage.link_blob(session.repository, digest)

    def cancel(self, session: Session) -> None:
        remove_if_there(session.path)

    def _path(self, repository: str, upload: str) -> str:
        return self._storage.repository_path(repository, "_uploads", upload)


def _unknown() -> Refusal:
    return Refusal(404, BLOB_UPLOAD_UNKNOWN, "there is no such upload; it may be finished")
