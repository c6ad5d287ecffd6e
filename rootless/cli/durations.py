"""Lengths of time as Go writes them: "1h30m", "1.5s", "200ms". Pure; ring 1."""

from __future__ import annotations

from rootless.cli.args import bad_value

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # U+00B5, micro sign
    "μs": 10**3,  # U+03BC, Greek mu
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PIECE = f"([0-9]*)(?:\\.([0-9]*))?({'|'.join(sorted(_UNITS_NS, key=len, reverse=True))})"
_MAX_NS = (1 << 63) - 1


def duration_ns(text: str) -> int | None:
    """Return nanoseconds, None where Go's time.ParseDuration would refuse the text."""
    import re  # 2 ms, and few containers are given a length of time

    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total = 0
    position = 0
    for match in re.finditer(_PIECE, rest):
        whole, fraction, unit = match[1], match[2] or "", match[3]
        if match.start() != position or not whole + fraction:
            return None
        total += int(whole or 0) * _UNITS_NS[unit]
        total += int(fraction or 0) * _UNITS_NS[unit] // 10 ** len(fraction)
        position = match.end()
    return sign * total if 0 < position == len(rest) and total <= _MAX_NS else None


def parse_duration(text: str, *, option: str) -> int:
    """Return nanoseconds of an option that takes no time before now.

    Raises:
        UsageError: it is malformed or negative.
    """
    time_ns = duration_ns(text) if len(text) < 100 else None
    if time_ns is None:
        raise bad_value(option, text, "not a length of time", hint="for example 30s, 1m30s or 500ms")
    if time_ns < 0:
        raise bad_value(option, text, "it cannot be negative")
    return time_ns
