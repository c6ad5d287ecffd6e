"""`rootless wait`: wait until containers have ended, and print their exit codes. Ring 1."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import Command
from rootless.engine import containers, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "wait",
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    options=(),
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Wait for one after the other, as docker does."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)

    def wait(query: str) -> None:
        print(containers.wait(paths, records.find(paths, query)), flush=True)

    return several.for_each(parsed.positionals, wait)
