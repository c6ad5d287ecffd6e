"""`rootless manifest add`: one more image in a manifest list."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.cli.manifest_options import REACH, TRAITS, settings_of, traits_of
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "manifest add",
    "[OPTIONS] LIST IMAGE [IMAGE...]",
    "Add images, which are here or in registries, to a local manifest list",
    options=(
        Option("--all", kind=BOOL, help="Add the images of all platforms, where the image is a list itself"),
        *TRAITS,
        *REACH,
    ),
    min_positionals=2,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Add the images; print the list's new digest, as podman."""
    parsed = TABLE.parse(argv)
    name, *words = parsed.positionals
    paths = find_paths(options.root)

    from rootless.engine import list_members, manifest_lists

    said = traits_of(parsed)
    manifest_lists.find_list(paths, name)
    members = list_members.find_members(
        paths, words, everything=parsed.flag("all"), settings=settings_of(parsed)
    )
    for member in members:
        member.traits = member.traits.updated(said)
    output.write(f"{manifest_lists.add(paths, name, members)}\n")
    return 0
