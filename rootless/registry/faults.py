"""What went wrong at a registry, told so that the user can act. Pure.

No secret may get in here: URLs are shown without their query, headers not at all.
"""

from __future__ import annotations

import json

from rootless.errors import RegistryError, printable
from rootless.registry.ratelimit import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

EXCERPT_CHARACTERS = 200


class NetworkFault(RegistryError):
    """The way to the registry failed, or it was too busy: the same request may succeed later.

    Attributes:
        retry_after: what the registry asked for, "" for nothing.
        connecting: not even a connection came about.
    """

    reference = "registry-unreachable"
    retry_after = ""
    connecting = False


class ManifestRefused(RegistryError):
    """The registry takes no manifest of this kind, or finds it wrong."""

    reference = "manifest-refused"


class Answer:
    """One complete small answer.

    Attributes:
        url: that it came from, after redirects.
        headers: by lower-case name.
        body: at most the number of bytes that the asker allowed.
    """

    __slots__ = ("body", "headers", "status", "url")

    def __init__(self, *, url: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body


def answer_error(answer: Answer, *, doing: str, on: str, credentials: str = "") -> RegistryError:
    """Return the error for an answer that is no success.

    Args:
        doing: "pull the manifest"; follows "cannot".
        on: the image.
        credentials: where credentials came from or could be, for 401 and 403.
    """
    said = registry_errors(answer.body) or described_body(answer)
    message = (
        f"cannot {doing}: the registry answered {answer.status} {_STATUS.get(answer.status, '')}".rstrip()
    )
    if said:
        message = f"{message}: {said}"
    hint, reference = _advice(answer, credentials)
    if answer.status == 429 or answer.status >= 500:
        fault = NetworkFault(message, on=on, hint=hint, reference=reference)
        fault.retry_after = answer.headers.get("retry-after", "")
        return fault
    return RegistryError(message, on=on, hint=hint, reference=reference)


def unexpected_error(answer: Answer, *, doing: str, on: str, wanted: str) -> RegistryError:
    """Return the error for an answer of status 200 that holds something else than was asked for."""
    said = described_body(answer) or "an empty body"
    return RegistryError(
        f"cannot {doing}: the answer is not {wanted}, but {said}",
        on=on,
        hint="is this host a registry, or does a proxy or login page answer in its place?",
        reference="unexpected-answer",
    )


def registry_errors(body: bytes) -> str:
    """Return "CODE: message; …" of distribution-spec §Error Codes, "" when the body is something else."""
    try:
        errors = json.loads(body)["errors"]
        items = [(str(item.get("code", "")), str(item.get("message", ""))) for item in errors[:3]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return "; ".join(f"{code}: {text}".strip(": ") for code, text in items)[: 2 * EXCERPT_CHARACTERS]


def described_body(answer: Answer) -> str:
    """Return 'text/html: "<html>…"', "" for an empty body."""
    if not answer.body:
        return ""
    kind = printable(answer.headers.get("content-type", "")[:80]) or "no content type"
    text = answer.body[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace")
    excerpt = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f'{kind}: "{excerpt[:EXCERPT_CHARACTERS]}"'


_STATUS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _advice(answer: Answer, credentials: str) -> tuple[str | None, str]:
    """Return (hint, reference) for a status."""
    status = answer.status
    if status in (401, 403):
        return credentials or None, "registry-denied"
    if status == 404:
        return "check the name and the tag; a private image may also hide behind this answer", "no-such-image"
    if status == 413:
        return "the registry, or a proxy before it, takes nothing of this size", "registry"
    if status == 429:
        said = f" ({limits})" if (limits := describe(answer.headers)) else ""
        return f"the registry limits requests{said}; wait, or log in for a higher limit", "rate-limit"
    if status >= 500:
        return "the registry is in trouble; try again later", "registry-unreachable"
    return None, "registry"
