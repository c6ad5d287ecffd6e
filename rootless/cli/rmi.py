"""`rootless rmi`: remove images."""

from __future__ import annotations

from rootless.cli import output, several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import modes
from rootless.interface import store
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "rmi",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    options=(
        Option("--force", "-f", kind=BOOL, help="Force removal of the image"),
        Option("--no-prune", kind=BOOL, help="Do not delete layers that nothing else needs"),
    ),
    min_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the images; print what was untied and what was deleted."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    with_layers = not parsed.flag("no-prune")
    removal = store.ImageRemoval(paths, force=parsed.flag("force"), with_layers=with_layers)

    def remove(query: str) -> None:
        output.write("".join(line + "\n" for line in removal.remove(query)))

    code = several.for_each(parsed.positionals, remove)
    if with_layers:
        removal.prune(modes.load_store_modes(paths)[1].mapping)
    return code
