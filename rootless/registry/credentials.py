"""Find credentials: in the user's logins, in podman's and Docker's files, or by a credential helper.

Blocking: the client calls it in a thread. Docker's and podman's files are read, and never written.
"""

from __future__ import annotations

import json
import os

from rootless.errors import RegistryError, os_error_text
from rootless.registry.authfile import (
    Credential,
    auth_files,
    auth_keys,
    find_helper,
    find_in_auths,
    is_chosen,
)
from rootless.registry.credential_helper import get_credential
from rootless.registry.logins import load_logins, logins_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rootless.registry.settings import RegistrySettings

MAX_FILE_BYTES = 1 << 20


def find_credential(settings: RegistrySettings, registry: str, repository_path: str) -> Credential | None:
    """Return what this user has for a repository, None for anonymous access.

    Raises:
        RegistryError: a file or a helper that should answer is broken.
    """
    keys = auth_keys(registry, repository_path)
    for path, config in _configurations(settings):
        name, server = find_helper(config, keys)
        credential = get_credential(name, server, settings) if name else None
        credential = credential or find_in_auths(config, keys, source=path)
        if credential is not None:
            return credential
    return None


def _configurations(settings: RegistrySettings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, content) of what is there, in the order in which it counts.

    Our own logins, then podman's files and Docker's; but the one of $REGISTRY_AUTH_FILE goes before ours.
    """
    ours = [logins_path(settings)]
    others = auth_files(settings)
    for path in others + ours if is_chosen(settings) else ours + others:
        config = load_logins(settings) if path in ours else _load(path)
        if config is not None:
            yield path, config


def _load(path: str) -> dict[str, Any] | None:
    """Return a file's JSON object, None when there is no such file.

    Raises:
        RegistryError: it is there and of no use.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        config = json.loads(text) if text.strip() else {}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise RegistryError(
            f"cannot read the credentials file: {os_error_text(exc)}",
            on=path,
            reference="bad-credentials-file",
        ) from exc
    except (ValueError, RecursionError):
        config = None
    if len(text) > MAX_FILE_BYTES or not isinstance(config, dict):
        raise RegistryError(
            "cannot read the credentials file: it is not a JSON object",
            on=path,
            hint="correct or remove it; `docker login` and `podman login` write it anew",
            reference="bad-credentials-file",
        )
    return config


def helper_for(settings: RegistrySettings, registry: str) -> str:
    """Return the credential helper that Docker's or podman's file names for a registry, "" for none."""
    for path in auth_files(settings):
        name, _ = find_helper(_load(path) or {}, auth_keys(registry, ""))
        if name:
            return name
    return ""


def describe_places(settings: RegistrySettings, registry: str) -> str:
    """Return what helps a user without credentials, for a hint."""
    present = [path for path in auth_files(settings) if os.path.exists(path)]
    if os.path.exists(logins_path(settings)):
        present.insert(0, logins_path(settings))
    looked = "; credentials were looked for in " + ", ".join(present) if present else ""
    return f"log in with `rootless login {registry}`{looked}"
