"""`rootless wait`: wait until containers have ended, or are as wanted; print their exit codes. Ring 1."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import Command, Option
from rootless.engine import conditions, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "wait",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    options=(
        Option(
            "--condition",
            default="not-running",
            choices=conditions.CONDITIONS,
            help=f"What to wait for ({', '.join(conditions.CONDITIONS)}); -1 is printed for what is no exit",
        ),
    ),
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Wait for one after the other, as docker does."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)

    def wait(query: str) -> None:
        container = records.find(paths, query)
        print(conditions.wait(paths, container, parsed.text("condition")), flush=True)

    return several.for_each(parsed.positionals, wait)
