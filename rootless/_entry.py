"""The console script: global options, then argv[1] → COMMANDS → import that one module → exit code.

Ring 0. A command module offers `main(argv: list[str], options: GlobalOptions) -> int`.
"""

from __future__ import annotations

import sys

from rootless.errors import EXIT_ENGINE, EXIT_FAILURE, EXIT_SIGNAL_BASE, RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "usage: rootless [--root DIR] [--log-level LEVEL] COMMAND [OPTIONS] [ARG...]"
_ENGINE_COMMANDS = frozenset(("run", "create", "start"))
"""Commands whose own failures exit with 125, so that they cannot be taken for the container's."""


class GlobalOptions:
    """Options before the command: `root` (None: default) and `debug` (--log-level debug)."""

    __slots__ = ("debug", "root")

    def __init__(self, *, root: str | None = None, debug: bool = False) -> None:
        self.root = root
        self.debug = debug


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never raises what a user caused."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = ""
    try:
        options, command, rest = split_global_options(words)
        if command in ("", "help", "--help", "-h"):
            return _print_help(rest)
        if command in ("--version", "-v"):
            command = "version"
        return _dispatch(command, rest, options)
    except RootlessError as exc:
        print(exc.render(), file=sys.stderr)
        if exc.exit_code is not None:
            return exc.exit_code
        return EXIT_ENGINE if command in _ENGINE_COMMANDS else EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_SIGNAL_BASE + 2
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_SIGNAL_BASE + 13


def split_global_options(words: list[str]) -> tuple[GlobalOptions, str, list[str]]:
    """Split a command line into global options, command ("" for none) and the command's own words.

    Raises:
        UsageError: an unknown option stands before the command, or one lacks its value.
    """
    options = GlobalOptions()
    position = 0
    while position < len(words) and words[position].startswith("-"):
        name, equals, value = words[position].partition("=")
        if name in ("--help", "-h", "--version", "-v"):
            break
        position += 1
        if name == "--debug" and not equals:
            options.debug = True
            continue
        if name not in ("--root", "--log-level"):
            raise UsageError(f"unknown option: {name}", hint=USAGE)
        if not equals:
            if position == len(words):
                raise UsageError(f"option needs a value: {name}", hint=USAGE)
            value = words[position]
            position += 1
        if name == "--root":
            options.root = value
        else:
            options.debug = value == "debug"
    command = words[position] if position < len(words) else ""
    return options, command, words[position + 1 :]


def _dispatch(command: str, rest: list[str], options: GlobalOptions) -> int:
    from importlib import import_module

    from rootless.cli import COMMANDS

    if command not in COMMANDS:
        raise UsageError(f"unknown command: {command}", hint="`rootless --help` lists the commands")
    module = import_module(COMMANDS[command][0])
    code: int = module.main(rest, options)
    sys.stdout.flush()
    return code


def _print_help(rest: list[str]) -> int:
    from rootless.cli import COMMANDS

    if rest and rest[0] in COMMANDS:
        return _dispatch(rest[0], ["--help"], GlobalOptions())
    width = max(map(len, COMMANDS))
    print(USAGE, "\n\nCommands:")
    for name, (_, text) in COMMANDS.items():
        print(f"  {name:<{width}}  {text}")
    print("\nOptions:\n  --root DIR         Keep images and containers there ($ROOTLESS_ROOT)")
    print("  --log-level LEVEL  debug: print the plan of each container")
    print("\n`rootless COMMAND --help` describes one command.")
    return 0


def _silence_stdout() -> None:
    """Point stdout at /dev/null, so that the interpreter's last flush does not fail too."""
    import os

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
