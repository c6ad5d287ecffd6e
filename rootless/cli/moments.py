"""Points in time as --since and --until take them. Pure; imported only for those options."""

from __future__ import annotations

import re

from rootless.cli.args import bad_value
from rootless.cli.durations import duration_ns

_UNIX = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,9}))?")
_FRACTION = re.compile(r"\.([0-9]+)")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})((?:[T ][0-9:]+(?:\.[0-9]+)?)?)((?:[Zz]|[-+][0-9:]+)?)")


def parse_moment(text: str, *, option: str, now_ns: int) -> int:
    """Return nanoseconds since the epoch.

    Args:
        text: RFC 3339 ("2013-01-02T13:23:37.000000001Z"; "2013-01-02" and forms in between; in local time
            where no zone is named), seconds since the epoch ("1136073600.5"), or how long ago ("42m",
            "1h30m"; "-42m" is to come).
    Raises:
        UsageError: it is none of these.
    """
    unix = _UNIX.fullmatch(text)
    if unix:
        return int(unix[1]) * 10**9 + int((unix[2] or "").ljust(9, "0"))
    ago_ns = duration_ns(text)
    if ago_ns is not None:
        return now_ns - ago_ns
    moment = _parse_date(text)
    if moment is None:
        raise bad_value(
            option, text, "not a point in time", hint="write 2013-01-02T13:23:37Z, 1136073600 or 42m"
        )
    return moment


def _parse_date(text: str) -> int | None:
    match = _DATE.fullmatch(text)  # fromisoformat takes much more
    if match is None:
        return None
    date, clock, zone = match.groups()
    if not clock:
        text = f"{date}T00{zone}"
    from datetime import UTC, datetime

    fraction = _FRACTION.search(text)
    nanoseconds = int(fraction[1][:9].ljust(9, "0")) if fraction else 0
    try:
        moment = datetime.fromisoformat(_FRACTION.sub("", text))
        seconds = (moment - datetime.fromtimestamp(0, UTC)) if moment.tzinfo else None
        whole = int(seconds.total_seconds()) if seconds is not None else int(moment.timestamp())
    except (ValueError, OverflowError, OSError):
        return None
    return whole * 10**9 + nanoseconds
