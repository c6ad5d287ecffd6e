"""`rootless unpause`: let the processes of paused containers go on. Ring 1."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import Command
from rootless.engine import freezer, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "unpause",
    "CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    min_positionals=1,
    completes="running",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Let the containers go on; print each name or id as it was written."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)

    def unpause(query: str) -> None:
        freezer.unpause(paths, records.find(paths, query))
        print(query)

    return several.for_each(parsed.positionals, unpause)
