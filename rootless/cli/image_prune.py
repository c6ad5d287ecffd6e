"""`rootless image prune`: remove the images that nobody uses."""

from __future__ import annotations

import time

from rootless.cli import confirm, filters, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.cli.container_prune import listing
from rootless.engine import modes
from rootless.interface import pruning, store
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rootless._entry import GlobalOptions
    from rootless.engine.image_lookup import LocalImage

_FILTERS = ("dangling", "label", "label!", "until")

TABLE = Command(
    "image prune",
    "[OPTIONS]",
    "Remove unused images",
    options=(
        Option("--all", "-a", kind=BOOL, help="Remove all unused images, not just dangling ones"),
        Option(
            "--filter", kind=LIST, metavar="filter", help='Provide filter values (e.g. "until=<timestamp>")'
        ),
        Option("--force", "-f", kind=BOOL, help="Do not prompt for confirmation"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove images without a name, or all that no container uses; print them and the space won."""
    parsed = TABLE.parse(argv)
    chosen = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    everything = parsed.flag("all") or any(
        not filters.boolean("dangling", text) for text in chosen.get("dangling", ())
    )
    wanted = make_test(chosen, now_ns=time.time_ns())
    what = (
        "all images without at least one container associated to them"
        if everything
        else "all dangling images"
    )
    if not parsed.flag("force") and not confirm.agrees(f"This will remove {what}."):
        return 0
    paths = find_paths(options.root)
    paths.ensure()
    mapping = modes.load_store_modes(paths)[1].mapping
    pruned = pruning.prune_images(paths, mapping, everything=everything, wanted=wanted)
    output.write(listing("Deleted Images:", [lower_first(line) for line in pruned.lines]))
    output.write(f"Total reclaimed space: {output.human_size(pruned.freed_bytes)}\n")
    return 0


def make_test(chosen: Mapping[str, Sequence[str]], *, now_ns: int) -> Callable[[LocalImage], bool]:
    """Return what tells whether the filters mean an image: all of them must hold."""
    limit_s = float("inf")
    if "until" in chosen:
        from rootless.cli.moments import parse_moment  # compiles expressions

        limit_s = min(
            parse_moment(text, option="--filter until", now_ns=now_ns) / 1e9 for text in chosen["until"]
        )
    return lambda image: (
        store.created_seconds(image.config.created) < limit_s
        and filters.fits_labels(image.config.labels, chosen)
    )


def lower_first(line: str) -> str:
    """Return what Docker prints of a removed image after it: "untagged: …" for `rmi`'s "Untagged: …"."""
    return line[:1].lower() + line[1:]
