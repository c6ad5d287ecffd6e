"""`rootless registry gc`: delete what no manifest of a registry needs."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.cli.registry_serve import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "registry gc",
    "[OPTIONS]",
    "Delete the blobs that no manifest of a registry refers to",
    options=(
        Option(
            "--age",
            metavar="duration",
            help="Spare blobs that were sent since, whose manifest may follow (default: 1h)",
        ),
        Option("--dry-run", kind=BOOL, help="Only say what would be deleted"),
        DIRECTORY,
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the digests of what went, and the space won; a server may go on meanwhile."""
    parsed = TABLE.parse(argv)

    from rootless.cli.durations import parse_duration
    from rootless.engine import registry
    from rootless.paths import find_paths

    age = parsed.text("age")
    age_s = parse_duration(age, option="--age") / 1e9 if age else None
    directory = parsed.text("volume") or registry.default_directory(find_paths(options.root))
    collected = registry.collect_blocking(directory, age_s=age_s, dry_run=parsed.flag("dry-run"))
    for digest in collected.blobs:
        output.write(f"{digest}\n")
    output.write(f"Total reclaimed space: {output.human_size(collected.freed_bytes)}\n")
    return 0
