from __future__ import annotations

import pytest

from rootless.errors import UsageError
from rootless.registry.authfile import (
    Credential,
    auth_keys,
    find_helper,
    find_in_auths,
    registry_of,
    with_login,
)

JO = Credential(username="jo", password="a:b")


@pytest.mark.parametrize(
    ("server", "registry"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("quay.io", "quay.io"),
        ("https://quay.io/v2/", "quay.io"),
        ("quay.io/team", "quay.io"),
        ("localhost:5000", "localhost:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_server_becomes_the_host_of_its_images(server: str, registry: str) -> None:
    assert registry_of(server) == registry


@pytest.mark.parametrize("server", ["ubuntu", "https://", "a b.c", "../x", "q.io:99999", "u@q.io", "-q.io"])
def test_what_no_image_could_be_named_after_is_no_registry(server: str) -> None:
    with pytest.raises(UsageError):
        registry_of(server)


@pytest.mark.parametrize("registry", ["quay.io", "docker.io"])
def test_kept_login_is_found_again_and_replaced(registry: str) -> None:
    config = with_login({"auths": {"other.io": {"auth": "x"}}, "more": 1}, registry, credential=JO)
    found = find_in_auths(config, auth_keys(registry, "a/b"), source="f")
    assert found is not None
    assert (found.username, found.password) == ("jo", "a:b")
    assert config["more"] == 1
    assert "other.io" in config["auths"]
    helped = with_login(config, registry, credential=JO, helper="box")
    assert find_in_auths(helped, auth_keys(registry, ""), source="f") is None
    assert find_helper(helped, auth_keys(registry, ""))[0] == "box"
    assert "a:b" not in str(helped)
    assert with_login(helped, registry, credential=None)["credHelpers"] == {}


def test_every_name_of_docker_hub_is_logged_out() -> None:
    config = {"auths": {"index.docker.io": {"auth": "x"}, "docker.io": {"auth": "y"}}}
    assert with_login(config, "docker.io", credential=None)["auths"] == {}
