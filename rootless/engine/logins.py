"""Log in to registries and out again: verify, keep, find, forget."""

from __future__ import annotations

from rootless.engine import loop
from rootless.errors import RegistryError
from rootless.registry.authfile import server_key, with_login
from rootless.registry.credential_helper import erase_credential, program_name, store_credential
from rootless.registry.credentials import find_credential, helper_for
from rootless.registry.logins import change_logins, drop_logins, load_logins, logins_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.authfile import Credential
    from rootless.registry.settings import RegistrySettings


def verify(settings: RegistrySettings, registry: str, credential: Credential) -> None:
    """Ask the registry whether it accepts a credential.

    Raises:
        RegistryError: it does not, or cannot be reached.
    """
    from rootless.registry.transport.login import check_login

    loop.run(check_login, settings, registry, credential)


def keep(settings: RegistrySettings, registry: str, credential: Credential) -> str:
    """Keep a credential: by the credential helper of Docker's configuration, else in the encrypted file.

    Returns:
        "" when it is what counts from now on; else where another one stands that goes first.
    Raises:
        RegistryError: it could not be kept.
    """
    helper = helper_for(settings, registry)
    if helper:
        store_credential(helper, server_key(registry), credential, settings)
    change_logins(settings, lambda config: with_login(config, registry, credential=credential, helper=helper))
    counts = find_credential(settings, registry, "")
    same = counts and (counts.username, counts.password) == (credential.username, credential.password)
    return "" if same or counts is None else counts.source


def current(settings: RegistrySettings, registry: str) -> Credential | None:
    """Return the credential that is used for a registry as a whole.

    Raises:
        RegistryError: a file or helper that should say is broken.
    """
    return find_credential(settings, registry, "")


def forget(settings: RegistrySettings, registry: str) -> tuple[bool, str]:
    """Log out of a registry.

    Returns:
        whether we were logged in; and where credentials still stand that this program only reads, "" for
        nowhere.
    """
    was = find_credential(settings, registry, "")
    helper = helper_for(settings, registry)
    ours = {logins_path(settings), program_name(helper)}
    if load_logins(settings):
        change_logins(settings, lambda config: with_login(config, registry, credential=None))
    if helper:
        erase_credential(helper, server_key(registry), settings)
    left = find_credential(settings, registry, "")
    return was is not None and was.source in ours, left.source if left else ""


def forget_all(settings: RegistrySettings) -> None:
    """Log out of every registry that `keep` was called for; works where the file cannot be read."""
    try:
        config = load_logins(settings) or {}
    except RegistryError:
        config = {}
    for server, helper in (config.get("credHelpers") or {}).items():
        erase_credential(helper, server, settings)
    drop_logins(settings)
