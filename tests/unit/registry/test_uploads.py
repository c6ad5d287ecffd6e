from __future__ import annotations

import pytest

from rootless.registry import uploads
from rootless.registry.faults import Answer

MB = 1 << 20


@pytest.mark.parametrize(
    ("header", "count"),
    [
        ("0-9", 10),
        ("bytes=0-9", 10),
        (" 0-9 ", 10),
        ("0-0", 0),  # nothing, or one byte: nobody knows
        ("", 0),
        ("5-9", 0),
        ("0-99", 0),  # more than there is: all of it had been found as a blob
        ("0-x", 0),
        ("0-" + "9" * 30, 0),
    ],
)
def test_range_says_how_much_has_arrived(header: str, count: int) -> None:
    assert uploads.arrived(header, size=50) == count


def test_upload_is_ended_by_its_digest() -> None:
    assert uploads.with_digest("http://r/u", "sha256:a") == "http://r/u?digest=sha256:a"
    assert uploads.with_digest("http://r/u?state=1", "sha256:a") == "http://r/u?state=1&digest=sha256:a"


def test_mount_names_blob_and_repository() -> None:
    assert uploads.uploads_path("a/b") == "/v2/a/b/blobs/uploads/"
    path = uploads.uploads_path("a/b", mount="sha256:1", source="c/d")
    assert path == "/v2/a/b/blobs/uploads/?mount=sha256:1&from=c/d"


def test_part_of_a_blob_says_which() -> None:
    assert "Content-Range" not in uploads.part_headers(0, 10, whole=True)
    assert uploads.part_headers(5, 10, whole=False)["Content-Range"] == "5-9"


def test_chunks_shrink_to_what_registries_take_at_least() -> None:
    assert uploads.smaller_chunk(1000 * MB, least=0) == 64 * MB
    assert uploads.smaller_chunk(64 * MB, least=0) == 32 * MB
    assert uploads.smaller_chunk(8 * MB, least=0) == 5 * MB
    assert uploads.smaller_chunk(5 * MB, least=0) == 0
    assert uploads.smaller_chunk(20 * MB, least=16 * MB) == 16 * MB
    assert uploads.least_chunk("16") == 16
    assert uploads.least_chunk("x") == uploads.least_chunk("") == uploads.least_chunk("9" * 20) == 0


@pytest.mark.parametrize(
    ("status", "body", "lost"),
    [
        (404, b"", True),
        (416, b"", True),
        (400, b'{"errors":[{"code":"DIGEST_INVALID"}]}', True),
        (400, b'{"errors":[{"code":"NAME_INVALID"}]}', False),
        (400, b"<html>", False),
        (400, b'{"errors":[7]}', False),
        (403, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}', False),
    ],
)
def test_upload_is_lost_when_its_state_is_refused(status: int, body: bytes, lost: bool) -> None:
    assert uploads.is_lost(Answer(url="http://r/", status=status, headers={}, body=body)) == lost
