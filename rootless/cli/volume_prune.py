"""`rootless volume prune`: remove the volumes that no container uses."""

from __future__ import annotations

import os

from rootless.cli import confirm, filters, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.engine import describe, events, modes, removal, usage, volume_removal
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.volumes import Volume

_FILTERS = ("all", "label", "label!")

TABLE = Command(
    "volume prune",
    "[OPTIONS]",
    "Remove unused local volumes",
    options=(
        Option("--all", "-a", kind=BOOL, help="Remove all unused volumes, not just anonymous ones"),
        Option("--filter", kind=LIST, metavar="filter", help='Provide filter values (e.g. "label=<label>")'),
        Option("--force", "-f", kind=BOOL, help="Do not prompt for confirmation"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove unused volumes, those with a name only if asked for; print their names and the space won."""
    parsed = TABLE.parse(argv)
    chosen = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    everything = parsed.flag("all") or any(filters.boolean("all", text) for text in chosen.get("all", ()))
    kind = "all local" if everything else "anonymous local"
    if not parsed.flag("force") and not confirm.agrees(
        f"This will remove {kind} volumes not used by at least one container."
    ):
        return 0
    paths = find_paths(options.root)
    paths.ensure()
    mapping = modes.load_store_modes(paths)[1].mapping

    def wanted(volume: Volume) -> bool:
        is_meant = everything or volume.anonymous
        return is_meant and filters.fits_labels(describe.volume_labels(volume), chosen)

    hidden = volume_removal.hide_unused(paths, wanted=wanted)
    reclaimed = 0
    for _, directory in hidden:
        reclaimed += usage.directory_bytes(paths, os.path.join(directory, "_data"), mapping=mapping)
        removal.delete(paths, directory, mapping=mapping)
    events.record(paths, events.VOLUME, "prune", id="", attributes={"reclaimed": str(reclaimed)})
    names = "".join(f"{name}\n" for name, _ in hidden)
    output.write(f"Deleted Volumes:\n{names}\n" if hidden else "")
    output.write(f"Total reclaimed space: {output.human_size(reclaimed)}\n")
    return 0
