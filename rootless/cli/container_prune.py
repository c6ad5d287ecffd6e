"""`rootless container prune`: remove all containers that do not run."""

from __future__ import annotations

import time

from rootless.cli import confirm, filters, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.engine import describe, modes
from rootless.interface import pruning
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container

_FILTERS = ("label", "label!", "until")

TABLE = Command(
    "container prune",
    "[OPTIONS]",
    "Remove all stopped containers",
    options=(
        Option(
            "--filter", kind=LIST, metavar="filter", help='Provide filter values (e.g. "until=<timestamp>")'
        ),
        Option("--force", "-f", kind=BOOL, help="Do not prompt for confirmation"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the containers; print their ids and the space they took. Their volumes stay."""
    parsed = TABLE.parse(argv)
    chosen = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    before_ns = until_ns(chosen, now_ns=time.time_ns())
    if not parsed.flag("force") and not confirm.agrees("This will remove all stopped containers."):
        return 0
    paths = find_paths(options.root)
    paths.ensure()
    mapping = modes.load_store_modes(paths)[1].mapping
    pruned = pruning.prune_containers(
        paths, mapping, wanted=lambda container: is_meant(container, chosen, before_ns=before_ns)
    )
    output.write(listing("Deleted Containers:", pruned.lines))
    output.write(f"Total reclaimed space: {output.human_size(pruned.freed_bytes)}\n")
    return 0


def listing(title: str, lines: Sequence[str]) -> str:
    """Return what Docker prints of removed things: nothing if there were none."""
    return f"{title}\n" + "".join(f"{line}\n" for line in lines) + "\n" if lines else ""


def is_meant(container: Container, chosen: Mapping[str, Sequence[str]], *, before_ns: int) -> bool:
    """Tell whether the filters mean a container."""
    return container.spec.created_ns < before_ns and filters.fits_labels(
        describe.label_map(container.spec.labels), chosen
    )


def until_ns(chosen: Mapping[str, Sequence[str]], *, now_ns: int) -> int:
    """Return the moment before which a container must have been created: all values must hold."""
    if "until" not in chosen:
        return now_ns
    from rootless.cli.moments import parse_moment  # compiles expressions

    return min(parse_moment(text, option="--filter until", now_ns=now_ns) for text in chosen["until"])
