"""`rootless manifest annotate`: what a manifest list says of a member."""

from __future__ import annotations

from rootless.cli.args import Command
from rootless.cli.manifest_options import TRAITS, traits_of
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest annotate",
    "[OPTIONS] LIST IMAGE|DIGEST",
    "Add information about a member to a local manifest list",
    options=TRAITS,
    min_positionals=2,
    max_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Change the list; prints nothing, as Docker."""
    parsed = TABLE.parse(argv)
    name, member = parsed.positionals

    from rootless.engine import manifest_lists

    manifest_lists.annotate(find_paths(options.root), name, member, traits_of(parsed))
    return 0
