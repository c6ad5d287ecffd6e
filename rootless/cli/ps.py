"""`rootless ps`: list containers. Ring 1: it reads records and nothing else."""

from __future__ import annotations

import time

from rootless.cli import output
from rootless.cli.args import BOOL, INT, LIST, Command, Option
from rootless.engine import records
from rootless.engine.describe import label_map
from rootless.engine.logfile import timestamp
from rootless.errors import RootlessError, UsageError
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
    from rootless.paths import Paths

    Filters = dict[str, list[str]]

_FILTERS = (
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
_STATUSES = (
    lifecycle.CREATED,
    lifecycle.RUNNING,
    lifecycle.EXITED,
    lifecycle.REMOVING,
    "paused",
    "restarting",
    "dead",
)
"""Docker's; the last three are known, and no container is ever in them."""
_HEALTHS = ("none", "starting", "healthy", "unhealthy")
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
    containers = _load_all(paths)
    chosen = select(
        containers,
        filters=output.parse_filters(parsed.texts("filter"), known=_FILTERS),
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


def _load_all(paths: Paths) -> list[Container]:
    """Return all containers, newest first, damaged ones included."""
    containers = records.load_all(paths)
    if len(containers) < len(records.list_ids(paths)):
        from rootless.engine import damaged  # rare

        containers += damaged.load_all(paths, known={container.spec.id for container in containers})
        containers.sort(key=lambda container: container.spec.created_ns, reverse=True)
    return containers


def select(
    containers: Sequence[Container], *, filters: Filters, everything: bool, last: int, paths: Paths
) -> list[Container]:
    """Return the containers to show.

    Args:
        containers: newest first.
        filters: values of one name are alternatives, names are conditions that all must hold; labels
            must all hold (Docker's rules).
        last: show as many of the newest whatever their state; 0 or less does not limit.
        paths: where the images are that the filter "ancestor" names.
    """
    everything = everything or last > 0 or bool({"status", "exited"} & filters.keys())
    tests = _make_tests(filters, containers, paths)
    chosen = [
        container
        for container in containers
        if (everything or container.state.status == lifecycle.RUNNING)
        and all(test(container) for test in tests)
    ]
    return chosen[:last] if last > 0 else chosen


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
    """Return "Up 3 seconds", "Exited (0) 5 minutes ago", "Created"."""
    state = container.state
    if state.status == lifecycle.RUNNING:
        return "Up " + output.human_duration(max(now_ns - state.started_ns, 0) / 1e9)
    if state.status == lifecycle.EXITED:
        return f"Exited ({state.exit_code}) {output.human_age(state.finished_ns, now_ns)}"
    if state.status == lifecycle.DEAD:
        return "Dead" + (f" ({state.error})" if state.error else "")
    return "Removal In Progress" if state.status == lifecycle.REMOVING else "Created"


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
    if not ports or container.state.status != lifecycle.RUNNING:
        return ""
    from rootless.model.spec import Port
    from rootless.network.ports import format_ports  # only when something is published

    return format_ports(Port.from_json(port) for port in ports if isinstance(port, dict))


def _mounts(container: Container, *, truncate: bool) -> str:
    sources = [mount.source for mount in container.spec.mounts if mount.source]
    return ",".join(output.ellipsis(source, 15) if truncate else source for source in sources)


def _make_tests(
    filters: Filters, containers: Sequence[Container], paths: Paths
) -> list[Callable[[Container], bool]]:
    makers = {
        "exited": _has_exited,
        "expose": lambda c, value: _has_port(c, value, "container_port"),
        "health": lambda c, value: _known(value, "health", _HEALTHS) == "none",
        "id": lambda c, value: _found(value, "id", c.spec.id),
        "name": lambda c, value: _found(value, "name", c.spec.name, "/" + c.spec.name),
        "network": lambda c, value: value in (c.state.network, c.spec.network.driver),
        "publish": lambda c, value: _has_port(c, value, "host_port"),
        "status": lambda c, value: c.state.status == _known(value, "status", _STATUSES),
        "volume": lambda c, value: any(value in (m.source, m.target) for m in c.spec.mounts),
    }
    tests: list[Callable[[Container], bool]] = []
    for name, values in filters.items():
        if name == "label":
            tests.extend(_label_test(value) for value in values)
        elif name in ("before", "since"):
            tests.extend(_age_test(value, containers, before=name == "before") for value in values)
        elif name == "ancestor":
            chosen = [_ancestor_test(paths, value) for value in values]
            tests.append(lambda container, chosen=chosen: any(test(container) for test in chosen))  # type: ignore[misc]
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


def _ancestor_test(paths: Paths, value: str) -> Callable[[Container], bool]:
    """Match containers of an image, and of images that were made from it: whose lowest layers are its own."""
    from rootless.engine import image_lookup  # only this filter looks at images

    try:
        image = image_lookup.find_image(paths, value)
    except RootlessError:  # removed meanwhile: containers still know the name, and the id
        pass
    else:
        chain = tuple(str(item) for item in image.chain_ids)[-1:]
        return lambda c: c.spec.image_id == image.image_id or bool(chain and chain[0] in c.spec.layers)

    def test(container: Container) -> bool:
        spec = container.spec
        is_id = len(value) >= SHORT_ID_LENGTH and spec.image_id.removeprefix("sha256:").startswith(value)
        return is_id or value in (spec.image, spec.image.removesuffix(":latest"))

    return test


def _found(pattern: str, name: str, *texts: str) -> bool:
    """Search a regular expression, as Docker's filters do; most are plain words."""
    import re  # `json` has loaded it already

    try:
        return any(re.search(pattern, text) for text in texts)
    except re.error as exc:
        raise UsageError(
            f"invalid filter: {name}={pattern}: {exc}", hint="write a regular expression"
        ) from exc


def _has_port(container: Container, value: str, field: str) -> bool:
    """Compare PORT[-LAST][/tcp|/udp] with the ports that are published."""
    ports, _, protocol = value.partition("/")
    first, dash, last = ports.partition("-")
    if not (first.isdecimal() and (last if dash else first).isdecimal()):
        raise UsageError(f"invalid filter: {value} is not a port", hint="write 80, 80/udp or 80-90")
    wanted = range(int(first), int(last or first) + 1)
    return container.state.status == lifecycle.RUNNING and any(
        isinstance(port, dict)
        and port.get(field) in wanted
        and port.get("protocol", "tcp") == (protocol or "tcp")
        for port in container.state.ports
    )


def _has_exited(container: Container, value: str) -> bool:
    if not value.isdecimal():
        raise UsageError(f"invalid filter: exited={value}", hint="write an exit code, for example exited=0")
    return container.state.status == lifecycle.EXITED and container.state.exit_code == int(value)


def _known(value: str, name: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f"invalid filter: {name}={value}", hint="there are: " + ", ".join(known))
    return value
