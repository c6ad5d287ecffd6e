"""`rootless restart`: stop containers and start them again. Ring 1."""

from __future__ import annotations

from rootless.cli import foreground, several, start
from rootless.cli.args import Command
from rootless.cli.stop import OPTIONS, signal_number
from rootless.engine import containers, events, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "restart",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Restart one or more containers",
    options=OPTIONS,
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print each name or id as it was written once it runs again."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    number = signal_number(parsed)

    def restart(query: str) -> None:
        container = records.find(paths, query)
        containers.stop(paths, [container], number=number, timeout_s=parsed.number("timeout"))
        container = records.load(paths, container.spec.id)
        session = start.start(paths, container, options, watched=False)
        foreground.wait_started(session)
        session.close()
        events.record_container(paths, container, "restart")
        print(query)

    return several.for_each(parsed.positionals, restart)
