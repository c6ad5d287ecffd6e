"""`rootless manifest remove`: take members out of a manifest list (podman's command)."""

from __future__ import annotations

from rootless.cli import output, several
from rootless.cli.args import Command
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest remove",
    "LIST DIGEST|IMAGE [DIGEST|IMAGE...]",
    "Remove members from a local manifest list",
    min_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the members; print the list's new digest."""
    name, *members = TABLE.parse(argv).positionals
    paths = find_paths(options.root)

    from rootless.engine import manifest_lists

    return several.for_each(
        members, lambda member: output.write(f"{manifest_lists.remove_member(paths, name, member)}\n")
    )
