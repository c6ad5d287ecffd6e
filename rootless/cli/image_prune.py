"""`rootless image prune`: remove the images that nobody uses."""

from __future__ import annotations

import time

from rootless.cli import filters, output, prune_options
from rootless.cli.args import BOOL, Command, Option
from rootless.interface import pruning, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rootless._entry import GlobalOptions
    from rootless.engine.image_lookup import LocalImage

_FILTERS = ("dangling", "label", "label!", "until")

TABLE = Command(
    "image prune",
    "[OPTIONS]",
    "Remove unused images",
    options=(
        Option("--all", "-a", kind=BOOL, help="Remove all unused images, not just dangling ones"),
        prune_options.filter_option("until=<timestamp>"),
        prune_options.FORCE,
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
    if not prune_options.agreed(parsed, f"This will remove {doomed(everything=everything)}."):
        return 0
    pruned = pruning.prune_images(*prune_options.open_store(options), everything=everything, wanted=wanted)
    write_listing(pruned.lines)
    prune_options.write_freed(pruned.freed_bytes)
    return 0


def make_test(chosen: Mapping[str, Sequence[str]], *, now_ns: int) -> Callable[[LocalImage], bool]:
    """Return what tells whether the filters mean an image: all of them must hold."""
    limit_ns = prune_options.until_ns(chosen, now_ns=now_ns)
    limit_s = float("inf") if limit_ns is None else limit_ns / 1e9
    return lambda image: (
        store.created_seconds(image.created) < limit_s and filters.fits_labels(image.labels, chosen)
    )


def doomed(*, everything: bool) -> str:
    """Return what Docker calls the images that go."""
    if everything:
        return "all images without at least one container associated to them"
    return "all dangling images"


def write_listing(lines: Iterable[str]) -> None:
    """Print removed images: "untagged: …", as Docker does here, for `rmi`'s "Untagged: …"."""
    prune_options.write_listing("Deleted Images:", [line[:1].lower() + line[1:] for line in lines])
