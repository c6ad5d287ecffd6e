"""`search`: Docker Hub's, a registry's catalog, tags; what each of them lets one see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_registry import HostileRegistry, Reply
from tests.helpers.images import Layout
from tests.helpers.registry import private_registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.registry import Registry

RESULTS = [
    {"name": "team/web", "description": "a server\nof " + "pages " * 20, "star_count": 3},
    {"name": "web", "description": "The\x1b[31m web", "star_count": 250, "is_official": True},
]


def hub(product: Product, server: HostileRegistry) -> None:
    """Let a server on loopback stand for Docker Hub, whose search it has."""
    server.on("/v1/search", lambda request: Reply(200, json.dumps({"results": RESULTS}).encode()))
    file = product.home / ".config/rootless/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'[[registry]]\nprefix = "docker.io"\nlocation = "{server.address}"\n')


def test_search_without_a_host_asks_docker_hub(fresh_product: Product) -> None:
    with HostileRegistry() as server:
        hub(fresh_product, server)
        lines = fresh_product.run("search", "web").lines
        assert [line.split() for line in lines[:2]] == [
            ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"],
            ["web", "The", "[31m", "web", "250", "[OK]"],
        ]
        assert lines[2].startswith("team/web ")
        assert "…" in lines[2]
        assert server.paths()[-1] == "/v1/search?q=web&n=25"
        options = (
            "-f",
            "is-official=true",
            "-f",
            "stars=9",
            "--limit=7",
            "--format={{.Name}} {{.StarCount}}",
        )
        official = fresh_product.run("search", *options, "library/web")
        assert official.out == "web 250\n"
        assert server.paths()[-1] == "/v1/search?q=web&n=7"
        whole = fresh_product.run("search", "--no-trunc", "--format", "json", "web").lines
        assert json.loads(whole[1])["Description"] == ("a server of " + "pages " * 20).strip()


def test_search_of_a_registry_looks_through_its_catalog(
    product: Product, registry: Registry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "layout")
    layout.image("latest", [])
    for name in ("findme/web:1", "findme/web:2", "findme/db:1"):
        layout.push("latest", f"{registry.address}/{name}")
    found = product.run("search", "--format={{.Name}}", f"{registry.address}/findme/w")
    assert found.out == f"{registry.address}/findme/web\n"
    tags = product.run("search", "--list-tags", f"{registry.address}/findme/web").lines
    assert tags[0].split() == ["NAME", "TAG"]
    assert sorted(line.split() for line in tags[1:]) == [
        [f"{registry.address}/findme/web", "1"],
        [f"{registry.address}/findme/web", "2"],
    ]
    nothing = product.fail(1, "search", "--list-tags", f"{registry.address}/findme/nosuch")
    assert "cannot list the tags" in nothing.err


def test_catalog_is_followed_page_by_page_and_not_for_ever(product: Product) -> None:
    with HostileRegistry() as server:
        count = iter(range(1000))

        def page(request: object) -> Reply:
            number = next(count)
            link = {"Link": f'<https://evil.example/v2/_catalog?last=web{number}>; rel="next"'}
            return Reply(200, json.dumps({"repositories": [f"web{number}"]}).encode(), headers=link)

        server.on("/v2/_catalog", page)
        lines = product.run("search", "--limit=100", f"{server.address}/web").lines
        assert len(lines) == 21
        assert "last=web0" in server.paths()[-19]


def test_registry_without_any_search_says_so(product: Product) -> None:
    with HostileRegistry() as server:
        result = product.fail(1, "search", f"{server.address}/web")
        assert "the registry has neither a search nor a catalog" in result.err
        assert server.address in result.err


@pytest.mark.needs("docker-registry")
def test_catalog_may_need_a_login(product: Product, tmp_path: Path) -> None:
    with private_registry(tmp_path) as registry:
        assert "rootless login" in product.fail(1, "search", f"{registry.address}/web").err
        product.run("login", "-u", "jo", "--password-stdin", registry.address, input="word")
        assert product.run("search", f"{registry.address}/web").lines[1:] == []
        product.run("logout", registry.address)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--limit=0", "x"), "limit 0 is outside the range of [1, 100]"),
        (("--limit=101", "x"), "outside the range"),
        (("-f", "stars=many", "x"), "stars=many"),
        (("-f", "size=1", "x"), "size"),
        (("/",), "nothing to search for"),
    ],
)
def test_search_that_makes_no_sense_is_refused(
    product: Product, words: tuple[str, ...], problem: str
) -> None:
    assert problem in product.fail(125, "search", *words).err
