"""What a registry's headers say about how much it allows, in words. Pure.

Docker Hub: "RateLimit-Limit: 100;w=21600" (docs.docker.com, Docker Hub usage and limits); others: RFC 9110
§10.2.3, draft-ietf-httpapi-ratelimit-headers.
"""

from __future__ import annotations

import re
from email.utils import format_datetime, parsedate_to_datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_QUOTA = re.compile(r"(\d{1,9})(?:\s*;\s*w=(\d{1,9}))?")
_WHEN = ("x-ratelimit-reset", "ratelimit-reset", "x-retry-after", "retry-after")
_EPOCH = 1_000_000_000
"""Numbers from here on are seconds since 1970, smaller ones seconds from now."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def describe(headers: Mapping[str, str]) -> str:
    """Return "100 requests in 6 h, 0 left, again in 30 min", "" when nothing is said.

    Args:
        headers: by lower-case name; what they hold is the registry's, and believed only in the forms known.
    """
    parts = []
    if quota := _quota(headers, "ratelimit-limit"):
        window = f" in {_duration(int(quota[2]))}" if quota[2] else ""
        parts.append(f"{quota[1]} requests{window}")
    if quota := _quota(headers, "ratelimit-remaining"):
        parts.append(f"{quota[1]} left")
    if again := next(filter(None, (_moment(headers.get(name, "")) for name in _WHEN)), ""):
        parts.append(f"again {again}")
    return ", ".join(parts)


def _quota(headers: Mapping[str, str], name: str) -> re.Match[str] | None:
    return _QUOTA.match(headers.get(name, "") or headers.get(f"x-{name}", ""))


def _moment(text: str) -> str:
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        seconds = int(text)
        return f"in {_duration(seconds)}" if seconds < _EPOCH else f"at {_clock(seconds)}"
    try:
        return f"at {format_datetime(parsedate_to_datetime(text))}"
    except (ValueError, TypeError, OverflowError):
        return ""


def _clock(seconds: int) -> str:
    from datetime import UTC, datetime  # a limit that is reached pays for it

    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _duration(seconds: int) -> str:
    """Return seconds in the largest unit that they fill at least twice."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
