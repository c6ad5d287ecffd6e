"""What can be wrong with content: one exception per kind of fault, all of them LayersError.

A leaf: imports nothing. `OSError` passes through this library untranslated where the disk is at fault;
everything here says that some content, name or reference is. Ring 1.
"""

from __future__ import annotations


class LayersError(Exception):
    """Content that cannot be used.

    Args:
        message: lower case, verb phrase first, cause last, no final period.
        on: the object: a digest, a reference, a path; one line.
        hint: what can be done next, "" if nothing.

    Attributes:
        reference: kebab-case name of the kind, for scripts and documentation.
    """

    reference = "bad-content"

    def __init__(self, message: str, *, on: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.on = on
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} (on {self.on})" if self.on else self.message


class InvalidDigest(LayersError):
    """Not `sha256:` and 64 lower-case hexadecimal digits."""

    reference = "invalid-digest"


class InvalidReference(LayersError):
    """Not `[domain/]path[:tag][@digest]`."""

    reference = "invalid-reference"


class InvalidManifest(LayersError):
    """An index, manifest or config that its specification forbids, or too big to be one."""

    reference = "invalid-manifest"


class UnknownMediaType(InvalidManifest):
    """Well formed, but of a kind that this library does not handle."""

    reference = "unknown-media-type"


class InvalidPlatform(LayersError):
    """Not `os/architecture[/variant]`."""

    reference = "invalid-platform"


class NoMatchingPlatform(LayersError):
    """The index has no image for the platform asked for."""

    reference = "no-matching-platform"


class InvalidLayer(LayersError):
    """A layer's tar, compression or entries are wrong or hostile.

    Attributes:
        entry: name of the tar member at fault as it stands in the archive, b"" if it is the stream.
    """

    reference = "invalid-layer"

    def __init__(self, message: str, *, entry: bytes = b"", on: str = "", hint: str = "") -> None:
        super().__init__(message, on=on, hint=hint)
        self.entry = entry


class InvalidArchive(LayersError):
    """An archive of images lacks an entry, has one twice, or one that cannot be told to be what it claims."""

    reference = "invalid-archive"


class DigestMismatch(LayersError):
    """The bytes are not those that the digest names."""

    reference = "digest-mismatch"

    def __init__(self, *, expected: str, actual: str, on: str = "") -> None:
        super().__init__(f"cannot accept content: its digest is {actual}, not {expected}", on=on)
        self.expected = expected
        self.actual = actual


class SizeMismatch(LayersError):
    """More bytes, or fewer, than the descriptor promises.

    Attributes:
        actual: bytes seen when the fault was found; with more bytes than expected, a lower bound.
    """

    reference = "size-mismatch"

    def __init__(self, *, expected: int, actual: int, on: str = "") -> None:
        many = "at least " if actual > expected else ""
        super().__init__(
            f"cannot accept content: it has {many}{actual} bytes, not {expected}",
            on=on,
        )
        self.expected = expected
        self.actual = actual


class CorruptBlob(LayersError):
    """A stored blob's bytes are no longer what its name says."""

    reference = "corrupt-blob"


class BlobNotFound(LayersError):
    """The store has no such blob."""

    reference = "blob-not-found"


class ImageNotFound(LayersError):
    """No image has that name, id or digest, or a prefix fits more than one."""

    reference = "image-not-found"


class AmbiguousImage(ImageNotFound):
    """A prefix fits the ids of more than one image."""

    reference = "ambiguous-image"


class StoreError(LayersError):
    """The store's own files are damaged, or the disk is full."""

    reference = "store"


class LockTimeout(StoreError):
    """Another process held a lock for longer than this one was willing to wait."""

    reference = "lock-timeout"
