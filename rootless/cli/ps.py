"""`rootless ps`: list containers. Ring 1: it reads records and nothing else."""

from __future__ import annotations

import time

from rootless.cli import output
from rootless.cli.args import BOOL, INT, LIST, Command, Option
from rootless.engine import records
from rootless.engine.describe import label_map
from rootless.engine.logfile import timestamp
from rootless.errors import UsageError
from rootless.model import lifecycle
from rootless.model.names import SHORT_ID_LENGTH, find_container_id
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.records import Container

    Filters = dict[str, list[str]]

_FILTERS = ("ancestor", "before", "exited", "id", "label", "name", "network", "since", "status", "volume")
_STATUSES = (lifecycle.CREATED, lifecycle.RUNNING, lifecycle.EXITED, lifecycle.REMOVING)
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
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the containers that the options select, newest first."""
    parsed = TABLE.parse(argv)
    containers = records.load_all(find_paths(options.root))
    chosen = select(
        containers,
        filters=output.parse_filters(parsed.texts("filter"), known=_FILTERS),
        everything=parsed.flag("all"),
        last=_last(parsed),
    )
    now_ns = time.time_ns()
    truncate = not parsed.flag("no-trunc")
    output.print_rows(
        [row(container, now_ns=now_ns, truncate=truncate) for container in chosen],
        headers=HEADERS,
        columns=COLUMNS,
        form=parsed.text("format"),
        quiet="ID" if parsed.flag("quiet") else "",
    )
    return 0


def select(
    containers: Sequence[Container], *, filters: Filters, everything: bool, last: int
) -> list[Container]:
    """Return the containers to show.

    Args:
        containers: newest first.
        filters: values of one name are alternatives, names are conditions that all must hold; labels
            must all hold (Docker's rules).
        last: show as many of the newest whatever their state; 0 or less does not limit.
    """
    everything = everything or last > 0 or bool({"status", "exited"} & filters.keys())
    tests = _make_tests(filters, containers)
    chosen = [
        container
        for container in containers
        if (everything or container.state.status == lifecycle.RUNNING)
        and all(test(container) for test in tests)
    ]
    return chosen[:last] if last > 0 else chosen


def row(container: Container, *, now_ns: int, truncate: bool) -> dict[str, Any]:
    """Return what a template or a column can show of one container."""
    spec, state = container.spec, container.state
    labels = label_map(spec.labels)
    command = " ".join(spec.process.argv)
    return {
        "ID": spec.id[:SHORT_ID_LENGTH] if truncate else spec.id,
        "Image": spec.image,
        "Command": f'"{output.ellipsis(command, _COMMAND_WIDTH) if truncate else command}"',
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
    }


def status_text(container: Container, *, now_ns: int) -> str:
    """Return "Up 3 seconds", "Exited (0) 5 minutes ago", "Created"."""
    state = container.state
    if state.status == lifecycle.RUNNING:
        return "Up " + output.human_duration(max(now_ns - state.started_ns, 0) / 1e9)
    if state.status == lifecycle.EXITED:
        return f"Exited ({state.exit_code}) {output.human_age(state.finished_ns, now_ns)}"
    return "Removal In Progress" if state.status == lifecycle.REMOVING else "Created"


def _last(parsed: Parsed) -> int:
    return 1 if parsed.flag("latest") else parsed.number("last") or 0


def _ports(container: Container) -> str:
    ports = container.state.ports
    if not ports or container.state.status != lifecycle.RUNNING:
        return ""
    from rootless.model.spec import Port
    from rootless.network.ports import format_ports  # only when something is published

    return format_ports(Port.from_json(port) for port in ports if isinstance(port, dict))


def _mounts(container: Container, *, truncate: bool) -> str:
    sources = [mount.source for mount in container.spec.mounts if mount.source]
    return ",".join(output.ellipsis(source, 15) if truncate else source for source in sources)


def _make_tests(filters: Filters, containers: Sequence[Container]) -> list[Callable[[Container], bool]]:
    makers = {
        "ancestor": _is_ancestor,
        "exited": _has_exited,
        "id": lambda c, value: c.spec.id.startswith(value),
        "name": lambda c, value: value.removeprefix("/") in c.spec.name,
        "network": lambda c, value: value in (c.state.network, c.spec.network.driver),
        "status": lambda c, value: c.state.status == _known_status(value),
        "volume": lambda c, value: any(value in (m.source, m.target) for m in c.spec.mounts),
    }
    tests: list[Callable[[Container], bool]] = []
    for name, values in filters.items():
        if name == "label":
            tests.extend(_label_test(value) for value in values)
        elif name in ("before", "since"):
            tests.extend(_age_test(value, containers, before=name == "before") for value in values)
        else:
            tests.append(_any_test(makers[name], values))
    return tests


def _any_test(test: Callable[[Container, str], bool], values: list[str]) -> Callable[[Container], bool]:
    return lambda container: any(test(container, value) for value in values)


def _label_test(text: str) -> Callable[[Container], bool]:
    name, equals, value = text.partition("=")

    def test(container: Container) -> bool:
        found = label_map(container.spec.labels).get(name)
        return found is not None and (not equals or found == value)

    return test


def _age_test(query: str, containers: Sequence[Container], *, before: bool) -> Callable[[Container], bool]:
    by_id = {container.spec.id: container.spec for container in containers}
    names = {spec.name: spec.id for spec in by_id.values()}
    limit = by_id[find_container_id(query, names, by_id)].created_ns
    if before:
        return lambda container: container.spec.created_ns < limit
    return lambda container: container.spec.created_ns > limit


def _is_ancestor(container: Container, value: str) -> bool:
    spec = container.spec
    return value in (spec.image, spec.image.removesuffix(":latest")) or (
        len(value) >= SHORT_ID_LENGTH and spec.image_id.removeprefix("sha256:").startswith(value)
    )


def _has_exited(container: Container, value: str) -> bool:
    if not value.isdecimal():
        raise UsageError(f"invalid filter: exited={value}", hint="write an exit code, for example exited=0")
    return container.state.status == lifecycle.EXITED and container.state.exit_code == int(value)


def _known_status(value: str) -> str:
    if value not in _STATUSES:
        raise UsageError(f"invalid filter: status={value}", hint="there are: " + ", ".join(_STATUSES))
    return value
