"""`rootless port`: list where the ports of a container are published. Ring 1: it reads records only."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.args import Command
from rootless.engine import records
from rootless.errors import NotFound, UsageError
from rootless.model import lifecycle
from rootless.model.spec import Port
from rootless.network.ports import format_address
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container

TABLE = Command(
    "port",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    min_positionals=1,
    max_positionals=2,
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print "80/tcp -> 0.0.0.0:8080" for each port, or "0.0.0.0:8080" for the one that is asked for."""
    query, *wanted = TABLE.parse(argv).positionals
    key = _key(wanted[0]) if wanted else ""
    container = records.find(find_paths(options.root), query)
    rows = [(f"{p.container_port}/{p.protocol}", format_address(p)) for p in published(container)]
    if not key:
        output.write("".join(f"{name} -> {address}\n" for name, address in rows))
        return 0
    found = [address for name, address in rows if name == key]
    if not found:
        raise NotFound(
            f"no public port `{key}` published for {query}",
            hint=f"`rootless port {query}` lists those that are",
            reference="no-such-port",
        )
    output.write("".join(f"{address}\n" for address in found))
    return 0


def published(container: Container) -> Sequence[Port]:
    """Return the published ports of a container that lives, lowest first."""
    if container.state.status not in lifecycle.ALIVE:
        return ()
    ports = [Port.from_json(port) for port in container.state.ports if isinstance(port, dict)]
    return sorted(ports, key=lambda port: (port.container_port, port.protocol, port.host_port))


def _key(text: str) -> str:
    """Return "80/tcp" for "80", "80/tcp" and "80/TCP"."""
    number, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if not (number.isascii() and number.isdecimal() and 0 < int(number[:6]) < 65536):
        raise UsageError(f"invalid port: {text}", hint="write 80, 80/tcp or 80/udp")
    return f"{int(number)}/{protocol}"
