"""The pushing half of the distribution specification, sans-io: what to send, and what an answer means.

Spec: distribution-spec v1.1 §Push. `transport.upload` carries the requests.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.faults import Answer

LEAST_CHUNK_BYTES = 5 << 20
"""What S3 takes for a part of an upload, and so what registries that keep blobs there like to get."""
MOST_CHUNK_BYTES = 64 << 20
"""First guess at what a proxy lets through that refused a whole blob: some stop at 100 MB."""
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})")
_LOST = frozenset(
    ("BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "SIZE_INVALID", "RANGE_INVALID")
)


def uploads_path(repository_path: str, *, mount: str = "", source: str = "") -> str:
    """Return the path that opens an upload.

    Args:
        mount: digest of a blob that the registry should take from its own repository `source` instead.
    """
    query = f"?{urlencode({'mount': mount, 'from': source}, safe=':/')}" if mount else ""
    return f"/v2/{repository_path}/blobs/uploads/{query}"


def with_digest(location: str, digest: str) -> str:
    """Return the URL that ends an upload."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def arrived(content_range: str, *, size: int) -> int:
    """Return how many bytes of an upload the registry has, by its Range header; 0 where that is not clear.

    "0-0" is what registries say of an empty upload, as well as of one byte.
    """
    match = _RANGE.fullmatch(content_range.strip())
    return int(match[1]) + 1 if match and 0 < int(match[1]) < size else 0


def part_headers(start: int, end: int, *, whole: bool) -> dict[str, str]:
    """Return the headers of a request with the bytes from `start` up to, not including, `end`.

    Args:
        whole: they are the whole blob, which needs no Content-Range; in that form it starts with no unit.
    """
    headers = {"Content-Type": "application/octet-stream"}
    if not whole:
        headers["Content-Range"] = f"{start}-{end - 1}"
    return headers


def smaller_chunk(refused: int, *, least: int) -> int:
    """Return how much to send at once after 413 for `refused` bytes, 0 when there is nothing left to try."""
    least = max(LEAST_CHUNK_BYTES, least)
    return min(MOST_CHUNK_BYTES, max(least, refused // 2)) if refused > least else 0


def least_chunk(header: str) -> int:
    """Read OCI-Chunk-Min-Length."""
    header = header.strip()
    return int(header) if header.isascii() and header.isdigit() and len(header) < 12 else 0


def is_lost(answer: Answer) -> bool:
    """Tell whether a refusal is about the state of an upload, so that a new upload may succeed."""
    if answer.status in (404, 416):
        return True
    try:
        codes = {error["code"] for error in json.loads(answer.body)["errors"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return answer.status == 400 and not _LOST.isdisjoint(codes)
