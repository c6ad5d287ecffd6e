"""`rootless load`: the images of an archive, into this store."""

from __future__ import annotations

import os

from rootless.cli import foreground, output
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import modes, worker
from rootless.errors import RootlessError
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.archives import LoadedImage

TABLE = Command(
    "load",
    "[OPTIONS]",
    "Load images from a tar archive or STDIN",
    options=(
        Option(
            "--input",
            "-i",
            help="Read from tar archive file, instead of STDIN",
            metavar="file",
            completes="file",
        ),
        Option("--quiet", "-q", kind=BOOL, help="Suppress the load output"),
    ),
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Load all images; one line of output for each name."""
    parsed = TABLE.parse(argv)
    path = parsed.text("input")
    if not path and os.isatty(0):
        raise RootlessError(
            "cannot load from a terminal", hint="redirect stdin, or name a file with -i", reference="terminal"
        )
    paths = find_paths(options.root)
    paths.ensure()
    # Modes are probed before trio is imported: a process with threads cannot make namespaces.
    _, mode = modes.load_store_modes(paths)
    early = worker.start(mode.mapping, paths.run)  # its imports run beside ours

    from rootless.cli.progress import make_progress
    from rootless.engine import archives

    quiet = parsed.flag("quiet") or not os.isatty(2)
    archives.load(paths, mode, path or 0, report=_report, progress=make_progress(quiet=quiet), early=early)
    return 0


def _report(image: LoadedImage) -> None:
    for note in image.notes:
        foreground.notice(note)
    for name in image.names:
        output.write(f"Loaded image: {name}\n")
    if not image.names:
        output.write(f"Loaded image ID: {image.image_id}\n")
