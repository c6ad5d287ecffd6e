"""What a registry keeps, on disk: blobs once, and in each repository what it has of them. Blocking.

    registry                                      says that this directory is a registry's
    blobs/sha256/<hex>                            content, never changed
    ingest/                                       blobs from a mirror and small files, on their way
    repositories/<name>/_blobs/<hex>              empty: the repository has this blob
    repositories/<name>/_manifests/<hex>          the media type of a manifest that it has
    repositories/<name>/_tags/<tag>               the digest that the tag means; "mirror" in a line of its own
    repositories/<name>/_referrers/<hex>/<hex>    descriptor of a manifest that is about the first one
    repositories/<name>/_uploads/<id>             the bytes of an unfinished upload: see `sessions`

No part of a repository's name begins with `_`. Everything appears by one rename or link of something that
the disk has, content before what names it: a process that is killed leaves nothing half-made, and what was
answered stays. Whoever adds a name holds `changing`, which keeps the collector (`collect`) away.
"""

from __future__ import annotations

import json
import os
import threading
import time

from layers.digest import Digest, is_digest
from layers.document import decode
from layers.errors import BlobNotFound, LayersError
from layers.manifest import Descriptor, parse_manifest
from layers.store.directory import ImageLayout
from layers.store.files import create_file, remove_if_there, replace_file, sync_directory
from rootless.errors import StateConflict
from rootless.registry.server.manifests import Examined, examine
from rootless.registry.server.refusal import (
    BLOB_UNKNOWN,
    MANIFEST_BLOB_UNKNOWN,
    MANIFEST_UNKNOWN,
    NAME_UNKNOWN,
    Refusal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.locks import FileLock

_MARK = b"rootless registry 1\n"
_OWN = frozenset(("blobs", "ingest", "repositories", "lost+found"))
"""What may be there beside the mark: of a begin that was killed, or of a disk of its own."""
_ALGORITHM = "sha256:"
_LOCK_WAIT_S = 300.0
"""How long a push waits for a collector: it reads every manifest and deletes, a matter of seconds."""
FRESH_S = 3600.0
"""For so long a blob without manifest is spared since a client sent it, or was told that it is there."""


class Storage:
    """A registry's directory.

    Safe for threads and processes; `ensure` makes it.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.layout = ImageLayout(self.root)
        self._ingest = os.path.join(self.root, "ingest")
        self._repositories = os.path.join(self.root, "repositories")
        self._changing_tags = threading.Lock()

    def ensure(self) -> None:
        """Make the directory.

        Raises:
            StateConflict: there is something else.
        """
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        names = set(os.listdir(self.root))
        if "registry" not in names and names - _OWN:
            raise StateConflict(
                "cannot keep a registry there: the directory has other content",
                on=self.root,
                hint="-v names a directory that is empty, or was a registry's before",
                reference="registry-directory",
            )
        for path in (os.path.dirname(self.layout.blob_path(_EXAMPLE)), self._ingest, self._repositories):
            os.makedirs(path, mode=0o700, exist_ok=True)
        create_file(os.path.join(self.root, "registry"), _MARK, scratch=self._ingest)

    def check(self) -> None:
        """Refuse a directory that is no registry's.

        Raises:
            StateConflict: it is not.
        """
        if not os.path.isfile(os.path.join(self.root, "registry")):
            raise StateConflict("there is no registry", on=self.root, reference="registry-directory")

    def changing(self) -> FileLock:
        """Return the lock to hold while something gets a name, or a manifest goes."""
        return self.layout.pulling(wait_s=_LOCK_WAIT_S)

    def repository_path(self, repository: str, *parts: str) -> str:
        return os.path.join(self._repositories, repository, *parts)

    # Blobs

    def has_blob(self, repository: str, digest: Digest) -> bool:
        return self.layout.has(digest) and os.path.exists(self._blob_link(repository, digest))

    def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob.

        Raises:
            Refusal: the repository has none.
        """
        try:
            if os.path.exists(self._blob_link(repository, digest)):
                return os.stat(self.layout.blob_path(digest)).st_size
        except FileNotFoundError:
            pass  # collected meanwhile
        raise Refusal(404, BLOB_UNKNOWN, f"the repository {repository} has no such blob")

    def promise_blob(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob that a client asked for, who may now push a manifest without sending it.

        Raises:
            Refusal: the repository has none.
        """
        link = self._blob_link(repository, digest)
        try:
            stale = time.time() - os.stat(link).st_mtime > FRESH_S / 2
        except FileNotFoundError:
            stale = False
        if stale and os.access(self.root, os.W_OK):
            with self.changing():
                if os.path.exists(link):
                    os.utime(link)
        return self.blob_size(repository, digest)

    def open_blob(self, repository: str, digest: Digest) -> int:
        """Return a descriptor, which the caller owns, of a blob.

        Raises:
            Refusal: the repository has none.
        """
        self.blob_size(repository, digest)
        try:
            return self.layout.open_blob(digest)
        except BlobNotFound:
            raise Refusal(404, BLOB_UNKNOWN, "the blob was deleted meanwhile") from None

    def mount_blob(self, repository: str, digest: Digest, *, source: str) -> bool:
        """Let a repository have a blob of another one ("" for any); False where that has none."""
        with self.changing():
            there = self.has_blob(source, digest) if source else self.layout.has(digest)
            if there:
                self.link_blob(repository, digest)
            return there

    def link_blob(self, repository: str, digest: Digest) -> None:
        """Let a repository have a blob; hold `changing`."""
        link = self._blob_link(repository, digest)
        make_directory(os.path.dirname(link))
        os.close(os.open(link, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.utime(link)
        sync_directory(os.path.dirname(link))

    def delete_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob away from a repository; the collector deletes what none has.

        Raises:
            Refusal: it has none.
        """
        try:
            os.unlink(self._blob_link(repository, digest))
        except FileNotFoundError:
            raise Refusal(404, BLOB_UNKNOWN, f"the repository {repository} has no such blob") from None
        sync_directory(self.repository_path(repository, "_blobs"))

    # Manifests

    def put_manifest(
        self, repository: str, data: bytes, examined: Examined, *, tag: str = "", mirrored: bool = False
    ) -> None:
        """Store a manifest, and let a tag mean it.

        Args:
            mirrored: it comes from another registry, whose blobs follow when they are asked for.
        Raises:
            Refusal: what it is made of is not there.
        """
        with self.changing(), self._changing_tags:
            if not mirrored:
                self._check_parts(repository, examined)
            self.layout.add_blob(data)
            media_type = examined.media_type.encode()
            self._write(self._manifest_link(repository, examined.digest), media_type)
            if examined.subject is not None:
                text = json.dumps(examined.referrer.to_json()).encode()
                self._write(self._referrer(repository, examined.subject, examined.digest), text)
            if tag:
                text = examined.digest.encode() + (b"\nmirror" if mirrored else b"")
                self._write(self.repository_path(repository, "_tags", tag), text)

    def find_tag(self, repository: str, tag: str) -> tuple[Digest | None, bool]:
        """Return (the digest that a tag means, None for none; whether it is a mirror's)."""
        try:
            with open(self.repository_path(repository, "_tags", tag), encoding="ascii") as file:
                digest, _, origin = file.read().partition("\n")
        except FileNotFoundError:
            return None, False
        return (Digest(digest) if is_digest(digest) else None), bool(origin)

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        return os.path.exists(self._manifest_link(repository, digest))

    def read_manifest(self, repository: str, digest: Digest) -> tuple[str, bytes]:
        """Return (media type, verified bytes) of a manifest.

        Raises:
            Refusal: the repository has none.
        """
        try:
            with open(self._manifest_link(repository, digest), encoding="ascii") as file:
                media_type = file.read()
            return media_type, self.layout.read_blob(digest)
        except (FileNotFoundError, BlobNotFound):
            message = f"the repository {repository} has no such manifest"
            raise Refusal(404, MANIFEST_UNKNOWN, message) from None

    def delete_tag(self, repository: str, tag: str) -> None:
        """Delete a tag; what it meant stays.

        Raises:
            Refusal: there is none.
        """
        try:
            os.unlink(self.repository_path(repository, "_tags", tag))
        except FileNotFoundError:
            raise Refusal(404, MANIFEST_UNKNOWN, f"the repository {repository} has no such tag") from None
        sync_directory(self.repository_path(repository, "_tags"))

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Delete a manifest with the tags that mean it.

        Raises:
            Refusal: there is none.
        """
        with self.changing(), self._changing_tags:
            media_type, data = self.read_manifest(repository, digest)
            for tag in self._names(repository, "_tags"):
                if self.find_tag(repository, tag)[0] == digest:
                    self.delete_tag(repository, tag)
            subject = examine(data, media_type).subject
            if subject is not None:
                remove_if_there(self._referrer(repository, subject, digest))
            remove_if_there(self._manifest_link(repository, digest))
            sync_directory(self.repository_path(repository, "_manifests"))

    # Lists

    def repositories(self) -> Iterator[str]:
        """Iterate over the names of the repositories that have a manifest."""
        for repository in self.all_repositories():
            if self._names(repository, "_manifests"):
                yield repository

    def all_repositories(self) -> Iterator[str]:
        """Iterate over the names of all directories that are, or could become, a repository's."""
        for path, directories, _ in os.walk(self._repositories):
            own = [name for name in directories if name.startswith("_")]
            directories[:] = [name for name in directories if not name.startswith("_")]
            if own:
                yield os.path.relpath(path, self._repositories)

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository, in no order.

        Raises:
            Refusal: there is no such repository.
        """
        if not self._names(repository, "_manifests"):
            raise Refusal(404, NAME_UNKNOWN, f"there is no repository {repository}")
        return self._names(repository, "_tags")

    def manifests(self, repository: str) -> list[Digest]:
        return self._digests(self.repository_path(repository, "_manifests"))

    def blob_links(self, repository: str) -> list[Digest]:
        return self._digests(self.repository_path(repository, "_blobs"))

    def referrers(self, repository: str, subject: Digest) -> list[Descriptor]:
        """Return the descriptors of the manifests that are about one, which need not be there."""
        directory = self.repository_path(repository, "_referrers", subject.encoded)
        found = []
        for digest in self._digests(directory):
            try:
                with open(os.path.join(directory, digest.encoded), "rb") as file:
                    found.append(Descriptor.from_fields(decode(file.read(), "descriptor")))
            except (FileNotFoundError, LayersError):
                continue  # deleted meanwhile
        return found

    def promised_size(self, repository: str, digest: Digest) -> int | None:
        """Return the size that a manifest of the repository gives for a blob, None where none names it."""
        for name in self.manifests(repository):
            try:
                media_type, data = self.read_manifest(repository, name)
                manifest = parse_manifest(data, media_type)
            except (Refusal, LayersError):
                continue  # deleted meanwhile, or an index
            for part in (manifest.config, *manifest.layers):
                if part.digest == digest:
                    return part.size
        return None

    # Paths

    def _check_parts(self, repository: str, examined: Examined) -> None:
        missing = [d for d in examined.blobs if not self.has_blob(repository, d)]
        missing += [d for d in examined.manifests if not self.has_manifest(repository, d)]
        if missing:
            message = f"the repository {repository} has not what the manifest names: {', '.join(missing[:5])}"
            raise Refusal(400, MANIFEST_BLOB_UNKNOWN, message)

    def _blob_link(self, repository: str, digest: Digest) -> str:
        return self.repository_path(repository, "_blobs", digest.encoded)

    def _manifest_link(self, repository: str, digest: Digest) -> str:
        return self.repository_path(repository, "_manifests", digest.encoded)

    def _referrer(self, repository: str, subject: Digest, digest: Digest) -> str:
        return self.repository_path(repository, "_referrers", subject.encoded, digest.encoded)

    def _write(self, path: str, data: bytes) -> None:
        make_directory(os.path.dirname(path))
        replace_file(path, data, scratch=self._ingest, mode=0o600)

    def _names(self, repository: str, kind: str) -> list[str]:
        try:
            return os.listdir(self.repository_path(repository, kind))
        except FileNotFoundError:
            return []

    def _digests(self, directory: str) -> list[Digest]:
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            return []
        return [Digest(_ALGORITHM + name) for name in names if is_digest(_ALGORITHM + name)]


_EXAMPLE = Digest(_ALGORITHM + "0" * 64)


def make_directory(path: str) -> None:
    """Make a directory and those above it, durably; idempotent."""
    if os.path.isdir(path):
        return
    make_directory(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # somebody else was first
    sync_directory(os.path.dirname(path))
