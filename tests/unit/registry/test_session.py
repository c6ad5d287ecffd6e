from __future__ import annotations

import json

import pytest

from layers import media
from layers.digest import Digest, digest_bytes
from layers.errors import DigestMismatch, InvalidManifest, LayersError, SizeMismatch, UnknownMediaType
from layers.manifest import Descriptor
from rootless.errors import RegistryError
from rootless.registry.faults import Answer, NetworkFault, answer_error
from rootless.registry.session import bytes_to_skip, check_length, range_header, read_manifest

EMPTY = Digest("sha256:" + "0" * 64)
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": {"mediaType": media.OCI_CONFIG, "digest": EMPTY, "size": 2},
        "layers": [],
    }
).encode()


def answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(url="https://r/x", status=status, headers=named, body=body)


def read(given: Answer, *, wanted: Descriptor | None = None, digest: str = "") -> Descriptor:
    return read_manifest(given, wanted=wanted, digest=digest, on="r/x:1")


def test_digest_is_computed_from_the_bytes() -> None:
    found = read(answer(MANIFEST, content_type=media.OCI_MANIFEST))
    assert (found.digest, found.size) == (digest_bytes(MANIFEST), len(MANIFEST))
    assert found.media_type == media.OCI_MANIFEST


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain; charset=utf-8"])
def test_vague_content_type_leaves_it_to_the_document(content_type: str) -> None:
    assert read(answer(MANIFEST, content_type=content_type)).media_type == media.OCI_MANIFEST


def test_manifest_of_another_digest_is_refused() -> None:
    with pytest.raises(DigestMismatch):
        read(answer(MANIFEST), digest=EMPTY)


def test_lie_in_the_digest_header_is_refused() -> None:
    with pytest.raises(DigestMismatch):
        read(answer(MANIFEST, docker_content_digest=EMPTY))


def test_manifest_of_another_size_than_its_index_says_is_refused() -> None:
    wanted = Descriptor(media_type=media.OCI_MANIFEST, digest=digest_bytes(MANIFEST), size=len(MANIFEST) + 1)
    with pytest.raises(SizeMismatch):
        read(answer(MANIFEST), wanted=wanted, digest=wanted.digest)


def test_html_in_place_of_a_manifest_is_shown() -> None:
    page = b"<html>\x1b[31m<title>Log in</title>"
    with pytest.raises(RegistryError) as caught:
        read(answer(page, content_type="text/html"))
    assert 'text/html: "<html> [31m<title>Log in</title>"' in caught.value.message


def test_empty_answer_is_said_to_be_empty() -> None:
    with pytest.raises(RegistryError, match="an empty body"):
        read(answer(b""))


def test_manifest_beyond_four_mebibytes_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="more than"):
        read(answer(b"{" + b" " * (4 << 20)))


def test_document_that_is_index_and_manifest_is_refused() -> None:
    both = json.dumps({**json.loads(MANIFEST), "manifests": []}).encode()
    with pytest.raises(LayersError):
        read(answer(both, content_type=media.OCI_MANIFEST))


def test_type_that_contradicts_the_index_is_refused() -> None:
    wanted = Descriptor(media_type=media.OCI_INDEX, digest=digest_bytes(MANIFEST), size=len(MANIFEST))
    with pytest.raises(LayersError):
        read(answer(MANIFEST), wanted=wanted, digest=wanted.digest)


def test_schema_1_is_refused() -> None:
    old = json.dumps({"schemaVersion": 1, "fsLayers": []}).encode()
    with pytest.raises(UnknownMediaType):
        read(answer(old, content_type=media.DOCKER_SCHEMA1_SIGNED))


def test_resuming_asks_for_a_range_and_takes_what_it_gets() -> None:
    assert range_header(0) == {}
    assert range_header(10) == {"Range": "bytes=10-"}
    assert bytes_to_skip(status=206, content_range="bytes 10-99/100", offset=10, on="x") == 0
    assert bytes_to_skip(status=200, content_range="", offset=10, on="x") == 10


@pytest.mark.parametrize(
    "content_range", ["bytes 0-99/100", "bytes 11-99/100", "", "bytes */100", "lines 10-99/100"]
)
def test_other_range_than_asked_for_is_refused(content_range: str) -> None:
    with pytest.raises(RegistryError, match="cannot resume"):
        bytes_to_skip(status=206, content_range=content_range, offset=10, on="x")


def test_announced_length_must_fit() -> None:
    check_length("10", expected=10, on="x")
    check_length("", expected=10, on="x")
    with pytest.raises(SizeMismatch):
        check_length("11", expected=10, on="x")


@pytest.mark.parametrize(
    ("status", "reference", "transient"),
    [
        (401, "registry-denied", False),
        (403, "registry-denied", False),
        (404, "no-such-image", False),
        (429, "rate-limit", True),
        (500, "registry-unreachable", True),
        (503, "registry-unreachable", True),
        (418, "registry", False),
    ],
)
def test_each_status_has_its_error(status: int, reference: str, transient: bool) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"no \\u001b[2J entry"}]}'
    error = answer_error(answer(body, status), doing="pull", on="r/x:1", credentials="look there")
    assert error.reference == reference
    assert isinstance(error, NetworkFault) is transient
    assert f"{status}" in error.message
    assert "DENIED: no" in error.message
    assert "\x1b" not in error.render()
    if reference == "registry-denied":
        assert error.hint == "look there"


def test_rate_limit_tells_what_the_registry_said() -> None:
    given = answer(b"", 429, retry_after="120", ratelimit_limit="100;w=21600")
    error = answer_error(given, doing="pull", on="x")
    assert error.hint is not None
    assert "100 requests in 6 h, again in 2 min" in error.hint
    assert isinstance(error, NetworkFault)
    assert error.retry_after == "120"


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b'{"errors":3}', b'{"errors":[3]}', b"[" * 100_000, b"\xff\xfe"]
)
def test_error_body_of_any_kind_is_survived(body: bytes) -> None:
    assert "500" in answer_error(answer(body, 500), doing="pull", on="x").message
