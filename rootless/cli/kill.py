"""`rootless kill`: send a signal to containers. Ring 1."""

from __future__ import annotations

import signal

from rootless.cli import several
from rootless.cli.args import Command, Option
from rootless.engine import containers, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "kill",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Kill one or more running containers",
    options=(Option("--signal", "-s", help="Signal to send to the container (default: SIGKILL)"),),
    min_positionals=1,
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print each name or id as it was written once its first process has been signalled."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    number = int(signal.SIGKILL)
    if parsed.given("signal"):
        from rootless.cli.values import parse_signal

        number = parse_signal(parsed.text("signal"), option="--signal")

    def kill(query: str) -> None:
        containers.kill(paths, records.find(paths, query), number)
        print(query)

    return several.for_each(parsed.positionals, kill)
