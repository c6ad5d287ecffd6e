"""What registries answer to a search: hostile until read."""

from __future__ import annotations

import json

import pytest

from rootless.errors import UsageError
from rootless.registry.searching import (
    Found,
    SearchFilter,
    arranged,
    next_start,
    read_catalog,
    read_search,
    read_tags,
    search_path,
    split_term,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("debian", ("", "debian")),
        ("library/debian", ("", "debian")),
        ("team/web", ("", "team/web")),
        ("docker.io/debian", ("docker.io", "debian")),
        ("docker.io/library/debian", ("docker.io", "debian")),
        ("box:5000/web", ("box:5000", "web")),
        ("localhost/web", ("localhost", "web")),
        ("quay.io/", ("quay.io", "")),
        ("web.app", ("", "web.app")),
    ],
)
def test_term_may_name_its_registry(text: str, parts: tuple[str, str]) -> None:
    assert split_term(text) == parts


@pytest.mark.parametrize("text", ["", "/", "a b.c/x"])
def test_term_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        split_term(text)


def test_term_is_quoted_in_the_path() -> None:
    assert search_path("a&n=1 #", limit=3) == "/v1/search?q=a%26n%3D1+%23&n=3"


def test_search_results_are_names_that_pull_takes_and_text_in_one_line() -> None:
    results = [
        {"name": "debian", "description": "a\x1b[31m\nb\t c", "star_count": 5, "is_official": True},
        {"name": "team/web", "description": None, "star_count": -1, "is_automated": True},
        {"name": "../../etc"},
        {"name": "evil.org/x y"},
        {"name": 7},
        "no",
    ]
    found = read_search(json.dumps({"results": results}).encode(), domain="docker.io")
    assert found == [
        Found("debian", description="a [31m b c", stars=5, is_official=True),
        Found("team/web", is_automated=True),
    ]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"results": 1}', b"[" * 100000])
def test_page_for_people_is_no_answer(body: bytes) -> None:
    assert read_search(body, domain="box:5000") is None


def test_catalog_is_looked_through_for_the_term() -> None:
    body = json.dumps({"repositories": ["a/web", "webapp", "db", "WEB", "w eb", 1]}).encode()
    found = read_catalog(body, domain="box:5000", term="web")
    assert found == [Found("box:5000/a/web"), Found("box:5000/webapp")]
    assert read_catalog(b'{"repositories": null}', domain="box:5000", term="web") == []


def test_tags_that_are_none_are_left_out() -> None:
    body = json.dumps({"name": "x", "tags": ["1", "a b", "\x1b[31m", 2, "latest"]}).encode()
    assert read_tags(body, repository="box:5000/x") == ["1", "latest"]


@pytest.mark.parametrize(
    ("link", "start"),
    [
        ('</v2/_catalog?last=web&n=1000>; rel="next"', "web"),
        ('<https://evil.org/v2/_catalog?last=a%2Fb>; rel="next"', "a/b"),
        ('</v2/_catalog?last=web>; rel="prev"', ""),
        ("", ""),
        ("<http://[>; rel=next", ""),
    ],
)
def test_of_a_link_the_start_of_the_next_page_is_believed_alone(link: str, start: str) -> None:
    assert next_start(link) == start


def test_results_are_filtered_then_ordered_then_cut() -> None:
    found = [Found("a", stars=1), Found("b", stars=9, is_official=True), Found("c", stars=5)]
    assert [each.name for each in arranged(found, SearchFilter(stars=5), limit=9)] == ["b", "c"]
    assert [each.name for each in arranged(found, SearchFilter(is_official=False), limit=1)] == ["c"]
