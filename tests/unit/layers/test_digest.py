from __future__ import annotations

import copy
import hashlib
import io
import pickle

import pytest

from layers.digest import CHUNK_BYTES, Digest, VerifyingHasher, VerifyingReader, digest_bytes
from layers.errors import DigestMismatch, InvalidDigest, SizeMismatch
from tests.helpers.blobs import describe

GOOD = "sha256:" + "0123456789abcdef" * 4


def test_digest_of_good_shape_is_a_string_with_parts() -> None:
    digest = Digest(GOOD)
    assert digest == GOOD
    assert digest.algorithm == "sha256"
    assert digest.encoded == GOOD[7:]
    assert digest.short == GOOD[7:19]
    assert Digest.parse(digest) is digest
    assert type(pickle.loads(pickle.dumps(digest))) is Digest
    assert copy.deepcopy(digest) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        GOOD.upper(),
        "SHA256" + GOOD[6:],
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha256:" + "٠" * 64,  # decimal digits, of another script
        "sha256:../../../../../../../../../../etc/passwd" + "0" * 27,
        "sha256:" + "../" * 21 + "a",
        "sha256:" + "a" * 63 + "/",
        "sha256:" + "a" * 63 + "\0",
        "a" * 64,
        "sha256-" + "a" * 64,
        "md5:" + "a" * 32,
        "sha256+b64u:" + "a" * 59,
        " " + GOOD,
    ],
)
def test_digest_of_any_other_shape_is_refused(text: str) -> None:  # CVE-2024-3727
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


def test_digest_sha512_is_refused_by_name() -> None:
    with pytest.raises(InvalidDigest, match="only sha256 is supported, not sha512"):
        Digest("sha512:" + "a" * 128)


@pytest.mark.parametrize("value", [None, 1, b"sha256:" + b"a" * 64, [], {}])
def test_digest_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(InvalidDigest, match="a string is needed"):
        Digest.parse(value)


def test_digest_bytes_agrees_with_hashlib_for_small_and_large() -> None:
    for data in (b"", b"abc", b"x" * (CHUNK_BYTES + 1)):
        assert digest_bytes(data) == "sha256:" + hashlib.sha256(data).hexdigest()


def test_hasher_returns_the_digest_of_right_bytes() -> None:
    hasher = VerifyingHasher(describe(b"hello"))
    hasher.update(b"he")
    assert hasher.missing == 3
    hasher.update(memoryview(b"llo"))
    assert hasher.finish() == digest_bytes(b"hello")


def test_hasher_refuses_surplus_bytes_at_once_and_takes_none() -> None:
    hasher = VerifyingHasher(describe(b"hello"))
    hasher.update(b"hell")
    with pytest.raises(SizeMismatch) as caught:
        hasher.update(b"o!")
    assert (caught.value.expected, caught.value.actual, hasher.seen) == (5, 6, 4)
    hasher.update(b"o")
    hasher.finish()


def test_hasher_refuses_missing_bytes_at_the_end() -> None:
    hasher = VerifyingHasher(describe(b"hello"))
    hasher.update(b"hell")
    with pytest.raises(SizeMismatch, match="it has 4 bytes, not 5"):
        hasher.finish()


def test_hasher_refuses_other_bytes_of_the_same_size() -> None:
    hasher = VerifyingHasher(describe(b"hello"))
    hasher.update(b"hallo")
    with pytest.raises(DigestMismatch) as caught:
        hasher.finish()
    assert caught.value.expected == digest_bytes(b"hello")
    assert caught.value.actual == digest_bytes(b"hallo")


def test_reader_hands_on_chunks_and_verifies() -> None:
    data = bytes(range(256)) * 10_000
    reader = VerifyingReader(io.BytesIO(data).read, describe(data))
    chunks = list(reader)
    assert b"".join(chunks) == data
    assert max(map(len, chunks)) <= CHUNK_BYTES


def test_reader_stops_one_byte_after_the_promised_size() -> None:
    source = io.BytesIO(b"hello" + b"x" * 1_000_000)
    with pytest.raises(SizeMismatch):
        list(VerifyingReader(source.read, describe(b"hello")))
    assert source.tell() == 6


def test_reader_of_a_short_source_fails() -> None:
    with pytest.raises(SizeMismatch):
        list(VerifyingReader(io.BytesIO(b"hell").read, describe(b"hello")))
