from __future__ import annotations

import pytest

from rootless.registry.retry import RateWatch, is_transient, parse_retry_after, pause_s
from rootless.registry.settings import Deadlines

DEADLINES = Deadlines(attempts=5, backoff_s=1, backoff_limit_s=4, retry_after_limit_s=60)


def pause(attempt: int, retry_after: str = "", dice: float = 1.0) -> float | None:
    return pause_s(attempt, retry_after=retry_after, now=1e9, deadlines=DEADLINES, dice=lambda: dice)


def test_pauses_double_up_to_a_limit_and_then_end() -> None:
    assert [pause(n) for n in range(1, 6)] == [1, 2, 4, 4, None]


def test_pauses_differ_by_the_dice() -> None:
    assert pause(1, dice=0.0) == 0.5


def test_longer_pause_that_the_registry_asks_for_is_kept() -> None:
    assert pause(1, "7") == 7
    assert pause(1, "0") == 1


def test_pause_beyond_reason_is_reported_instead() -> None:
    assert pause(1, "86400") is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        ("12", 12.0),
        ("9" * 400, 999999999.0),
        ("Sun, 09 Sep 2001 01:46:50 GMT", 10.0),
        ("Sun, 09 Sep 2001 01:46:30 GMT", 0.0),
        ("Sun, 99 Sep 2001 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, now=1e9) == seconds


def test_what_may_pass_is_tried_again() -> None:
    assert all(map(is_transient, (429, 500, 502, 503, 504)))
    assert not any(map(is_transient, (200, 400, 401, 403, 404, 501)))


def test_one_byte_a_second_is_noticed_after_the_window() -> None:
    watch = RateWatch(Deadlines(slow_window_s=10, slow_bytes_per_s=100))
    assert [watch.is_too_slow(waited_s=1, count=1) for _ in range(10)] == [False] * 9 + [True]


def test_fast_and_slow_stretches_are_judged_by_window() -> None:
    watch = RateWatch(Deadlines(slow_window_s=2, slow_bytes_per_s=100))
    assert not watch.is_too_slow(waited_s=2, count=1000)
    assert not watch.is_too_slow(waited_s=1, count=0)
    assert watch.is_too_slow(waited_s=1, count=0)
