"""`rootless system prune`: remove stopped containers, unused images and, if asked for, volumes."""

from __future__ import annotations

import time

from rootless.cli import container_prune, filters, image_prune, output, prune_options
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import describe
from rootless.errors import UsageError
from rootless.interface import pruning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

_FILTERS = ("label", "label!", "until")

TABLE = Command(
    "system prune",
    "[OPTIONS]",
    "Remove unused data",
    options=(
        Option("--all", "-a", kind=BOOL, help="Remove all unused images not just dangling ones"),
        prune_options.filter_option("label=<key>=<value>"),
        prune_options.FORCE,
        Option("--volumes", kind=BOOL, help="Prune anonymous volumes"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove containers, then volumes, then images; print them and the space won."""
    parsed = TABLE.parse(argv)
    chosen = output.parse_filters(parsed.texts("filter"), known=_FILTERS)
    everything, with_volumes = parsed.flag("all"), parsed.flag("volumes")
    if with_volumes and "until" in chosen:
        raise UsageError("the filter `until` is not supported with --volumes: volumes have no such age")
    now_ns = time.time_ns()
    is_container_meant = container_prune.make_test(chosen, now_ns=now_ns)
    is_image_meant = image_prune.make_test(chosen, now_ns=now_ns)
    if not prune_options.agreed(parsed, warning(everything=everything, with_volumes=with_volumes)):
        return 0
    paths, mapping = prune_options.open_store(options)
    containers = pruning.prune_containers(paths, mapping, wanted=is_container_meant)
    prune_options.write_listing("Deleted Containers:", containers.lines)
    freed = containers.freed_bytes
    if with_volumes:
        volumes = pruning.prune_volumes(
            paths,
            mapping,
            wanted=lambda v: v.anonymous and filters.fits_labels(describe.volume_labels(v), chosen),
        )
        prune_options.write_listing("Deleted Volumes:", volumes.lines)
        freed += volumes.freed_bytes
    images = pruning.prune_images(paths, mapping, everything=everything, wanted=is_image_meant)
    image_prune.write_listing(images.lines)
    prune_options.write_freed(freed + images.freed_bytes)
    return 0


def warning(*, everything: bool, with_volumes: bool) -> str:
    """Return what Docker says before it asks."""
    doomed = ["all stopped containers"]
    doomed += ["all anonymous volumes not used by at least one container"] if with_volumes else []
    doomed.append(image_prune.doomed(everything=everything))
    return "This will remove:\n" + "".join(f"  - {each}\n" for each in doomed)
