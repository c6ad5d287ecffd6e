"""`rootless volume prune`: remove the volumes that no container uses."""

from __future__ import annotations

from rootless.cli import filters, output, prune_options
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import describe
from rootless.interface import pruning

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
        prune_options.filter_option("label=<label>"),
        prune_options.FORCE,
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove unused volumes, those with a name only if asked for; print their names and the space won."""
    parsed = TABLE.parse(argv)
    chosen = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    everything = parsed.flag("all") or any(filters.boolean("all", text) for text in chosen.get("all", ()))
    kind = "all local" if everything else "anonymous local"
    warning = f"This will remove {kind} volumes not used by at least one container."
    if not prune_options.agreed(parsed, warning):
        return 0

    def wanted(volume: Volume) -> bool:
        is_meant = everything or volume.anonymous
        return is_meant and filters.fits_labels(describe.volume_labels(volume), chosen)

    pruned = pruning.prune_volumes(*prune_options.open_store(options), wanted=wanted)
    prune_options.write_listing("Deleted Volumes:", pruned.lines)
    prune_options.write_freed(pruned.freed_bytes)
    return 0
