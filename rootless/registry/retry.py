"""When to try again, and after how long. Pure, but for the dice that are passed in."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.registry.settings import Deadlines

_TRANSIENT = frozenset((408, 429, 500, 502, 503, 504, 522, 524))


def is_transient(status: int) -> bool:
    """Tell whether the same request may be answered better a little later."""
    return status in _TRANSIENT


def pause_s(
    attempt: int,
    *,
    retry_after: str,
    now: float,
    deadlines: Deadlines,
    dice: Callable[[], float],
) -> float | None:
    """Return the seconds to wait before the next try, None when there shall be none.

    Args:
        attempt: tries so far, at least 1.
        retry_after: the header's value (RFC 9110 §10.2.3: seconds or a date), "" for none.
        now: seconds since the epoch, for a date.
        dice: returns [0, 1): clients that failed together must not come back together.
    """
    if attempt >= deadlines.attempts:
        return None
    asked = parse_retry_after(retry_after, now=now)
    if asked is not None and asked > deadlines.retry_after_limit_s:
        return None
    backoff = min(deadlines.backoff_limit_s, deadlines.backoff_s * 2.0 ** (attempt - 1))
    backoff *= 0.5 + dice() / 2
    return max(backoff, asked or 0.0)


def parse_retry_after(text: str, *, now: float) -> float | None:
    """Return seconds from now, None for a header that is missing or makes no sense."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


class RateWatch:
    """Notice a download that is too slow to ever end.

    Only time spent waiting for the network counts: a slow disk is not the registry's fault.
    """

    __slots__ = ("_bytes", "_deadlines", "_waited_s")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._waited_s = 0.0
        self._bytes = 0

    def is_too_slow(self, *, waited_s: float, count: int) -> bool:
        """Count one piece; True when the window is over and too little came in it."""
        self._waited_s += waited_s
        self._bytes += count
        if self._waited_s < self._deadlines.slow_window_s:
            return False
        too_slow = self._bytes < self._deadlines.slow_bytes_per_s * self._waited_s
        self._waited_s, self._bytes = 0.0, 0
        return too_slow
