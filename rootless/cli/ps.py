"""`rootless ps`: list containers. Ring 1: it reads records and nothing else."""

from __future__ import annotations

import time

from rootless.cli import output, ps_filters
from rootless.cli.args import BOOL, INT, LIST, Command, Option
from rootless.engine.describe import label_map
from rootless.engine.logfile import timestamp
from rootless.interface import store
from rootless.model import lifecycle
from rootless.model.names import SHORT_ID_LENGTH
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.records import Container
    from rootless.paths import Paths

_COMMAND_WIDTH = 20
"""Docker's, without the quotes around it."""

HEADERS: dict[str, Any] = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Label": lambda name: name.rpartition(".")[2].upper(),
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "Size": "SIZE",
    "LocalVolumes": "LOCAL VOLUMES",
}
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")

TABLE = Command(
    "ps",
    "[OPTIONS]",
    "List containers",
    options=(
        Option("--all", "-a", kind=BOOL, help="Show all containers (default shows just running)"),
        Option("--filter", "-f", kind=LIST, metavar="filter", help="Filter output based on conditions"),
        Option("--format", help=output.FORMAT_HELP),
        Option("--last", "-n", kind=INT, default=-1, help="Show n last created containers, in any state"),
        Option("--latest", "-l", kind=BOOL, help="Show the latest created container, in any state"),
        Option("--no-trunc", kind=BOOL, help="Don't truncate output"),
        Option("--quiet", "-q", kind=BOOL, help="Only display container IDs"),
        Option("--size", "-s", kind=BOOL, help="Display total file sizes"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the containers that the options select, newest first."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    containers = store.list_containers(paths)
    chosen = ps_filters.select(
        containers,
        wanted=output.parse_filters(parsed.texts("filter"), known=ps_filters.KNOWN),
        everything=parsed.flag("all"),
        last=_last(parsed),
        paths=paths,
    )
    now_ns = time.time_ns()
    truncate = not parsed.flag("no-trunc")
    with_size = parsed.flag("size") or ".Size" in parsed.text("format")
    sizes = _sizes(paths, chosen) if with_size else {}
    output.print_rows(
        [
            row(container, now_ns=now_ns, truncate=truncate, size=sizes.get(container.spec.id, "0B"))
            for container in chosen
        ],
        headers=HEADERS,
        columns=(*COLUMNS, "Size") if with_size else COLUMNS,
        form=parsed.text("format"),
        quiet="ID" if parsed.flag("quiet") else "",
    )
    return 0


def row(container: Container, *, now_ns: int, truncate: bool, size: str = "0B") -> dict[str, Any]:
    """Return what a template or a column can show of one container.

    Args:
        size: of its files; "0B", as Docker, where nobody asked for it.
    """
    spec, state = container.spec, container.state
    labels = label_map(spec.labels)
    command = command_text(spec.process.argv)
    return {
        "ID": spec.id[:SHORT_ID_LENGTH] if truncate else spec.id,
        "Image": spec.image,
        "Command": output.go_quote(output.ellipsis(command, _COMMAND_WIDTH) if truncate else command),
        "CreatedAt": timestamp(spec.created_ns)[:19].replace("T", " ") + " +0000 UTC",
        "RunningFor": output.human_age(spec.created_ns, now_ns),
        "Ports": _ports(container),
        "State": state.status,
        "Status": status_text(container, now_ns=now_ns),
        "Names": spec.name,
        "Labels": ",".join(spec.labels),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": _mounts(container, truncate=truncate),
        "Networks": state.network or spec.network.driver,
        "Size": size,
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in spec.mounts)),
    }


def status_text(container: Container, *, now_ns: int) -> str:
    """Return "Up 3 seconds (healthy)", "Exited (0) 5 minutes ago", "Created", as moby does."""
    state = container.state
    if state.status == lifecycle.RESTARTING:
        return f"Restarting ({state.exit_code}) {output.human_age(state.finished_ns, now_ns)}"
    if state.status in lifecycle.ALIVE:
        up = "Up " + output.human_duration(max(now_ns - state.started_ns, 0) / 1e9)
        return up + _remark(container)
    if state.status == lifecycle.EXITED:
        return f"Exited ({state.exit_code}) {output.human_age(state.finished_ns, now_ns)}"
    if state.status == lifecycle.DEAD:
        return f"Dead ({state.error})" if state.error else "Dead"
    return "Removal In Progress" if state.status == lifecycle.REMOVING else "Created"


def _remark(container: Container) -> str:
    """Return what `ps` adds to the status of a container that lives."""
    if container.state.status == lifecycle.PAUSED:
        return " (Paused)"
    health = ps_filters.health_of(container)
    return {"none": "", "starting": " (health: starting)"}.get(health, f" ({health})")


def command_text(argv: Sequence[str]) -> str:
    """Return a command as Docker shows it: arguments with a blank are in quotes."""
    return " ".join([argv[0], *(f"'{word}'" if " " in word else word for word in argv[1:])])


def _sizes(paths: Paths, containers: Sequence[Container]) -> dict[str, str]:
    """Return id → "1.2kB (virtual 170MB)": what a container has written, and with its image."""
    from rootless.engine import image_lookup, modes, usage  # slow by nature: it looks at every file

    paths.ensure()
    _, mode = modes.load_store_modes(paths)
    images = {str(image.image_id): image.size_bytes for image in image_lookup.iter_images(paths)}
    sizes = {}
    for container in containers:
        written = usage.written_bytes(paths, container, mapping=mode.mapping)
        total = written + images.get(container.spec.image_id, 0)
        sizes[container.spec.id] = f"{output.human_size(written)} (virtual {output.human_size(total)})"
    return sizes


def _last(parsed: Parsed) -> int:
    return 1 if parsed.flag("latest") else parsed.number("last") or 0


def _ports(container: Container) -> str:
    ports = container.state.ports
    if not ports or container.state.status not in lifecycle.ALIVE:
        return ""
    from rootless.model.spec import Port
    from rootless.network.ports import format_ports  # only when something is published

    return format_ports(Port.from_json(port) for port in ports if isinstance(port, dict))


def _mounts(container: Container, *, truncate: bool) -> str:
    sources = [mount.source for mount in container.spec.mounts if mount.source]
    return ",".join(output.ellipsis(source, 15) if truncate else source for source in sources)
