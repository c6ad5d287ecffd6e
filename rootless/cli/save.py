"""`rootless save`: images as an archive, for `load` here or elsewhere."""

from __future__ import annotations

from rootless.cli import cp
from rootless.cli.args import Command, Option
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "save",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    options=(
        Option("--output", "-o", help="Write to a file, instead of STDOUT", metavar="file", completes="file"),
        Option(
            "--format",
            default="docker-archive",
            choices=("docker-archive", "oci-archive"),
            help='Format of the archive ("docker-archive", "oci-archive")',
        ),
    ),
    min_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    parsed = TABLE.parse(argv)
    path = parsed.text("output")
    if not path:
        cp.refuse_terminal("redirect it, or name a file with -o")

    from rootless.engine import archives

    archives.save(find_paths(options.root), parsed.positionals, target=path or 1, form=parsed.text("format"))
    return 0
