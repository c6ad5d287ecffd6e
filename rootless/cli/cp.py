"""`rootless cp`: copy files between a container and the host, or as an archive on stdin and stdout."""

from __future__ import annotations

import os
import sys

from rootless.cli import output
from rootless.cli.args import BOOL, Command, Option
from rootless.errors import RootlessError, UsageError
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Parsed
    from rootless.engine.archive import Archivist, Report

TABLE = Command(
    "cp",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\trootless cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem\n\n"
    "`-` in place of the local path is a tar archive: read from stdin, compressed or not,\n"
    "or written to stdout. Archives keep the owners of what is in them.",
    options=(
        Option(
            "--archive",
            "-a",
            kind=BOOL,
            help="Keep owners. Without it copies belong to you on the host, to root in the container",
        ),
        Option(
            "--follow-link", "-L", kind=BOOL, help="If SRC_PATH is a symbolic link, copy what it leads to"
        ),
        Option("--quiet", "-q", kind=BOOL, help="Do not say what was copied; only a terminal is told anyway"),
    ),
    min_positionals=2,
    max_positionals=2,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    from rootless.engine import modes, records
    from rootless.engine.archive import Archivist

    parsed = TABLE.parse(argv)
    (source_name, source), (target_name, target) = (split_operand(word) for word in parsed.positionals)
    if not source or not target:
        raise UsageError("cannot copy: a path is empty", hint="a container's root is written CONTAINER:/")
    if source_name and target_name:
        raise UsageError("copying between containers is not supported", hint="copy to the host and back")
    if not source_name and not target_name:
        raise UsageError("cannot copy: neither path is in a container", hint="write it as CONTAINER:PATH")
    paths = find_paths(options.root)
    container = records.find(paths, source_name or target_name)
    facts, chosen = modes.load_modes(paths)
    archivist = Archivist(paths, container, modes=chosen, facts=facts)
    report = (
        _copy_out(archivist, source, target, parsed)
        if source_name
        else _copy_in(archivist, source, target, parsed)
    )
    for note in report.notes:
        print(f"notice: {output.safe_text(note)}", file=sys.stderr)
    if "-" not in (source, target) and not parsed.flag("quiet") and os.isatty(1):
        size = output.human_size(report.size_bytes)
        print(f"Successfully copied {size} to {parsed.positionals[1]}", file=sys.stderr)
    return 0


def split_operand(word: str) -> tuple[str, str]:
    """Split an argument into the container's name, "" for the host, and a path.

    As with Docker an absolute path, and one that begins with a dot, is the host's, whatever colons it has.
    """
    name, colon, path = word.partition(":")
    if not colon or word.startswith(("/", ".")):
        return "", word
    return name, path


def _copy_out(archivist: Archivist, source: str, target: str, parsed: Parsed) -> Report:
    follow = parsed.flag("follow-link")
    if target != "-":
        return archivist.copy_out(source, target, follow=follow, archive=parsed.flag("archive"))
    refuse_terminal("redirect it, or name a local path")
    return archivist.stream_out(source, 1, follow=follow)


def _copy_in(archivist: Archivist, source: str, target: str, parsed: Parsed) -> Report:
    if source == "-":
        return archivist.stream_in(0, target)
    follow = parsed.flag("follow-link")
    return archivist.copy_in(source, target, follow=follow, archive=parsed.flag("archive"))


def refuse_terminal(hint: str) -> None:
    """Refuse to write an archive to a terminal, which would take it for commands.

    Raises:
        RootlessError: stdout is one.
    """
    if os.isatty(1):
        raise RootlessError("cannot write an archive to a terminal", hint=hint, reference="terminal")
