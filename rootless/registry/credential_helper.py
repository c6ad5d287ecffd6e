"""Programs that keep credentials: `docker-credential-NAME get`, `store` and `erase`. Blocking.

They take everything on stdin (docker-credential-helpers, README): a secret is never an argument. Nothing that
they print gets into a message, since it may hold one.
"""

from __future__ import annotations

import json

from rootless.errors import RegistryError, os_error_text
from rootless.registry.authfile import Credential, helper_request, read_helper_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.settings import RegistrySettings

_MAX_ANSWER_BYTES = 1 << 20
_NO_CREDENTIALS = "credentials not found"
"""What helpers say, with exit code 1, for a registry they do not know: docker-credential-helpers."""


def get_credential(name: str, server: str, settings: RegistrySettings) -> Credential | None:
    """Return what a helper has for a server, None for nothing.

    Raises:
        RegistryError: it is not there, fails, or answers nonsense.
    """
    program = program_name(name)
    code, said = _run(program, "get", server, server, settings)
    if code != 0:
        if _NO_CREDENTIALS in said[:2000].decode("utf-8", "replace").lower():
            return None
        raise _failed(program, "get", server, code)
    try:
        answer = json.loads(said[:_MAX_ANSWER_BYTES])
    except (ValueError, RecursionError):
        raise RegistryError(
            f"cannot get credentials: `{program} get` did not answer with JSON",
            on=server,
            reference="bad-credential-helper",
        ) from None
    return read_helper_answer(answer, source=program)


def store_credential(name: str, server: str, credential: Credential, settings: RegistrySettings) -> None:
    """Have a helper keep a credential.

    Raises:
        RegistryError: it does not.
    """
    program = program_name(name)
    code, _ = _run(program, "store", json.dumps(helper_request(server, credential)), server, settings)
    if code != 0:
        raise _failed(program, "store", server, code)


def erase_credential(name: str, server: str, settings: RegistrySettings) -> None:
    """Have a helper forget what it has for a server, if it has anything.

    Raises:
        RegistryError: it does not.
    """
    program = program_name(name)
    code, said = _run(program, "erase", server, server, settings)
    if code != 0 and _NO_CREDENTIALS not in said[:2000].decode("utf-8", "replace").lower():
        raise _failed(program, "erase", server, code)


def program_name(name: str) -> str:
    """Return what a helper's program is called."""
    return f"docker-credential-{name}"


def _run(
    program: str, action: str, request: str, server: str, settings: RegistrySettings
) -> tuple[int, bytes]:
    """Return (exit code, what it printed)."""
    import subprocess

    try:
        done = subprocess.run(
            [program, action],
            input=request.encode(),
            capture_output=True,
            timeout=settings.deadlines.helper_s,
            env=dict(settings.environment),
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
            f"cannot {_DOING[action]}: `{program}` did not answer within {settings.deadlines.helper_s:g} s",
            on=server,
            reference="bad-credential-helper",
        ) from None
    return done.returncode, done.stdout + done.stderr


_DOING = {"get": "get credentials", "store": "keep the login", "erase": "log out"}


def _failed(program: str, action: str, server: str, code: int) -> RegistryError:
    return RegistryError(
        f"cannot {_DOING[action]}: `{program} {action}` failed with exit code {code}",
        on=server,
        reference="bad-credential-helper",
    )
