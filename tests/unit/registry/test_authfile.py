from __future__ import annotations

import base64

import pytest

from rootless.errors import RegistryError
from rootless.registry.authfile import (
    Credential,
    auth_files,
    auth_keys,
    find_helper,
    find_in_auths,
    read_helper_answer,
)
from rootless.registry.settings import RegistrySettings


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def find(auths: object, registry: str, path: str) -> Credential | None:
    return find_in_auths({"auths": auths}, auth_keys(registry, path), source="f")


def test_most_special_key_wins() -> None:
    auths = {"q.io": entry("host", "1"), "q.io/a": entry("space", "2"), "q.io/a/b": entry("repo", "3")}
    assert find(auths, "q.io", "a/b").username == "repo"  # type: ignore[union-attr]
    assert find(auths, "q.io", "a/c").username == "space"  # type: ignore[union-attr]
    assert find(auths, "q.io", "z").username == "host"  # type: ignore[union-attr]


def test_key_is_no_prefix_of_another_name() -> None:
    auths = {"q.io/a": entry("a", "1"), "q.io:5000": entry("b", "2")}
    assert find(auths, "q.io", "ab") is None
    assert find(auths, "evil-q.io", "a") is None
    assert find(auths, "q.io:50", "x") is None


@pytest.mark.parametrize(
    "key", ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"]
)
def test_docker_hub_is_found_under_each_of_its_names(key: str) -> None:
    found = find({key: entry("u", "p")}, "docker.io", "library/debian")
    assert found is not None
    assert (found.username, found.password) == ("u", "p")


@pytest.mark.parametrize(
    "key", ["q.io", "https://q.io", "https://q.io/", "https://q.io/v1/", "http://q.io/v2/"]
)
def test_old_forms_of_keys_are_understood(key: str) -> None:
    assert find({key: entry("u", "p")}, "q.io", "a") is not None


def test_password_keeps_its_colons_and_letters() -> None:
    found = find({"q.io": entry("u", "a:b:é")}, "q.io", "x")
    assert found is not None
    assert found.password == "a:b:é"
    assert found.basic == "Basic " + base64.b64encode("u:a:b:é".encode()).decode()


def test_secret_is_not_in_the_representation() -> None:
    assert "hunter2" not in repr(Credential(username="u", password="hunter2", identity_token="hunter2"))


def test_identity_token_is_read() -> None:
    found = find({"q.io": {**entry("00000000", ""), "identitytoken": "t"}}, "q.io", "x")
    assert found is not None
    assert found.identity_token == "t"


@pytest.mark.parametrize("auth", ["%%%", "bm9jb2xvbg==", "/w=="])
def test_damaged_entry_is_an_error(auth: str) -> None:
    with pytest.raises(RegistryError, match="cannot read the credentials"):
        find({"q.io": {"auth": auth}}, "q.io", "x")


@pytest.mark.parametrize("auths", [None, [], "x", {"q.io": None}, {"q.io": {}}, {"q.io": {"auth": 3}}])
def test_entry_without_content_is_none(auths: object) -> None:
    assert find(auths, "q.io", "x") is None


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "a b", "x;id", "-rf\n", None, 3, ["a"]])
def test_helper_name_that_could_be_a_path_is_refused(name: object) -> None:
    with pytest.raises(RegistryError, match="cannot use the credential helper"):
        find_helper({"credHelpers": {"q.io": name}}, auth_keys("q.io", "x"))


def test_helper_of_the_registry_goes_before_the_store() -> None:
    config = {"credsStore": "all", "credHelpers": {"q.io": "own"}}
    assert find_helper(config, auth_keys("q.io", "x")) == ("own", "q.io")
    assert find_helper(config, auth_keys("r.io:5000", "a/b")) == ("all", "r.io:5000")
    assert find_helper(config, auth_keys("docker.io", "library/x")) == ("all", "https://index.docker.io/v1/")
    assert find_helper({}, auth_keys("q.io", "x")) == ("", "")


def test_helper_answers_with_a_password_or_a_token() -> None:
    found = read_helper_answer({"Username": "u", "Secret": "s"}, source="h")
    token = read_helper_answer({"Username": "<token>", "Secret": "s"}, source="h")
    assert found is not None
    assert token is not None
    assert (found.username, found.password, found.identity_token) == ("u", "s", "")
    assert (token.username, token.identity_token) == ("", "s")
    assert read_helper_answer({"Username": "u"}, source="h") is None
    assert read_helper_answer([], source="h") is None


def test_files_are_looked_for_where_podman_and_docker_keep_them() -> None:
    environment = {"HOME": "/h", "XDG_RUNTIME_DIR": "/r"}
    assert auth_files(RegistrySettings(environment=environment)) == [
        "/r/containers/auth.json",
        "/h/.config/containers/auth.json",
        "/h/.docker/config.json",
    ]
    chosen = {**environment, "REGISTRY_AUTH_FILE": "/a"}
    assert auth_files(RegistrySettings(environment=chosen)) == ["/a"]
    docker = {"HOME": "/h", "DOCKER_CONFIG": "/d", "XDG_CONFIG_HOME": "/c"}
    assert auth_files(RegistrySettings(environment=docker)) == ["/c/containers/auth.json", "/d/config.json"]
