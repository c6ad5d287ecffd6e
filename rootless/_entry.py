"""The console script: global options, then argv[1] → COMMANDS → import that one module → exit code.

Ring 0. A command module offers `main(argv: list[str], options: GlobalOptions) -> int`.
"""

from __future__ import annotations

import os
import sys

from rootless.errors import (
    EXIT_ENGINE,
    EXIT_FAILURE,
    EXIT_SIGNAL_BASE,
    HelpRequested,
    InternalError,
    NotFound,
    RootlessError,
    UsageError,
    os_error_text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "usage: rootless [--root DIR] [--log-level LEVEL] COMMAND [OPTIONS] [ARG...]"
_LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
_ENGINE_COMMANDS = frozenset(("run", "create", "start"))
"""Commands whose own failures exit with 125, so that they cannot be taken for the container's."""


class GlobalOptions:
    """Options before the command: `root` (None: default) and `debug` (--log-level debug)."""

    __slots__ = ("debug", "root")

    def __init__(self, *, root: str | None = None, debug: bool = False) -> None:
        self.root = root
        self.debug = debug


def console() -> None:
    """Run the console script: as `main`, then leave the process with its exit code."""
    _open_standard_streams()
    try:
        code = main()
        # The interpreter's orderly end takes 3 of the 24 ms of `rootless ps`, 20 ms of a pull, and nothing
        # here needs it. It would wait for threads that are no daemons; the main one is not.
        threading = sys.modules.get("threading")
        if threading is None or sum(not thread.daemon for thread in threading.enumerate()) == 1:
            _leave(code)
    except KeyboardInterrupt:  # a second one, while the first was being dealt with
        os._exit(EXIT_SIGNAL_BASE + 2)
    raise SystemExit(code)


def _open_standard_streams() -> None:
    """Put /dev/null where our caller closed 0, 1 or 2: a pipe of ours must not be taken for one of them."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; never raises what a user caused."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = ""
    options = GlobalOptions()
    try:
        options, command, rest = split_global_options(words)
        command, rest = _resolve(command, rest)
        if command in ("", "help", "--help", "-h"):
            code = _print_help(rest)
        elif command in ("--version", "-v"):
            code = _print_version()
        else:
            code = _dispatch(command, rest, options)
        _flush()
        return code
    except HelpRequested as help_requested:
        return _print_and_flush(help_requested.text)
    except RootlessError as exc:
        return _report(exc, command)
    except KeyboardInterrupt:
        return EXIT_SIGNAL_BASE + 2
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_SIGNAL_BASE + 13
    except OSError as exc:
        return _report(_from_os_error(exc, command), command)
    except Exception as exc:
        if options.debug:
            raise
        return _report(_from_bug(exc), command)


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
        elif value in _LOG_LEVELS:
            options.debug = value == "debug"
        else:
            raise UsageError(f"unknown log level: {value}", hint="choose one of " + ", ".join(_LOG_LEVELS))
    command = words[position] if position < len(words) else ""
    return options, command, words[position + 1 :]


def _resolve(command: str, rest: list[str]) -> tuple[str, list[str]]:
    """Return the verb that is meant, and its words: `container ls -a` is `ps -a`.

    Raises:
        HelpRequested, UsageError: the word after a group is missing, or none of it.
    """
    from rootless.cli import GROUPS

    if command not in GROUPS:
        return command, rest
    from rootless.cli import groups  # ring 1, and seldom needed

    return groups.resolve(command, rest)


def _dispatch(command: str, rest: list[str], options: GlobalOptions) -> int:
    from rootless.cli import COMMANDS, GROUPS

    if command not in COMMANDS:
        hint = _suggest_command(command, [*COMMANDS, *GROUPS])
        raise UsageError(f"unknown command: {command}", hint=hint)
    name = COMMANDS[command][0]
    __import__(name)  # importlib itself would be one more module to load
    code: int = sys.modules[name].main(rest, options)
    return code


def _suggest_command(command: str, known: list[str]) -> str:
    import difflib  # only a mistake pays for it

    close = difflib.get_close_matches(command, known, n=1)
    question = f"Did you mean `{close[0]}`? " if close else ""
    return question + "`rootless --help` lists the commands"


def _report(exc: RootlessError, command: str) -> int:
    # Docker's order: what the command printed so far, then the complaint.
    try:
        _flush()
        print(exc.render(), file=sys.stderr, flush=True)
    except OSError:
        _silence_stdout()  # a reader went away, or the disk is full: the exit code still tells
    if exc.exit_code is not None:
        return exc.exit_code
    return EXIT_ENGINE if command in _ENGINE_COMMANDS else EXIT_FAILURE


def _from_os_error(exc: OSError, command: str) -> RootlessError:
    named = exc.filename if isinstance(exc.filename, str) else None
    return RootlessError(
        f"cannot complete `rootless {command}`: {os_error_text(exc)}", on=named, reference="os-error"
    )


def _from_bug(exc: Exception) -> InternalError:
    return InternalError(
        f"cannot go on, this is a bug of rootless: {type(exc).__name__}: {exc}",
        hint="run `rootless --log-level debug …` again and report what it prints",
    )


def _print_help(rest: list[str]) -> int:
    from rootless.cli import COMMANDS, GROUPS

    if rest and not rest[0].startswith("-"):
        verb, _ = _resolve(rest[0], rest[1:])
        if verb not in COMMANDS:
            raise NotFound(f"unknown command: {verb}", hint=_suggest_command(verb, [*COMMANDS, *GROUPS]))
        return _dispatch(verb, ["--help"], GlobalOptions())
    verbs = {name: text for name, (_, text) in COMMANDS.items() if " " not in name}
    groups = {name: text for name, (text, _) in GROUPS.items()}
    width = max(map(len, verbs | groups))
    print(USAGE)
    for title, rows in (("Management Commands", groups), ("Commands", verbs)):
        print(f"\n{title}:")
        for name, text in rows.items():
            print(f"  {name:<{width}}  {text}")
    print("\nOptions:\n  --root DIR         Keep images and containers there ($ROOTLESS_ROOT)")
    print("  --log-level LEVEL  debug: print the plan of each container")
    print("\n`rootless COMMAND --help` describes one command.")
    return 0


def _print_version() -> int:
    """Print the one line that `docker --version` prints."""
    from rootless import __version__

    print(f"rootless version {__version__}")
    return 0


def _leave(code: int) -> None:
    try:
        _flush()
        if sys.stderr is not None:
            sys.stderr.flush()
    except OSError:
        pass  # `main` has dealt with what could be told
    os._exit(code)


def _print_and_flush(text: str) -> int:
    try:
        print(text, end="")
        _flush()
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_SIGNAL_BASE + 13
    return 0


def _flush() -> None:
    if sys.stdout is not None:  # None: started with descriptor 1 closed
        sys.stdout.flush()


def _silence_stdout() -> None:
    """Point stdout at /dev/null, so that the interpreter's last flush does not fail too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
