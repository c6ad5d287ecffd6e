"""`rootless manifest rm`: remove manifest lists; their members stay."""

from __future__ import annotations

from rootless.cli import output, several
from rootless.cli.args import Command
from rootless.interface import store
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest rm",
    "LIST [LIST...]",
    "Remove one or more local manifest lists",
    min_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the lists; print what was untied and deleted, as podman."""
    words = TABLE.parse(argv).positionals
    paths = find_paths(options.root)

    from rootless.engine import manifest_lists

    removal = store.ImageRemoval(paths, force=False)

    def remove(word: str) -> None:
        manifest_lists.find_list(paths, word)
        output.write("".join(line + "\n" for line in removal.remove(word)))

    return several.for_each(words, remove)
