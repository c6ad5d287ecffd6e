"""The user's own logins: an encrypted file, and its key at another place.

    $XDG_CONFIG_HOME/rootless/auth.sealed    a Fernet token; inside, what Docker's config.json would hold
    $XDG_STATE_HOME/rootless/auth.key        its key

A home directory that is shown, a backup, or a repository of configuration files gives no password away.
Whoever can read both files has them, as with keys of ssh that have no passphrase. Both are 0600 and
replaced in one step. Blocking.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager

from layers.errors import StoreError
from layers.store.files import create_file, remove_if_there, replace_file
from rootless.errors import RegistryError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rootless.registry.settings import RegistrySettings

MAX_BYTES = 1 << 20
_MODE = 0o600


def logins_path(settings: RegistrySettings) -> str:
    """Return where the encrypted file is, or would be."""
    return os.path.join(settings.config_home, "rootless", "auth.sealed")


def key_path(settings: RegistrySettings) -> str:
    """Return where its key is, or would be."""
    return os.path.join(settings.state_home, "rootless", "auth.key")


def load_logins(settings: RegistrySettings) -> dict[str, Any] | None:
    """Return what was kept, {"auths": …, "credHelpers": …}; None when nothing ever was.

    Raises:
        RegistryError: it is there and cannot be read.
    """
    path = logins_path(settings)
    sealed = _read(path)
    if sealed is None:
        return None
    key = _read(key_path(settings))
    if key is None:
        raise _unreadable(path, f"its key {key_path(settings)} is missing")
    # only who has logged in pays for these
    from cryptography.fernet import Fernet, InvalidToken

    try:
        config = json.loads(Fernet(key).decrypt(sealed))
    except (InvalidToken, ValueError, RecursionError):
        raise _unreadable(path, "it is damaged, or of another key") from None
    if not isinstance(config, dict):
        raise _unreadable(path, "it is damaged")
    return config


def change_logins(settings: RegistrySettings, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace what `load_logins` returns by what `change` makes of it; one process after the other.

    Raises:
        RegistryError: it cannot be read or written.
    """
    from cryptography.fernet import Fernet

    path = logins_path(settings)
    with _written(path), _locked(os.path.dirname(path)) as directory:
        config = change(load_logins(settings) or {})
        key = _ensure_key(key_path(settings))
        replace_file(path, Fernet(key).encrypt(json.dumps(config).encode()), scratch=directory, mode=_MODE)


def drop_logins(settings: RegistrySettings) -> None:
    """Forget everything, what cannot be read as well."""
    with _written(logins_path(settings)):
        remove_if_there(logins_path(settings))
        remove_if_there(key_path(settings))


def _ensure_key(path: str) -> bytes:
    from cryptography.fernet import Fernet

    directory = _make_directory(os.path.dirname(path))
    create_file(path, Fernet.generate_key(), scratch=directory, mode=_MODE)
    key = _read(path)
    try:
        Fernet(key or b"")
    except ValueError:
        raise _unreadable(path, "it is no key") from None
    return key or b""


@contextmanager
def _locked(directory: str) -> Iterator[str]:
    """Hold the lock of a directory, which is made if missing."""
    fd = os.open(_make_directory(directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(fd)


@contextmanager
def _written(path: str) -> Iterator[None]:
    try:
        yield
    except StoreError as exc:
        problem = exc.message.rpartition(": ")[2]
    except OSError as exc:
        problem = os_error_text(exc)
    else:
        return
    raise RegistryError(
        f"cannot keep the login: {problem}",
        on=path,
        hint="XDG_CONFIG_HOME and XDG_STATE_HOME choose other places",
        reference="logins",
    )


def _make_directory(path: str) -> str:
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise _unreadable(path, os_error_text(exc)) from exc


def _unreadable(path: str, problem: str) -> RegistryError:
    return RegistryError(
        f"cannot read the logins: {problem}",
        on=path,
        hint="`rootless logout --all` removes them; then log in again",
        reference="bad-credentials-file",
    )
