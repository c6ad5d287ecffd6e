from __future__ import annotations

import pytest

from rootless.registry.proxies import proxy_for

PROXY = {"https_proxy": "http://proxy:3128", "HTTP_PROXY": "proxy:80"}


def choose(host: str, *, scheme: str = "https", port: int = 443, **variables: str) -> str:
    return proxy_for(scheme, host, port, environment={**PROXY, **variables})


def test_proxy_is_chosen_by_scheme() -> None:
    assert choose("a.example") == "http://proxy:3128"
    assert choose("a.example", scheme="http", port=80) == "http://proxy:80"


def test_lower_case_wins_and_all_proxy_is_last() -> None:
    assert choose("a.example", HTTPS_PROXY="http://other") == "http://proxy:3128"
    assert proxy_for("https", "a.example", 443, environment={"ALL_PROXY": "http://all"}) == "http://all"
    assert proxy_for("https", "a.example", 443, environment={}) == ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "[::1]"])
def test_this_machine_is_reached_directly(host: str) -> None:
    assert choose(host) == ""


def test_header_of_a_web_request_is_not_taken_for_a_proxy() -> None:
    assert choose("a.example", scheme="http", port=80, REQUEST_METHOD="GET") == ""


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "a.example", True),
        ("a.example", "a.example", True),
        ("a.example", "b.a.example", True),
        (".a.example", "b.a.example", True),
        ("*.a.example", "b.a.example", True),
        ("a.example", "ba.example", False),
        ("x, A.Example ,y", "a.example", True),
        ("a.example:443", "a.example", True),
        ("a.example:444", "a.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("10.1", "10.1.2.3", False),
        ("", "a.example", False),
    ],
)
def test_exceptions_are_matched_like_curl_does(no_proxy: str, host: str, direct: bool) -> None:
    assert (choose(host, NO_PROXY=no_proxy) == "") is direct
