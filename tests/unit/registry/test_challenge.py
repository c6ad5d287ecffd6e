from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import RegistryError
from rootless.registry.challenge import (
    Challenge,
    check_realm,
    choose_challenge,
    parse_challenges,
    read_token,
    refresh_form,
    token_query,
)


def parsed(*headers: str) -> list[tuple[str, dict[str, str]]]:
    return [(c.scheme, c.parameters) for c in parse_challenges(headers)]


def test_bearer_challenge_of_docker_hub_is_read() -> None:
    header = (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"'
    )
    assert parsed(header) == [
        (
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:a/b:pull",
            },
        )
    ]


def test_several_challenges_in_one_header_are_told_apart() -> None:
    found = parsed('Negotiate oRQ==, Basic realm="a, b=c", Bearer realm="https://t/", error=invalid_token')
    assert [scheme for scheme, _ in found] == ["negotiate", "basic", "bearer"]
    assert found[1][1] == {"realm": "a, b=c"}
    assert found[2][1] == {"realm": "https://t/", "error": "invalid_token"}


def test_quoted_pair_cannot_end_a_quoted_string() -> None:
    assert parsed(r'Bearer realm="https://good/\",realm=\"https://evil/"') == [
        ("bearer", {"realm": 'https://good/",realm="https://evil/'})
    ]


def test_first_of_two_equal_parameters_counts() -> None:
    assert parsed('Bearer realm="https://a/",realm="https://b/"')[0][1]["realm"] == "https://a/"


@pytest.mark.parametrize("header", ['Bearer realm="https://never/ends', "Bearer realm=", "=", '"', ",,,", ""])
def test_malformed_header_gives_no_realm(header: str) -> None:
    assert not any("realm" in parameters for _, parameters in parsed(header))


def test_huge_header_is_cut() -> None:
    assert parsed("Bearer " + "a=b," * 100_000 + 'realm="https://x/"')[0][1].keys() == {"a"}


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_exception(header: str) -> None:
    parse_challenges([header])


def test_bearer_is_chosen_before_basic_and_nothing_else_is() -> None:
    basic, bearer = Challenge("basic"), Challenge("bearer", {"realm": "https://t/"})
    assert choose_challenge([basic, bearer]) is bearer
    assert choose_challenge([Challenge("bearer"), basic]) is basic
    assert choose_challenge([Challenge("negotiate")]) is None


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.com/token",  # readable on the way
        "https://user:word@auth.example.com/",
        "ftp://auth.example.com/",
        "file:///etc/passwd",
        "//auth.example.com/",
        "https:///token",
        "https://auth.example.com:port/",
        "https://localhost/token",
        "http://127.0.0.1:8080/",
        "https://169.254.169.254/latest/",
        "https://2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "https://a\nb/",
        "https://[/token",
        "https://аuth.example.com/",  # a Cyrillic letter
    ],
)
def test_realm_that_must_not_get_credentials_is_refused(realm: str) -> None:
    with pytest.raises(RegistryError, match="cannot ask for a token"):
        check_realm(realm, registry="registry.example.com", insecure=False)


@pytest.mark.parametrize(
    ("realm", "registry", "insecure"),
    [
        ("https://auth.example.com/token?a=b", "registry.example.com", False),
        ("http://127.0.0.1:5001/token", "localhost:5000", False),
        ("http://auth.example.com/token", "registry.example.com", True),
    ],
)
def test_realm_of_an_honest_registry_is_accepted(realm: str, registry: str, insecure: bool) -> None:
    assert check_realm(realm, registry=registry, insecure=insecure) == realm


def test_token_is_asked_for_with_service_and_scope() -> None:
    challenge = Challenge("bearer", {"realm": "https://t/x?a=1#f", "service": "reg & co"})
    url = token_query(challenge, scopes=["repository:a/b:pull", "repository:c:pull"], account="jo")
    assert url.startswith("https://t/x?a=1&")
    assert parse_qs(urlsplit(url).query) == {
        "a": ["1"],
        "service": ["reg & co"],
        "scope": ["repository:a/b:pull", "repository:c:pull"],
        "account": ["jo"],
    }


def test_identity_token_is_traded_by_a_form() -> None:
    form = refresh_form(
        Challenge("bearer", {"realm": "https://t/", "service": "s"}), scopes=["x", "y"], refresh_token="r"
    )
    assert form["grant_type"] == "refresh_token"
    assert (form["service"], form["scope"], form["refresh_token"]) == ("s", "x y", "r")


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"token": ""}, {"token": 3}, {"token": "a\r\nX: y"}, {"token": "é"}]
)
def test_token_that_does_not_fit_in_a_header_is_none(answer: object) -> None:
    assert read_token(answer) == ""


def test_either_name_of_the_token_is_read() -> None:
    assert read_token({"token": "a"}) == read_token({"access_token": "a"}) == "a"


def test_realm_without_tls_is_accepted_of_an_insecure_registry_itself_alone() -> None:
    asked = {"registry": "box.lan:5000", "insecure": False, "plain_host": "box.lan"}
    assert check_realm("http://box.lan:5001/token", **asked)  # type: ignore[arg-type]
    with pytest.raises(RegistryError, match="it is not https"):
        check_realm("http://auth.example.com/token", **asked)  # type: ignore[arg-type]
