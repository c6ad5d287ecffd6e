"""`--network none`: a namespace with its loopback interface only; the init brings it up. Ring 1."""

from __future__ import annotations

from rootless.network.driver import Attachment, DriverFacts, NetTarget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.spec import Port


class NoneDriver:
    """Connects nothing."""

    facts = DriverFacts("none", own_namespace=True)

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


DRIVER = NoneDriver()
