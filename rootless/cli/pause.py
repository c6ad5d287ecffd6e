"""`rootless pause`: stop all processes of containers where they are. Ring 1."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import Command
from rootless.engine import freezer, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "pause",
    "CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    min_positionals=1,
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Pause the containers; print each name or id as it was written."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)

    def pause(query: str) -> None:
        freezer.pause(paths, records.find(paths, query))
        print(query)

    return several.for_each(parsed.positionals, pause)
