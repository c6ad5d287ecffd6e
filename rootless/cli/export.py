"""`rootless export`: a container's root file system as an archive."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress

from rootless.cli import cp, output
from rootless.cli.args import Command, Option
from rootless.errors import RootlessError, os_error_text
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.archive import Archivist, Report

TABLE = Command(
    "export",
    "[OPTIONS] CONTAINER",
    "Export a container's file system as a tar archive",
    options=(
        Option(
            "--output",
            "-o",
            help="Write to a file, instead of stdout",
            metavar="file",
            completes="file",
        ),
    ),
    min_positionals=1,
    max_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    from rootless.engine import modes, records
    from rootless.engine.archive import Archivist

    parsed = TABLE.parse(argv)
    path = parsed.text("output")
    if not path:
        cp.refuse_terminal("redirect it, or name a file with -o")
    paths = find_paths(options.root)
    container = records.find(paths, parsed.positionals[0])
    facts, chosen = modes.load_store_modes(paths)
    archivist = Archivist(paths, container, modes=chosen, facts=facts)
    report = _write_file(archivist, path) if path else archivist.export(1)
    for note in report.notes:
        print(f"notice: {output.safe_text(note)}", file=sys.stderr)
    return 0


def _write_file(archivist: Archivist, path: str) -> Report:
    """Write a new file, which has its name once it is complete; a device or FIFO is written to as it is."""
    draft = f"{path}.{os.getpid()}.part"
    try:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            draft = ""
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        else:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise RootlessError(f"cannot write {path}: {os_error_text(exc)}", reference="files") from exc
    try:
        report = archivist.export(fd)
        if draft:
            os.rename(draft, path)
    except BaseException:
        if draft:
            with suppress(OSError):
                os.unlink(draft)
        raise
    finally:
        os.close(fd)
    return report
