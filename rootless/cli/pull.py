"""`rootless pull`: bring an image from a registry, or from a directory, and unpack it."""

from __future__ import annotations

import gc
import os
import sys

from rootless.cli import foreground, output
from rootless.cli.args import INT, Command, Option
from rootless.cli.run_table import PULL_OPTIONS
from rootless.engine import modes, worker
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "pull",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
    options=(
        *PULL_OPTIONS,
        Option("--id-fd", kind=INT, hidden=True),  # where `run` hears which image it was
    ),
    min_positionals=1,
    max_positionals=1,
    completes="images",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Pull one image; the last line of output is its name, or with -q its id."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    gc.disable()  # all that is imported stays, and looking through it costs a fifth more; `pull` enables it
    forked = worker.fork(paths)  # finds out what this host can do while we import trio

    from rootless.cli.progress import make_progress
    from rootless.engine import images
    from rootless.interface.images import pull_options

    facts = forked.receive_facts()
    early = forked if facts else None
    quiet = parsed.flag("quiet")
    wanted = pull_options(os.environ, platform=parsed.text("platform"), tls_verify=parsed.said("tls-verify"))
    foreground.warn_of_files(paths, wanted.settings)
    pulled = images.pull_blocking(
        paths,
        modes.store_modes(facts or modes.load_facts(paths)),  # which says why, where the worker could not
        parsed.positionals[0],
        options=wanted,
        progress=make_progress(quiet=quiet),
        early=early,
    )
    for note in pulled.notes:
        foreground.notice(note)
    for note in pulled.passed_over if not quiet else ():
        foreground.notice(f"passed over {note}")
    if options.debug and pulled.limits:
        foreground.notice(f"the registry allows {pulled.limits}", level="debug")
    id_fd = parsed.number("id-fd")
    if id_fd is not None:
        os.write(id_fd, f"{pulled.image_id}\n".encode())
    if quiet:
        output.write(pulled.image_id + "\n")
    else:
        output.write(f"Digest: {pulled.digest}\nStatus: {pulled.status_text}\n{pulled.name}\n")
    if sys.stdout is not None:
        sys.stdout.flush()
    return 0
