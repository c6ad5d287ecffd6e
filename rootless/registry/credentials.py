"""Read the user's credential files and ask credential helpers. Blocking: the client calls it in a thread."""

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
    read_helper_answer,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.registry.settings import RegistrySettings

MAX_FILE_BYTES = 1 << 20
_NO_CREDENTIALS = "credentials not found"
"""What helpers say, with exit code 1, for a registry they do not know: docker-credential-helpers."""


def find_credential(settings: RegistrySettings, registry: str, repository_path: str) -> Credential | None:
    """Return what this user has for a repository, None for anonymous access.

    Raises:
        RegistryError: a file or a helper that should answer is broken.
    """
    keys = auth_keys(registry, repository_path)
    for path in auth_files(settings):
        config = _load(path)
        if config is None:
            continue
        name, server = find_helper(config, keys)
        credential = _ask_helper(name, server, settings) if name else None
        credential = credential or find_in_auths(config, keys, source=path)
        if credential is not None:
            return credential
    return None


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


def _ask_helper(name: str, server: str, settings: RegistrySettings) -> Credential | None:
    """Run `docker-credential-NAME get`, the server on stdin (docker-credential-helpers, README)."""
    import subprocess

    program = f"docker-credential-{name}"
    environment = dict(settings.environment)
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=settings.deadlines.helper_s,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise RegistryError(
            f"cannot run the credential helper `{program}`: it is not on PATH",
            on=server,
            hint="install it, or remove `credsStore` and `credHelpers` from the credentials file",
            reference="bad-credential-helper",
        ) from None
    except OSError as exc:
        raise RegistryError(
            f"cannot run the credential helper `{program}`: {os_error_text(exc)}",
            on=server,
            reference="bad-credential-helper",
        ) from exc
    except subprocess.TimeoutExpired:
        raise RegistryError(
            f"cannot get credentials: `{program}` did not answer within {settings.deadlines.helper_s:g} s",
            on=server,
            reference="bad-credential-helper",
        ) from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[:2000].decode("utf-8", "replace")
        if _NO_CREDENTIALS in said.lower():
            return None
        raise RegistryError(
            f"cannot get credentials: `{program} get` failed with exit code {done.returncode}",
            on=server,
            reference="bad-credential-helper",
        )
    try:
        answer = json.loads(done.stdout[:MAX_FILE_BYTES])
    except (ValueError, RecursionError):
        raise RegistryError(
            f"cannot get credentials: `{program} get` did not answer with JSON",
            on=server,
            reference="bad-credential-helper",
        ) from None
    return read_helper_answer(answer, source=program)


def describe_places(settings: RegistrySettings) -> str:
    """Return which credential files exist and which would be read, for a hint."""
    paths = auth_files(settings)
    present = [path for path in paths if os.path.exists(path)]
    if present:
        return "credentials were looked for in " + ", ".join(present)
    return "there is no credentials file; log in with `docker login` or `podman login`, or write " + paths[-1]
