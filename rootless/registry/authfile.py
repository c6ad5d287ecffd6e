"""Which credentials belong to a repository: the formats of Docker's and podman's files, sans-io.

man 5 containers-auth.json and docker's cli/config/configfile. The files are read by `credentials`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re

from layers.errors import InvalidReference
from layers.reference import Reference
from rootless.errors import RegistryError, UsageError
from rootless.registry.hosts import DOCKER_HUB, HUB_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rootless.registry.settings import RegistrySettings

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""The key that docker has always kept Docker Hub's credentials under."""
_HELPER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN_USER = "<token>"  # noqa: S105  docker-credential-helpers: the secret is an identity token


class Credential:
    """A user name with a password, or a token that stands for both.

    Attributes:
        username, password: for basic authentication, "" when a token is all there is.
        identity_token: an OAuth2 refresh token, "" for none.
        registry_token: a bearer token to be used as it is, "" for none.
        source: where it was found, for messages; never a secret.
    """

    __slots__ = ("identity_token", "password", "registry_token", "source", "username")

    def __init__(
        self,
        *,
        username: str = "",
        password: str = "",
        identity_token: str = "",
        registry_token: str = "",
        source: str = "",
    ) -> None:
        self.username = username
        self.password = password
        self.identity_token = identity_token
        self.registry_token = registry_token
        self.source = source

    def __repr__(self) -> str:
        return (
            f"Credential(username={self.username!r}, source={self.source!r})"  # B13: no secret in a traceback
        )

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617, UTF-8)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def is_chosen(settings: RegistrySettings) -> bool:
    """Tell whether $REGISTRY_AUTH_FILE names the one file to read, before the user's own logins."""
    return bool(settings.environment.get("REGISTRY_AUTH_FILE"))


def auth_files(settings: RegistrySettings) -> list[str]:
    """Return the paths to look into, first match wins: podman's order, then Docker's file."""
    environment = settings.environment
    if is_chosen(settings):
        return [environment["REGISTRY_AUTH_FILE"]]
    runtime = environment.get("XDG_RUNTIME_DIR")
    docker = environment.get("DOCKER_CONFIG") or os.path.join(settings.home, ".docker")
    paths = [os.path.join(runtime, "containers", "auth.json")] if runtime else []
    paths.append(os.path.join(settings.config_home, "containers", "auth.json"))
    paths.append(os.path.join(docker, "config.json"))
    return paths


def registry_of(server: str) -> str:
    """Return the host[:port] that a user means by a login's SERVER: all of Docker Hub's names are docker.io.

    Raises:
        UsageError: that is none.
    """
    host = server.partition("://")[2] or server
    host = host.partition("/")[0]
    if not server or host in HUB_NAMES:
        return DOCKER_HUB
    try:
        if Reference.parse(f"{host}/x").domain == host:
            return host
    except InvalidReference:
        pass
    raise UsageError(
        f"invalid registry: `{server}`",
        hint="a host name with a dot, or a port, is needed: quay.io, box:5000",
    )


def auth_keys(registry: str, repository_path: str) -> list[str]:
    """Return the keys that may hold a repository's credentials, most special first.

    "quay.io/team/app", "quay.io/team", "quay.io": man 5 containers-auth.json. No path asks for the registry.
    """
    steps = repository_path.split("/") if repository_path else []
    keys = ["/".join([registry, *steps[:length]]) for length in range(len(steps), 0, -1)]
    keys.append(registry)
    if registry == DOCKER_HUB:
        keys.extend((DOCKER_HUB_KEY, *HUB_NAMES[1:]))
    else:
        keys.extend((f"https://{registry}", f"http://{registry}"))
    return keys


def find_in_auths(config: Mapping[str, Any], keys: list[str], *, source: str) -> Credential | None:
    """Return the credentials that a file holds itself under the first of the keys, None for none.

    Raises:
        RegistryError: the entry is there but damaged; anonymous access instead of it would only puzzle.
    """
    auths = _mapping(config.get("auths"))
    wanted = {key: auths[key] for key in auths if isinstance(auths[key], dict)}
    normal = {key.rstrip("/").removesuffix("/v1").removesuffix("/v2"): key for key in wanted}
    for key in keys:
        found = wanted.get(key) or wanted.get(normal.get(key, ""))
        if found:
            credential = _read_entry(found, key, source)
            if credential is not None:
                return credential
    return None


def find_helper(config: Mapping[str, Any], keys: list[str]) -> tuple[str, str]:
    """Return (helper name, server key to ask it for), ("", "") for none.

    A helper of one registry goes before the one for all: docker's GetCredentialsStore.

    Raises:
        RegistryError: the name could be a path or an option (attack: B12).
    """
    helpers = _mapping(config.get("credHelpers"))
    for key in keys:
        if key in helpers:
            return _check_helper(helpers[key]), key
    store = config.get("credsStore")
    if store:
        return _check_helper(store), server_key(next(key for key in keys if "/" not in key))
    return "", ""


def read_helper_answer(answer: object, *, source: str) -> Credential | None:
    """Return the credential of `docker-credential-NAME get`, None when its answer holds none."""
    fields = _mapping(answer)
    username, secret = fields.get("Username"), fields.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        return None
    if username == _TOKEN_USER:
        return Credential(identity_token=secret, source=source)
    return Credential(username=username, password=secret, source=source)


def helper_request(server: str, credential: Credential) -> dict[str, str]:
    """Return what `docker-credential-NAME store` is given."""
    return {"ServerURL": server, "Username": credential.username, "Secret": credential.password}


def with_login(
    config: Mapping[str, Any], registry: str, *, credential: Credential | None, helper: str = ""
) -> dict[str, Any]:
    """Return a configuration that holds just one login to a registry, or none.

    Args:
        credential: None for none.
        helper: name of the helper that keeps it; "" keeps it in the configuration.
    """
    auths, helpers = dict(_mapping(config.get("auths"))), dict(_mapping(config.get("credHelpers")))
    for key in auth_keys(registry, ""):
        auths.pop(key, None)
        helpers.pop(key, None)
    key = server_key(registry)
    if helper:
        helpers[key] = helper
    elif credential is not None:
        auths[key] = {"username": credential.username, "password": credential.password}
    return {**config, "auths": auths, "credHelpers": helpers}


def server_key(registry: str) -> str:
    """Return what a registry is called in Docker's file, and to credential helpers."""
    return DOCKER_HUB_KEY if registry == DOCKER_HUB else registry


def _read_entry(entry: Mapping[str, Any], key: str, source: str) -> Credential | None:
    username, password = _text(entry.get("username")), _text(entry.get("password"))
    if encoded := _text(entry.get("auth")):
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            pair = ""
        username, colon, password = pair.partition(":")
        if not colon:
            raise RegistryError(
                f"cannot read the credentials for `{key}`: `auth` is not base64 of user:password",
                on=source,
                reference="bad-credentials-file",
            )
        password = password.rstrip("\0")  # docker pads old entries
    credential = Credential(
        username=username,
        password=password,
        identity_token=_text(entry.get("identitytoken")),
        registry_token=_text(entry.get("registrytoken")),
        source=source,
    )
    if username or credential.identity_token or credential.registry_token:
        return credential
    return None  # {}: docker's mark that a credential helper holds it


def _check_helper(name: object) -> str:
    if isinstance(name, str) and _HELPER_NAME.fullmatch(name):
        return name
    raise RegistryError(
        f"cannot use the credential helper {name!r}: only letters, digits, `_`, `.`, `-` may be in its name",
        reference="bad-credential-helper",
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
