"""The pulling half of the distribution specification, sans-io: what to ask, and what an answer is worth.

Spec: distribution-spec v1.1 §Pull. `transport.docker` carries the questions and answers.
"""

from __future__ import annotations

import re

from layers import media
from layers.digest import digest_bytes, is_digest
from layers.errors import DigestMismatch, InvalidManifest, LayersError, SizeMismatch
from layers.manifest import Descriptor, find_media_type
from rootless.errors import RegistryError
from rootless.registry.faults import Answer, NetworkFault, unexpected_error
from rootless.registry.settings import MAX_MANIFEST_BYTES

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
ACCEPT_MANIFEST = ", ".join(media.ACCEPT)


def manifest_path(repository_path: str, tag_or_digest: str) -> str:
    """Return the path of a manifest below the registry's root."""
    return f"/v2/{repository_path}/manifests/{tag_or_digest}"


def blob_path(repository_path: str, digest: str) -> str:
    """Return the path of a blob below the registry's root."""
    return f"/v2/{repository_path}/blobs/{digest}"


def read_manifest(answer: Answer, *, wanted: Descriptor | None, digest: str, on: str) -> Descriptor:
    """Judge the answer to a request for a manifest and return what it really is.

    Args:
        answer: of status 200.
        wanted: the index's descriptor that named it, None for the image's own reference.
        digest: that was asked for, "" for a tag.
        on: the image.

    Raises:
        LayersError: other bytes than promised: by digest, by size, or by the registry's own header.
        RegistryError: not a manifest at all.
    """
    body = answer.body
    if len(body) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(f"invalid manifest: it has more than {MAX_MANIFEST_BYTES} bytes", on=on)
    declared = media.essence(answer.headers.get("content-type", ""))
    if not body.lstrip()[:1] == b"{":
        raise unexpected_error(answer, doing="pull the manifest", on=on, wanted="JSON")
    actual = digest_bytes(body)
    header = answer.headers.get("docker-content-digest", "").strip()
    for promise in (digest, header if is_digest(header) else ""):
        if promise and promise != actual:
            raise DigestMismatch(expected=promise, actual=actual, on=f"manifest of {on}")
    if wanted is not None:
        if len(body) != wanted.size:
            raise SizeMismatch(expected=wanted.size, actual=len(body), on=f"manifest of {on}")
        declared = wanted.media_type  # the index was verified, the header was not
    try:
        media_type = find_media_type(body, declared)
    except LayersError as exc:
        exc.on = exc.on or on
        raise
    return Descriptor(media_type=media_type, digest=actual, size=len(body))


def range_header(offset: int) -> dict[str, str]:
    """Return the headers that ask for a blob from a byte on."""
    return {"Range": f"bytes={offset}-"} if offset else {}


def bytes_to_skip(*, status: int, content_range: str, offset: int, on: str) -> int:
    """Return how many bytes of a blob's answer come before `offset`.

    A server may ignore a Range (RFC 9110 §14.2) and send all. The digest of the whole decides in the end,
    wherever its bytes came from.

    Raises:
        RegistryError: a part was sent that was not asked for.
    """
    if status == 200:
        return offset
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if status == 206 and match and int(match[1]) == offset:
        return 0
    raise RegistryError(
        f"cannot resume the download at byte {offset}: the registry sent `{content_range[:80]}`",
        on=on,
        reference="bad-range",
    )


def check_length(content_length: str, *, expected: int, on: str) -> None:
    """Refuse a blob of the wrong length before it is downloaded.

    Raises:
        SizeMismatch: the length is announced and wrong.
    """
    if content_length.isascii() and content_length.isdigit() and len(content_length) < 19:
        length = int(content_length)
        if length != expected:
            raise SizeMismatch(expected=expected, actual=length, on=on)


def cut_short(*, received: int, expected: int, on: str) -> NetworkFault:
    """Return the fault for a body that ended in good order, but too early."""
    return NetworkFault(f"connection ended after {received} of {expected} bytes", on=on)
