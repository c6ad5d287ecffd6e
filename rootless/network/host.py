"""`--network host`: no network namespace; the container uses the host's interfaces and ports. Ring 1.

What runs inside reaches the host's loopback services and abstract sockets (CVE-2020-15257).
"""

from __future__ import annotations

from rootless.network.driver import Attachment, DriverFacts, NetTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.spec import Port


class HostDriver:
    """Leaves the container where its user is."""

    facts = DriverFacts("host", own_namespace=False)

    def start(
        self,
        target: NetTarget,
        *,
        ports: tuple[Port, ...],
        options: tuple[str, ...],
        run_dir: str,
        program: str = "",
    ) -> Attachment:
        return Attachment(host_gateway="127.0.0.1")


DRIVER = HostDriver()
