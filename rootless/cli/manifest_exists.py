"""`rootless manifest exists`: tell by the exit code whether there is a manifest list (podman's command)."""

from __future__ import annotations

from rootless.cli.args import Command
from rootless.errors import EXIT_FAILURE, ImageError, NotFound
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest exists",
    "LIST",
    "Check whether a local manifest list exists",
    min_positionals=1,
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Exit with 0 if there is one, else with 1; prints nothing."""
    (word,) = TABLE.parse(argv).positionals

    from rootless.engine import manifest_lists

    try:
        manifest_lists.find_list(find_paths(options.root), word)
    except (NotFound, ImageError):
        return EXIT_FAILURE
    return 0
