"""Digests, and hashing that verifies bytes as they flow.

`sha256:` and nothing else: every registry in use speaks it, and a digest becomes a file name and a part of
URLs, so that its shape is a security boundary (CVE-2024-3727). Ring 1: hashlib is imported where needed.
"""

from __future__ import annotations

from layers.errors import DigestMismatch, InvalidDigest, SizeMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, Self

    class Sized(Protocol):
        """What a hasher needs of a descriptor."""

        @property
        def digest(self) -> Digest: ...
        @property
        def size(self) -> int: ...


ALGORITHM = "sha256"
ENCODED_LENGTH = 64
CHUNK_BYTES = 1 << 20
_PREFIX = ALGORITHM + ":"
_HEX = frozenset("0123456789abcdef")
_KNOWN_ELSEWHERE = ("sha384:", "sha512:", "blake3:")


class Digest(str):
    """A content digest, "sha256:" and 64 lower-case hexadecimal digits; one that exists is valid.

    Raises:
        InvalidDigest: the text is anything else.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if not is_digest(text):
            raise InvalidDigest(f"invalid digest: {_reason(text)}", on=_shorten(text))
        return super().__new__(cls, text)

    @classmethod
    def parse(cls, text: object) -> Self:
        """Check text that came from outside, of any type.

        Raises:
            InvalidDigest: it is not a digest.
        """
        if type(text) is cls:
            return text
        if not isinstance(text, str):
            raise InvalidDigest(f"invalid digest: a string is needed, not {type(text).__name__}")
        return cls(text)

    @property
    def algorithm(self) -> str:
        return ALGORITHM

    @property
    def encoded(self) -> str:
        """The 64 hexadecimal digits: safe as a file name."""
        return str(self[len(_PREFIX) :])

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, as lists show ids."""
        return self.encoded[:12]


class VerifyingHasher:
    """Hash bytes as they flow and hold them to a descriptor.

    Call `update` with bytes *before* they are stored or used, and `finish` at the end.
    """

    __slots__ = ("_hash", "descriptor", "seen")

    def __init__(self, descriptor: Sized) -> None:
        import hashlib  # 3 ms of OpenSSL that a run of a local image does not need

        self.descriptor = descriptor
        self.seen = 0
        self._hash = hashlib.sha256()

    @property
    def missing(self) -> int:
        """Bytes that are still to come."""
        return self.descriptor.size - self.seen

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes.

        Raises:
            SizeMismatch: there are more than the descriptor allows; none of `data` was taken.
        """
        seen = self.seen + len(data)
        if seen > self.descriptor.size:
            raise SizeMismatch(expected=self.descriptor.size, actual=seen, on=self.descriptor.digest)
        self._hash.update(data)
        self.seen = seen

    def finish(self) -> Digest:
        """Return the verified digest.

        Raises:
            SizeMismatch: bytes are missing.
            DigestMismatch: the bytes are not the ones named.
        """
        expected = self.descriptor.digest
        if self.seen != self.descriptor.size:
            raise SizeMismatch(expected=self.descriptor.size, actual=self.seen, on=expected)
        actual = Digest(_PREFIX + self._hash.hexdigest())
        if actual != expected:
            raise DigestMismatch(expected=expected, actual=actual, on=expected)
        return actual


class VerifyingReader:
    """Iterate over the chunks of a source, each held to the descriptor before it is handed on.

    The last chunk comes *before* the digest is known to be right: use nothing for good until the
    iteration has ended without an error.

    Args:
        read: returns up to n bytes, b"" at the end (`file.read`, `functools.partial(os.read, fd)`).
    """

    __slots__ = ("_hasher", "_read")

    def __init__(self, read: Callable[[int], bytes], descriptor: Sized) -> None:
        self._read = read
        self._hasher = VerifyingHasher(descriptor)

    def __iter__(self) -> Iterator[bytes]:
        # One byte more than is missing: that is how trailing bytes are noticed without reading them all.
        while chunk := self._read(min(CHUNK_BYTES, self._hasher.missing + 1)):
            self._hasher.update(chunk)
            yield chunk
        self._hasher.finish()


def is_digest(text: str) -> bool:
    """Tell whether a string has the one accepted shape."""
    return (
        len(text) == len(_PREFIX) + ENCODED_LENGTH
        and text.startswith(_PREFIX)
        and _HEX.issuperset(text[len(_PREFIX) :])
    )


def digest_bytes(data: bytes) -> Digest:
    """Return the digest of bytes in memory.

    Cost: no import of OpenSSL; for more than a manifest's worth of bytes use VerifyingHasher.
    """
    if len(data) > CHUNK_BYTES:
        import hashlib

        return Digest(_PREFIX + hashlib.sha256(data).hexdigest())
    return Digest(_PREFIX + _small_sha256()(data).hexdigest())


def _small_sha256() -> Callable[[bytes], _Hash]:
    """Return the interpreter's own sha256: 0.05 ms to import where hashlib costs 2.7 ms."""
    try:
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]  # Python 3.12 and newer
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            from hashlib import sha256  # an interpreter built without its own hashes
    return sha256  # type: ignore[no-any-return]


if TYPE_CHECKING:

    class _Hash(Protocol):
        def hexdigest(self) -> str: ...


def _reason(text: str) -> str:
    if text.startswith(_KNOWN_ELSEWHERE):
        return f"only {ALGORITHM} is supported, not {text.partition(':')[0]}"
    return f"`{_PREFIX}` and {ENCODED_LENGTH} lower-case hexadecimal digits are needed"


def _shorten(text: str) -> str:
    return text if len(text) <= 160 else text[:157] + "..."
