"""`rootless volume rm`: remove volumes that no container uses."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import modes, removal, volume_removal, volumes
from rootless.errors import NotFound
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "volume rm",
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove one or more volumes",
    options=(Option("--force", "-f", kind=BOOL, help="Do not complain of volumes that do not exist"),),
    min_positionals=1,
    completes="volumes",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the volumes; print each name as it was written once it is gone."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    mapping = modes.load_store_modes(paths)[1].mapping

    def remove(query: str) -> None:
        try:
            hidden = volume_removal.hide(paths, volumes.find(paths, query))
        except NotFound as exc:
            if not (parsed.flag("force") and exc.reference == "no-such-volume"):
                raise
        else:
            removal.delete(paths, hidden, mapping=mapping)
        print(query)

    return several.for_each(parsed.positionals, remove)
