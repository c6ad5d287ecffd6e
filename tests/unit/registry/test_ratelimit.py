from __future__ import annotations

import pytest

from rootless.registry.faults import Answer, NetworkFault, answer_error
from rootless.registry.ratelimit import describe


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (
            {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"},
            "100 requests in 6 h, 0 left",
        ),
        ({"x-ratelimit-limit": "20"}, "20 requests"),
        ({"retry-after": "90"}, "again in 90 s"),
        ({"retry-after": "1800"}, "again in 30 min"),
        ({"retry-after": "Tue, 24 Nov 2026 15:00:00 GMT"}, "again at Tue, 24 Nov 2026 15:00:00 +0000"),
        (
            {"x-ratelimit-reset": "1795532400", "retry-after": "1"},
            "again at Tue, 24 Nov 2026 15:00:00 +0000",
        ),
        ({"retry-after": "0"}, "again in 0 s"),
        ({"retry-after": "soon\x1b[2J", "ratelimit-limit": "\x1b[2Jmany"}, ""),
        ({"x-ratelimit-reset": "9" * 40}, ""),
        ({"retry-after": "99999999999"}, "again at Wed, 16 Nov 5138 09:46:39 +0000"),
        ({}, ""),
    ],
)
def test_limits_are_told_in_words(headers: dict[str, str], said: str) -> None:
    assert describe(headers) == said


def test_limit_is_an_error_of_its_own_that_says_when_it_ends() -> None:
    headers = {"ratelimit-limit": "100;w=21600", "retry-after": "3600"}
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
    answer = Answer(url="https://r/", status=429, headers=headers, body=body)
    error = answer_error(answer, doing="pull the manifest", on="r/box:1")
    assert isinstance(error, NetworkFault)
    assert error.reference == "rate-limit"
    assert "pull rate limit" in error.message
    assert "(100 requests in 6 h, again in 60 min)" in (error.hint or "")
