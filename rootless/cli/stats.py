"""`rootless stats`: what containers use, again and again. Ring 1."""

from __future__ import annotations

import sys
import time

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import records, stats
from rootless.model import lifecycle
from rootless.model.names import SHORT_ID_LENGTH
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.records import Container
    from rootless.engine.stats import Sample
    from rootless.paths import Paths

HEADERS: dict[str, Any] = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
COLUMNS = tuple(name for name in HEADERS if name != "Container")
_INTERVAL_S = 1.0
_SHORT_INTERVAL_S = 0.3
"""Between the two looks that one table needs; Docker takes up to two seconds."""
_CLEAR, _HOME, _ERASE_LINE, _ERASE_BELOW = "\033[2J", "\033[H", "\033[K", "\033[J"

TABLE = Command(
    "stats",
    "[OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    options=(
        Option("--all", "-a", kind=BOOL, help="Show all containers (default shows just running)"),
        Option("--format", help=output.FORMAT_HELP),
        Option("--no-stream", kind=BOOL, help="Disable streaming stats and only pull the first result"),
        Option("--no-trunc", kind=BOOL, help="Do not truncate output"),
    ),
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print one table, or one each second until the user has seen enough."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    before = {c.spec.id: stats.take_sample(c) for c in _select(paths, parsed)}
    once = parsed.flag("no-stream")
    screen = not once and sys.stdout is not None and sys.stdout.isatty()
    if screen:
        _put(_CLEAR)
    while True:
        if any(sample.moment_ns for sample in before.values()) or not once:
            time.sleep(_SHORT_INTERVAL_S if once else _INTERVAL_S)
        containers = _select(paths, parsed)
        after = {c.spec.id: stats.take_sample(c) for c in containers}
        if screen:
            _put(_HOME)
        _print(parsed, containers, before, after, screen=screen)
        if once:
            return 0
        before = after


def row(container: Container, before: Sample, after: Sample, *, truncate: bool) -> dict[str, str]:
    """Return what a template or a column can show of one container."""
    spec = container.spec
    limit = after.limit_bytes
    return {
        "Container": spec.name,
        "ID": spec.id[:SHORT_ID_LENGTH] if truncate else spec.id,
        "Name": spec.name,
        "CPUPerc": f"{stats.cpu_percent(before, after):.2f}%",
        "MemUsage": " / ".join(map(output.human_binary_size, (after.memory_bytes, limit))),
        "MemPerc": f"{after.memory_bytes * 100 / limit if limit else 0:.2f}%",
        "NetIO": " / ".join(map(output.human_size, after.net)),
        "BlockIO": " / ".join(map(output.human_size, after.block)),
        "PIDs": str(after.pids),
    }


def _select(paths: Paths, parsed: Parsed) -> list[Container]:
    """Return the containers that are named, else those that run now, else all."""
    if parsed.positionals:
        return _named(paths, parsed.positionals)
    containers = records.load_all(paths)
    return [c for c in containers if parsed.flag("all") or c.state.status in lifecycle.ALIVE]


def _named(paths: Paths, queries: Sequence[str]) -> list[Container]:
    found: dict[str, Container] = {}
    for query in queries:
        container = records.find(paths, query)
        found.setdefault(container.spec.id, container)
    return list(found.values())


def _print(
    parsed: Parsed,
    containers: Sequence[Container],
    before: Mapping[str, Sample],
    after: Mapping[str, Sample],
    *,
    screen: bool,
) -> None:
    rows = [
        row(
            container,
            before.get(container.spec.id, stats.NOTHING),
            after[container.spec.id],
            truncate=not parsed.flag("no-trunc"),
        )
        for container in containers
    ]
    text = output.rows_text(rows, headers=HEADERS, columns=COLUMNS, form=parsed.text("format"))
    if screen:
        lines = output.safe_text(text).split("\n")
        _put(f"{_ERASE_LINE}\n".join(lines) + _ERASE_BELOW)
    else:
        output.write(text)
        if sys.stdout is not None:
            sys.stdout.flush()


def _put(text: str) -> None:
    """Write to the terminal, control characters and all."""
    output.write_bytes(output.encode(text))
    sys.stdout.flush()
