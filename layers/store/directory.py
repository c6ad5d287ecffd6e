"""The store on disk: an OCI image layout that any number of processes use at once.

    oci-layout  index.json  blobs/sha256/<hex>    what the specification names; other tools can read it
    ingest/<hex>.partial                          blobs on their way in
    ingest/<random>.tmp                           small files on their way to a rename
    ingest/reserve                                space to remove images with when the disk is full

Every change is one rename or link, after an fsync but for layers: a reader needs no lock, and a process
killed at any moment leaves a store in which the next command works. The reading side is ring 1; writing and
sweeping import late.
Spec: image-spec image-layout.md.
"""

from __future__ import annotations

import os
import stat

from layers.digest import ALGORITHM, CHUNK_BYTES, Digest, VerifyingHasher, digest_bytes, is_digest
from layers.document import MAX_DOCUMENT_BYTES
from layers.errors import (
    BlobNotFound,
    CorruptBlob,
    DigestMismatch,
    InvalidManifest,
    LockTimeout,
    SizeMismatch,
    StoreError,
)
from layers.index import ImageIndex
from layers.locks import DEFAULT_WAIT_S, FileLock
from layers.store.base import ImageStore
from layers.store.files import create_file, keep_reserve, remove_if_there, replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from layers.gc import Swept
    from layers.index import ImageEntry
    from layers.manifest import Descriptor
    from layers.store.ingest import Ingest
    from layers.store.newblob import NewBlob

LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'
PARTIAL_AGE_S = 24 * 3600.0
"""A download that nobody resumed for a day will not be: its bytes are swept."""
_INDEX_ATTEMPTS = 10


