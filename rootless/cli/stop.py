"""`rootless stop`: stop containers, all at once. Ring 1."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import INT, Command, Option
from rootless.engine import containers, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.records import Container

OPTIONS = (
    Option("--signal", "-s", help="Signal to send to the container"),
    Option("--timeout", "--time", "-t", kind=INT, help="Seconds to wait before killing the container"),
)
"""Shared with `restart`."""

TABLE = Command(
    "stop",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop one or more running containers",
    options=OPTIONS,
    min_positionals=1,
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Stop the containers; print each name or id as it was written once it has stopped."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    found: dict[str, Container] = {}

    def look_up(query: str) -> None:
        found[query] = records.find(paths, query)

    code = several.for_each(parsed.positionals, look_up)
    unique = {container.spec.id: container for container in found.values()}
    containers.stop(
        paths, list(unique.values()), number=signal_number(parsed), timeout_s=parsed.number("timeout")
    )
    for query in found:
        print(query)
    return code


def signal_number(parsed: Parsed) -> int | None:
    """Return what --signal says; None leaves it to the container."""
    if not parsed.given("signal"):
        return None
    from rootless.cli.values import parse_signal

    return parse_signal(parsed.text("signal"), option="--signal")
