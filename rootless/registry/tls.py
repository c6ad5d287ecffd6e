"""TLS trust: the system's store, SSL_CERT_FILE, and certs.d directories of Docker and podman. Reads disk."""

from __future__ import annotations

import os
from functools import partial

from rootless.errors import RegistryError, os_error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from rootless.registry.settings import RegistrySettings


def certs_directory(settings: RegistrySettings, registry: str) -> str:
    """Return the directory that configures TLS for host[:port], "" when there is none.

    The user's own first, then the machine's: man 5 containers-certs.d, docker's "Verify repository client
    with certificates". The first that exists counts alone.
    """
    for parent in (
        os.path.join(settings.config_home, "containers", "certs.d"),
        os.path.join(settings.home, ".docker", "certs.d"),
        "/etc/containers/certs.d",
        "/etc/docker/certs.d",
    ):
        path = os.path.join(parent, registry)
        if os.path.isdir(path):
            return path
    return ""


def make_context(settings: RegistrySettings, registry: str, *, verify: bool) -> ssl.SSLContext:
    """Return the context for connections to a registry, or with registry "" to anybody else.

    Args:
        verify: accept none but trusted certificates.
    Raises:
        RegistryError: a configured certificate cannot be used.
    """
    import ssl

    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context()
        _add_variables(context, settings)
    directory = certs_directory(settings, registry) if registry else ""
    for name in sorted(os.listdir(directory)) if directory else ():
        path = os.path.join(directory, name)
        if name.endswith(".crt"):
            _load(partial(context.load_verify_locations, cafile=path), path)
        elif name.endswith(".cert"):
            key = path.removesuffix(".cert") + ".key"
            _load(partial(context.load_cert_chain, path, key), path)
    return context


def _add_variables(context: ssl.SSLContext, settings: RegistrySettings) -> None:
    """Load SSL_CERT_FILE and SSL_CERT_DIR as given: OpenSSL itself ignores what it cannot read."""
    if path := settings.environment.get("SSL_CERT_FILE"):
        _load(partial(context.load_verify_locations, cafile=path), path)
    for directory in filter(None, settings.environment.get("SSL_CERT_DIR", "").split(":")):
        _load(partial(context.load_verify_locations, capath=directory), directory)


def _load(action: Callable[[], None], path: str) -> None:
    import ssl

    try:
        action()
    except ssl.SSLError as exc:
        problem = exc.reason or "not a PEM file"
    except OSError as exc:
        problem = os_error_text(exc)
    else:
        return
    raise RegistryError(f"cannot use the certificate: {problem}", on=path, reference="bad-certificate")
