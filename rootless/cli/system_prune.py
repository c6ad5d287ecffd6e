"""`rootless system prune`: remove stopped containers, unused images and, if asked for, volumes."""

from __future__ import annotations

import time

from rootless.cli import confirm, container_prune, filters, image_prune, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.engine import describe, modes
from rootless.errors import UsageError
from rootless.interface import pruning
from rootless.paths import find_paths

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
        Option(
            "--filter", kind=LIST, metavar="filter", help='Provide filter values (e.g. "label=<key>=<value>")'
        ),
        Option("--force", "-f", kind=BOOL, help="Do not prompt for confirmation"),
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
    before_ns = container_prune.until_ns(chosen, now_ns=now_ns)
    is_image_meant = image_prune.make_test(chosen, now_ns=now_ns)
    if not parsed.flag("force") and not confirm.agrees(
        warning(everything=everything, with_volumes=with_volumes)
    ):
        return 0
    paths = find_paths(options.root)
    paths.ensure()
    mapping = modes.load_store_modes(paths)[1].mapping
    containers = pruning.prune_containers(
        paths, mapping, wanted=lambda c: container_prune.is_meant(c, chosen, before_ns=before_ns)
    )
    output.write(container_prune.listing("Deleted Containers:", containers.lines))
    freed = containers.freed_bytes
    if with_volumes:
        volumes = pruning.prune_volumes(
            paths,
            mapping,
            wanted=lambda v: v.anonymous and filters.fits_labels(describe.volume_labels(v), chosen),
        )
        output.write(container_prune.listing("Deleted Volumes:", volumes.lines))
        freed += volumes.freed_bytes
    images = pruning.prune_images(paths, mapping, everything=everything, wanted=is_image_meant)
    output.write(container_prune.listing("Deleted Images:", list(map(image_prune.lower_first, images.lines))))
    output.write(f"Total reclaimed space: {output.human_size(freed + images.freed_bytes)}\n")
    return 0


def warning(*, everything: bool, with_volumes: bool) -> str:
    """Return what Docker says before it asks."""
    doomed = ["all stopped containers"]
    doomed += ["all anonymous volumes not used by at least one container"] if with_volumes else []
    if everything:
        doomed.append("all images without at least one container associated to them")
    else:
        doomed.append("all dangling images")
    return "This will remove:\n" + "".join(f"  - {each}\n" for each in doomed)
