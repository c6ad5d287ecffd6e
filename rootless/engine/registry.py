"""A registry in the event loop: what `registry serve` runs, and its collector."""

from __future__ import annotations

import os

from rootless.engine import loop
from rootless.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.paths import Paths
    from rootless.registry.server.address import Address
    from rootless.registry.server.collect import Collected
    from rootless.registry.settings import RegistrySettings


class RegistryJob(Value):
    """What a user can say about a registry; "" for what they did not.

    Attributes:
        directory: that it keeps everything in. tls_cert, tls_key: files in PEM form.
        htpasswd: file of those who may use it. mirror: URL of the registry behind it.
    """

    __slots__ = ("address", "directory", "htpasswd", "mirror", "read_only", "tls_cert", "tls_key")

    def __init__(
        self,
        *,
        directory: str,
        address: Address,
        tls_cert: str = "",
        tls_key: str = "",
        htpasswd: str = "",
        read_only: bool = False,
        mirror: str = "",
    ) -> None:
        self.directory = directory
        self.address = address
        self.tls_cert = tls_cert
        self.tls_key = tls_key
        self.htpasswd = htpasswd
        self.read_only = read_only
        self.mirror = mirror


def default_directory(paths: Paths) -> str:
    """Return where a registry keeps its content unless told otherwise."""
    return os.path.join(paths.store, "registry")


def serve_blocking(
    job: RegistryJob,
    settings: RegistrySettings,
    *,
    ready: Callable[[str], None],
    complain: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        settings: how to reach the mirrored registry.
        ready: is told the URL once clients can come. complain: of failures, one line each.
    Raises:
        RootlessError: it cannot begin.
    """
    try:
        loop.run(_serve, job, settings, ready, complain)
    except loop.Interrupted:
        return  # the only way that it ends


async def _serve(
    job: RegistryJob,
    settings: RegistrySettings,
    ready: Callable[[str], None],
    complain: Callable[[str], None],
) -> None:
    from rootless.registry.server import listen
    from rootless.registry.server.address import Address
    from rootless.registry.server.auth import Passwords
    from rootless.registry.server.mirror import Mirror, Upstream
    from rootless.registry.server.service import Service
    from rootless.registry.server.storage import Storage

    tls = listen.tls_context(job.tls_cert, job.tls_key) if job.tls_cert else None
    passwords = Passwords(job.htpasswd) if job.htpasswd else None
    upstream = Upstream.parse(job.mirror) if job.mirror else None
    storage = Storage(job.directory)
    if job.read_only and upstream is None:
        storage.check()  # its directory may be on a file system that is read-only too
    else:
        storage.ensure()
    # left in this order: nobody new is let in while those that are inside come to their end
    async with listen.lingering() as tasks, await listen.open_listener(job.address) as listener:
        mirror = Mirror(upstream, settings, storage, tasks) if upstream else None
        service = Service(
            storage, passwords=passwords, read_only=job.read_only, mirror=mirror, complain=complain
        )
        clients = listen.Clients(service.respond, tls=tls)
        port = listener.socket.getsockname()[1]
        ready(f"{'https' if tls else 'http'}://{Address(host=job.address.host, port=port)}")
        try:
            await clients.accept(listener, tasks)
        finally:
            clients.finish()


def collect_blocking(directory: str, *, age_s: float | None, dry_run: bool) -> Collected:
    """Delete what no manifest of a registry needs; None is the default age. See `registry.server.collect`.

    Raises:
        StateConflict: there is no registry. ImageError: a manifest cannot be read.
    """
    from rootless.registry.server.collect import collect
    from rootless.registry.server.storage import FRESH_S, Storage

    storage = Storage(directory)
    storage.check()
    return collect(storage, age_s=FRESH_S if age_s is None else age_s, dry_run=dry_run)
