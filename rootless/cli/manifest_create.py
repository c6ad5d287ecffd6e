"""`rootless manifest create`: a list of images for several platforms."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.cli.manifest_options import REACH, settings_of
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest create",
    "[OPTIONS] LIST [IMAGE...]",
    "Create a local manifest list of images, which are here or in registries",
    options=(
        Option("--all", kind=BOOL, help="Add the images of all platforms, where an image is a list itself"),
        Option("--amend", "-a", kind=BOOL, help="Add to a list that exists"),
        *REACH,
    ),
    min_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Make the list; say so in Docker's words."""
    parsed = TABLE.parse(argv)
    name, *words = parsed.positionals
    paths = find_paths(options.root)

    from rootless.engine import list_members, manifest_lists

    manifest_lists.check_new(paths, name, amend=parsed.flag("amend"))
    members = list_members.find_members(
        paths, words, everything=parsed.flag("all"), settings=settings_of(parsed)
    )
    made = manifest_lists.create(paths, name, members, amend=parsed.flag("amend"))
    output.write(f"Created manifest list {made}\n")
    return 0
