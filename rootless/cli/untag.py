"""`rootless untag`: take names from an image, which stays (podman's command)."""

from __future__ import annotations

from rootless.cli.args import Command
from rootless.engine import image_names
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "untag",
    "IMAGE [NAME[:TAG]...]",
    "Remove names from an image, all of them if none is given; the image stays",
    min_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Take the names away; prints nothing, as podman."""
    image, *names = TABLE.parse(argv).positionals
    paths = find_paths(options.root)
    paths.ensure()
    image_names.untag(paths, image, names)
    return 0