class ImageLayout(ImageStore):
    """An OCI image layout in a directory.

    Args:
        root: the directory; `ensure` makes it.
        locks: node-local directory for lock files; only needed for writing. The default is inside of root,
            which serves where one host uses the store.
    """

    __slots__ = ("locks", "root")

    def __init__(self, root: str | os.PathLike[str], *, locks: str | None = None) -> None:
        self.root = os.fspath(root)
        self.locks = locks or os.path.join(self.root, "ingest", "locks")

    @property
    def ingest(self) -> str:
        """The directory of what is on its way in."""
        return os.path.join(self.root, "ingest")

    def ensure(self) -> None:
        """Make the layout; idempotent, and safe beside other processes that do the same.

        Raises:
            StoreError: the disk is full.
        """
        if os.path.exists(self._path("oci-layout")):
            return
        for directory in (self._blobs, self.ingest):
            os.makedirs(directory, mode=0o755, exist_ok=True)
        create_file(self._path("index.json"), ImageIndex().to_bytes(), scratch=self.ingest)
        keep_reserve(self._reserve)
        # Last, because it says that the rest is there.
        create_file(self._path("oci-layout"), LAYOUT_FILE, scratch=self.ingest)

    # Reading

    def blob_path(self, digest: Digest) -> str:
        """Return where a blob is, or would be."""
        return os.path.join(self._blobs, Digest.parse(digest).encoded)

    def has(self, digest: Digest, *, size: int | None = None) -> bool:
        try:
            info = os.lstat(self.blob_path(digest))
        except FileNotFoundError:
            return False
        return stat.S_ISREG(info.st_mode) and size in (None, info.st_size)

    def open_blob(self, digest: Digest) -> int:
        """Return a descriptor, which the caller owns, of a blob that is *not* verified yet.

        Raises:
            BlobNotFound: there is none.
            CorruptBlob: it is not a regular file. Layouts from elsewhere may hold links to host files.
        """
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not block
            fd = os.open(self.blob_path(digest), flags)
        except FileNotFoundError:
            raise BlobNotFound("cannot find blob in the store", on=digest) from None
        except OSError as exc:
            if os.path.islink(self.blob_path(digest)):
                raise CorruptBlob("cannot read blob: it is a symbolic link", on=digest) from exc
            raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise CorruptBlob("cannot read blob: it is not a regular file", on=digest)
        return fd

    def read_blob(self, digest: Digest, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
        fd = self.open_blob(digest)
        try:
            size = os.fstat(fd).st_size
            if size > max_bytes:
                raise SizeMismatch(expected=max_bytes, actual=size, on=digest)
            data = b"".join(iter(lambda: os.read(fd, CHUNK_BYTES), b""))
        finally:
            os.close(fd)
        if digest_bytes(data) != digest:
            raise _corrupt(digest)
        return data

    def blobs(self) -> Iterator[tuple[Digest, int]]:
        """Iterate over the digests and sizes of all blobs; other files are passed over."""
        try:
            scan = os.scandir(self._blobs)
        except FileNotFoundError:
            return
        with scan:
            for item in scan:
                name = f"{ALGORITHM}:{item.name}"
                if is_digest(name) and item.is_file(follow_symlinks=False):
                    yield Digest(name), item.stat(follow_symlinks=False).st_size

    def load_index(self) -> ImageIndex:
        try:
            with open(self._path("index.json"), "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return ImageIndex()
        try:
            return ImageIndex.parse(data)
        except InvalidManifest as exc:
            raise StoreError(
                f"cannot read the list of images: {exc.message}",
                on=self._path("index.json"),
                hint="move the file away; images have to be pulled again, blobs that are there are reused",
            ) from exc

    # Writing

    def begin(
        self, descriptor: Descriptor, *, keep_partial: bool = True, wait_s: float = 0.0, sync: bool = True
    ) -> Ingest:
        """Prepare to receive a blob; see Ingest. Entering it takes the blob's lock.

        Hold `pulling` around all the blobs of an image until it has its name.

        Args:
            keep_partial: a failed attempt leaves its bytes for the next one.
            wait_s: how long to wait for another process that receives the same blob; LockTimeout after.
            sync: have the disk take it before it gets its name. Without, a power cut may leave a name with
                fewer bytes, or other ones: for blobs that are verified whenever they are read, as layers are.
        """
        from layers.store.ingest import Ingest  # importing hashes costs the run path 3 ms

        digest = Digest.parse(descriptor.digest)
        os.makedirs(self.ingest, exist_ok=True)
        return Ingest(
            descriptor,
            partial=self._partial_path(digest),
            blob=self.blob_path(digest),
            lock=self.blob_lock(digest, wait_s=wait_s),
            is_present=lambda: self.has(digest, size=descriptor.size),
            keep_partial=keep_partial,
            sync=sync,
        )

    def add_blob(self, data: bytes) -> Digest:
        """Store a small blob (manifest, config) and return its digest; idempotent, repairs a corrupt one."""
        digest = digest_bytes(data)
        try:
            if self.read_blob(digest, max_bytes=len(data)) == data:
                return digest
        except (BlobNotFound, CorruptBlob, SizeMismatch):
            pass  # written below, in place of a damaged one
        replace_file(self.blob_path(digest), data, scratch=self.ingest, mode=0o444)
        return digest

    def create_blob(self) -> NewBlob:
        """Return a blob that is to be written, a context manager; hold `pulling` around it and its image."""
        from layers.store.newblob import NewBlob  # as for `begin`

        os.makedirs(self.ingest, exist_ok=True)
        return NewBlob(blobs=self._blobs, scratch=self.ingest)

    def update_index(self, change: Callable[[ImageIndex], ImageIndex]) -> ImageIndex:
        with FileLock(self.locks, "index.lock"):
            for _ in range(_INDEX_ATTEMPTS):
                seen = self._index_signature()
                before = self.load_index()
                after = change(before)
                data = after.to_bytes()
                if data == before.to_bytes():
                    return after
                # The lock does not reach other hosts that share the file system; this narrows what one of
                # them could lose to the time of a rename.
                if self._index_signature() == seen:
                    self._replace_index(data)
                    return after
        raise StoreError("cannot change the list of images: another host keeps changing it", on=self.root)

    def tag(
        self, name: str, descriptor: Descriptor, annotations: Mapping[str, str] | None = None
    ) -> ImageEntry:
        with self.pulling():  # no sweep between the look at the blobs and the new entry
            return super().tag(name, descriptor, annotations)

    def find_manifest(self, image_id: Digest) -> Descriptor | None:
        """Return the manifest of an image that has lost its last name, and that a container uses.

        Reads everything in the store that could be one.
        """
        from layers.store import sweeping  # parses every manifest; ring 2

        return sweeping.find_manifest(self, image_id)

    # Keeping house

    def pulling(self, *, wait_s: float = DEFAULT_WAIT_S) -> FileLock:
        """Return a lock that keeps `sweep` away: hold it from the first blob of an image to its tag."""
        return FileLock(self.locks, "gc.lock", shared=True, wait_s=wait_s)

    def blob_lock(self, digest: Digest, *, wait_s: float = 0.0) -> FileLock:
        """Return the lock of whoever receives a blob."""
        return FileLock(self.locks, f"blob-{digest.encoded}.lock", wait_s=wait_s, unlink=True)

    def sweep(
        self,
        *,
        in_use: Collection[str] = (),
        wait_s: float = 0.0,
        blob_age_s: float = 0.0,
        partial_age_s: float = PARTIAL_AGE_S,
    ) -> Swept:
        """Delete the blobs that nothing needs, and what dead processes left.

        Args:
            in_use: image ids of all containers.
            wait_s: how long to wait for pulls to end; after that nothing is done and `deferred` says so.
            blob_age_s: spare blobs younger than that, for stores that several hosts share.
            partial_age_s: spare downloads that were written to more recently than that.
        """
        from layers import gc  # parses every manifest; ring 2

        lock = self.collecting(wait_s=wait_s)
        try:
            lock.acquire()
        except LockTimeout:
            return gc.Swept(deferred=True)
        try:
            return self.collect(in_use=in_use, blob_age_s=blob_age_s, partial_age_s=partial_age_s)
        finally:
            lock.release()

    def collecting(self, *, wait_s: float = 0.0) -> FileLock:
        """Return the lock that `collect` wants: nobody makes an image while it is held."""
        return FileLock(self.locks, "gc.lock", wait_s=wait_s)

    def collect(
        self, *, in_use: Collection[str], blob_age_s: float = 0.0, partial_age_s: float = PARTIAL_AGE_S
    ) -> Swept:
        """Sweep for a caller that holds `collecting`, and has looked up what is in use since."""
        from layers.store import sweeping  # parses every manifest; ring 2

        return sweeping.collect(self, in_use=in_use, blob_age_s=blob_age_s, partial_age_s=partial_age_s)

    def verify(self, digest: Digest) -> int:
        """Hash a whole blob and return its size.

        Raises:
            BlobNotFound.
            CorruptBlob: its bytes are not those that its name says.
        """
        fd = self.open_blob(digest)
        try:
            hasher = VerifyingHasher(_Sized(digest, os.fstat(fd).st_size))
            while chunk := os.read(fd, CHUNK_BYTES):
                hasher.update(chunk)
            hasher.finish()
        except (DigestMismatch, SizeMismatch) as exc:
            raise _corrupt(digest) from exc
        finally:
            os.close(fd)
        return hasher.seen

    def drop_corrupt(self, digest: Digest) -> bool:
        """Delete a blob if it is corrupt, so that it can be fetched again; tell whether it was."""
        try:
            self.verify(digest)
        except CorruptBlob:
            remove_if_there(self.blob_path(digest))
            return True
        except BlobNotFound:
            pass
        return False

    @property
    def _blobs(self) -> str:
        return os.path.join(self.root, "blobs", ALGORITHM)

    @property
    def _reserve(self) -> str:
        return os.path.join(self.ingest, "reserve")

    def _path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def _partial_path(self, digest: Digest) -> str:
        return os.path.join(self.ingest, digest.encoded + ".partial")

    def _index_signature(self) -> tuple[int, int, int]:
        try:
            info = os.stat(self._path("index.json"))
        except FileNotFoundError:
            return (0, 0, 0)
        return (info.st_ino, info.st_mtime_ns, info.st_size)

    def _replace_index(self, data: bytes) -> None:
        path = self._path("index.json")
        try:
            replace_file(path, data, scratch=self.ingest)
        except StoreError:
            # Full, and perhaps this is the removal that would change that.
            remove_if_there(self._reserve)
            from layers.store import sweeping

            sweeping.sweep_ingest(self, partial_age_s=0)
            replace_file(path, data, scratch=self.ingest)
        else:
            keep_reserve(self._reserve)


class _Sized:
    """The size that a file has and the digest that its name promises."""

    __slots__ = ("digest", "size")

    def __init__(self, digest: Digest, size: int) -> None:
        self.digest = digest
        self.size = size


def is_layout(root: str) -> bool:
    """Tell whether a directory is an OCI image layout of a version that can be read."""
    try:
        with open(os.path.join(root, "oci-layout"), "rb") as file:
            data = file.read(4096)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    from layers import document  # only for layouts from elsewhere

    try:
        version = document.decode(data, "oci-layout").text("imageLayoutVersion")
    except InvalidManifest:
        return False
    return version.split(".")[0] == "1"


def _corrupt(digest: Digest) -> CorruptBlob:
    return CorruptBlob(
        "cannot use blob: its bytes on disk have changed",
        on=digest,
        hint="pull the image again to replace it",
    )
