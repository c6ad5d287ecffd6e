"""`rootless volume prune`: remove the volumes that no container uses."""

from __future__ import annotations

from rootless.cli import confirm, filters, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.cli.container_prune import listing
from rootless.engine import describe, modes
from rootless.interface import pruning
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

    pruned = pruning.prune_volumes(paths, mapping, wanted=wanted)
    output.write(listing("Deleted Volumes:", pruned.lines))
    output.write(f"Total reclaimed space: {output.human_size(pruned.freed_bytes)}\n")
    return 0
