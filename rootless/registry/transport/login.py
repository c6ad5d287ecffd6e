"""Ask a registry whether it knows a user name and a password (distribution-spec §Determining Support)."""

from __future__ import annotations

from rootless.registry.settings import MAX_ERROR_BODY_BYTES
from rootless.registry.transport.endpoint import Endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.registry.authfile import Credential
    from rootless.registry.settings import RegistrySettings


async def check_login(settings: RegistrySettings, domain: str, credential: Credential) -> None:
    """Return when a registry accepts a credential, or wants none.

    Raises:
        RegistryError: it does not (`registry-denied`), or there is none.
    """
    insecure = settings.registries.is_insecure(domain, doing="log in")
    endpoint = Endpoint(
        settings, domain=domain, on=domain, doing="log in", credential=credential, insecure=insecure
    )
    async with endpoint:
        await endpoint.fetch("/v2/", accept="*/*", doing="log in", limit=MAX_ERROR_BODY_BYTES)
