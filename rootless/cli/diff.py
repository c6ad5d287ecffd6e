"""`rootless diff`: what a container has changed in its image's files."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.args import Command
from rootless.errors import printable
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "diff",
    "CONTAINER",
    "Inspect changes to files or directories on a container's file system: A for added, C for changed, D for "
    "deleted",
    min_positionals=1,
    max_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    from rootless.engine import modes, records
    from rootless.engine.archive import Archivist

    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    container = records.find(paths, parsed.positionals[0])
    facts, chosen = modes.load_store_modes(paths)
    shown = os.fsencode if not os.isatty(1) else _printable
    for kind, path in Archivist(paths, container, modes=chosen, facts=facts).changes():
        output.write_bytes(b"%s %s\n" % (kind.encode(), shown(path)))
    return 0


def _printable(path: bytes) -> bytes:
    """Escape what would drive the terminal: a container chose the name."""
    return output.encode(printable(os.fsdecode(path)))
