"""Registries with a token service: who gets a token, and what an identity token buys."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.images import Layout, copy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.product import Product
    from tests.helpers.token_service import TokenRegistry

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

IDENTITY = "a-long-lived-identity-token"


@pytest.fixture
def image(token_registry: TokenRegistry, tmp_path: Path) -> str:
    """An image behind the token service, put there by jo."""
    layout = Layout(tmp_path / "layout")
    layout.image("latest", [], config={"Cmd": ["x"]})
    name = f"{token_registry.address}/team/box:1"
    copy(f"oci:{layout.path}:latest", f"docker://{name}", "--dest-creds=jo:word")
    token_registry.tokens.requests.clear()
    return name


def keep(product: Product, registry: str, **entry: str) -> None:
    """Write a login as docker would."""
    path = product.home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"auths": {registry: entry}}))


def test_password_buys_a_token_for_the_repository_alone(
    fresh_product: Product, token_registry: TokenRegistry, image: str
) -> None:
    keep(fresh_product, token_registry.address, auth=base64.b64encode(b"jo:word").decode())
    fresh_product.run("pull", image)
    (request,) = token_registry.tokens.requests
    assert request.user == "jo"
    assert request.scopes == ["repository:team/box:pull"]


@pytest.mark.parametrize("command", ["pull", "push"])
def test_identity_token_is_traded_for_an_access_token(
    fresh_product: Product, token_registry: TokenRegistry, image: str, command: str
) -> None:
    tokens = token_registry.tokens
    tokens.identities[IDENTITY] = "jo"
    keep(
        fresh_product, token_registry.address, auth=base64.b64encode(b"jo:").decode(), identitytoken=IDENTITY
    )
    fresh_product.run("pull", image)
    tokens.requests.clear()
    fresh_product.run(command, image)
    (request,) = tokens.requests
    assert request.method == "POST"
    assert request.form["grant_type"] == "refresh_token"
    assert request.form["service"] == "box of images"
    assert request.form["client_id"] == "rootless"
    assert request.form["refresh_token"] == IDENTITY
    assert "authorization" not in request.headers


def test_identity_token_of_a_credential_helper_is_used(
    fresh_product: Product, token_registry: TokenRegistry, image: str, tmp_path: Path
) -> None:
    token_registry.tokens.identities[IDENTITY] = "jo"
    helper = tmp_path / "docker-credential-box"
    helper.write_text(f"""#!/bin/sh\necho '{{"Username": "<token>", "Secret": "{IDENTITY}"}}'\n""")
    helper.chmod(0o755)
    fresh_product.env["PATH"] += f":{tmp_path}"
    path = fresh_product.home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"credHelpers": {token_registry.address: "box"}}))
    fresh_product.run("pull", image)
    assert [request.user for request in token_registry.tokens.requests] == ["jo"]


def test_identity_token_that_was_revoked_is_told_with_its_place(
    fresh_product: Product, token_registry: TokenRegistry, image: str
) -> None:
    keep(fresh_product, token_registry.address, identitytoken=IDENTITY)
    result = fresh_product.fail(1, "pull", image)
    assert "cannot get a token" in result.err
    assert f"{fresh_product.home}/.docker/config.json" in result.err
    assert IDENTITY not in result.err


def test_token_that_is_not_enough_is_told_as_denied(
    fresh_product: Product, token_registry: TokenRegistry, image: str
) -> None:
    result = fresh_product.fail(1, "pull", image)
    assert f"rootless login {token_registry.address}" in result.err
