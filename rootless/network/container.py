"""`--network container:ID`: the runtime joins the network namespace of another container. Ring 1.

Ports are published by the container that owns the namespace; hosts and resolv.conf are its files too.
"""

from __future__ import annotations

from rootless.network.driver import Attachment, DriverFacts, NetTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.spec import Port


class ContainerDriver:
    """Leaves the connection to the container that is joined."""

    facts = DriverFacts("container", own_namespace=False)

    def start(
        self,
        target: NetTarget,
        *,
        ports: tuple[Port, ...],
        options: tuple[str, ...],
        run_dir: str,
        program: str = "",
    ) -> Attachment:
        return Attachment()


DRIVER = ContainerDriver()
