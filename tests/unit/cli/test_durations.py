"""Lengths of time in Go's grammar."""

import pytest

from rootless.cli.durations import duration_ns, parse_duration
from rootless.errors import UsageError


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("30s", 30 * 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("200ms", 2 * 10**8),
        ("1µs", 1000),
        ("1μs", 1000),
        ("1us", 1000),
        ("7ns", 7),
        (".5s", 5 * 10**8),
        ("1.s", 10**9),
        ("-1m", -60 * 10**9),
        ("+1m", 60 * 10**9),
        ("1s1h", 3601 * 10**9),
        ("0.000000001s", 1),
    ],
)
def test_duration(text, time_ns):
    assert duration_ns(text) == time_ns


@pytest.mark.parametrize(
    "text", ["", "1", "s", ".s", "1 s", "1d", "1s ", "--1s", "1s-1s", "٣s", "1e3s", "1S", "9" * 30 + "h"]
)
def test_no_duration(text):
    assert duration_ns(text) is None
    with pytest.raises(UsageError, match="not a length of time"):
        parse_duration(text, option="--health-interval")


def test_option_cannot_be_negative():
    assert parse_duration("1m", option="--x") == 60 * 10**9
    with pytest.raises(UsageError, match="cannot be negative"):
        parse_duration("-1m", option="--x")
