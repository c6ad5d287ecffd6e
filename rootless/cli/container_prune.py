"""`rootless container prune`: remove all containers that do not run."""

from __future__ import annotations

import time

from rootless.cli import filters, output, prune_options
from rootless.cli.args import Command
from rootless.engine import describe
from rootless.interface import pruning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container

_FILTERS = ("label", "label!", "until")

TABLE = Command(
    "container prune",
    "[OPTIONS]",
    "Remove all stopped containers",
    options=(prune_options.filter_option("until=<timestamp>"), prune_options.FORCE),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the containers; print their ids and the space they took. Their volumes stay."""
    parsed = TABLE.parse(argv)
    chosen = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    wanted = make_test(chosen, now_ns=time.time_ns())
    if not prune_options.agreed(parsed, "This will remove all stopped containers."):
        return 0
    pruned = pruning.prune_containers(*prune_options.open_store(options), wanted=wanted)
    prune_options.write_listing("Deleted Containers:", pruned.lines)
    prune_options.write_freed(pruned.freed_bytes)
    return 0


def make_test(chosen: Mapping[str, Sequence[str]], *, now_ns: int) -> Callable[[Container], bool]:
    """Return what tells whether the filters mean a container: all of them must hold."""
    limit_ns = prune_options.until_ns(chosen, now_ns=now_ns)
    before_ns = now_ns if limit_ns is None else limit_ns
    return lambda container: (
        container.spec.created_ns < before_ns
        and filters.fits_labels(describe.label_map(container.spec.labels), chosen)
    )
