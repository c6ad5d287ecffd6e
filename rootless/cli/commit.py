"""`rootless commit`: an image of a container as it is now."""

from __future__ import annotations

from rootless.cli import foreground, output
from rootless.cli.args import BOOL, LIST, Command, Option
from rootless.engine import modes, records
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "commit",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    options=(
        Option("--author", "-a", help='Author, for the history: "Ann Example <ann@example.com>"'),
        Option("--change", "-c", kind=LIST, help="Apply Dockerfile instruction to the created image"),
        Option("--message", "-m", help="Commit message"),
        Option("--pause", "-p", kind=BOOL, default=True, help="Pause container during commit"),
    ),
    min_positionals=1,
    max_positionals=2,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Make the image and print its id."""
    from rootless.engine import image_names
    from rootless.engine.commit import Request, commit

    parsed = TABLE.parse(argv)
    query, *target = parsed.positionals
    request = Request(
        target=image_names.parse_target(target[0]) if target else None,
        message=parsed.text("message"),
        author=parsed.text("author"),
        changes=parsed.texts("change"),
        pause=parsed.flag("pause"),
    )
    paths = find_paths(options.root)
    paths.ensure()
    container = records.find(paths, query)
    facts, chosen = modes.load_store_modes(paths)
    image, notes = commit(paths, container, request, modes=chosen, facts=facts)
    for note in notes:
        foreground.notice(note)
    output.write(f"{image.image_id}\n")
    return 0
