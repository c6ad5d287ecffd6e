"""`rootless tag`: give an image one more name."""

from __future__ import annotations

from rootless.cli.args import Command
from rootless.engine import image_names
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "tag",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    min_positionals=2,
    max_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Give the name; prints nothing, as Docker."""
    source, target = TABLE.parse(argv).positionals
    paths = find_paths(options.root)
    paths.ensure()
    image_names.tag(paths, source, target)
    return 0
