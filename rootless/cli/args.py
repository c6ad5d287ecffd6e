"""The command-line parser: one option table per command makes the parser, `--help` and shell completion.

Semantics are those of Docker's command line (github.com/spf13/pflag): `--name value`, `--name=value`,
`-n value`, `-nvalue`, `-n=value`, clustered booleans `-itd`, `--rm=false`, `--` ends options. Not argparse:
that costs the launch path 20 ms and treats `-p 80` and `run IMAGE -it` differently. Ring 1.
"""

from __future__ import annotations

from rootless.errors import HelpRequested, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

BOOL = "bool"
STRING = "string"
LIST = "list"
INT = "int"

PROGRAM = "rootless"
_HELP_WIDTH = 80
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
"""What Go's strconv.ParseBool takes; nothing else is a boolean."""


class Option:
    """One option of a command.

    Attributes:
        names: as written, "--env" and "-e"; the first is shown and gives the key ("env").
        kind: BOOL, STRING, LIST (may be repeated; each value is kept) or INT.
        help: one or more sentences without a final period.
        metavar: shown after the name; "" for booleans.
        default: value when the option is not given; None for "nothing was said".
        choices: the only values allowed, when not empty.
        completes: what a shell offers for the value: "file", "directory", or a word of `completion.SOURCES`.
        hidden: understood, but neither in `--help` nor offered by shells.
    """

    __slots__ = ("choices", "completes", "default", "help", "hidden", "key", "kind", "metavar", "names")

    def __init__(
        self,
        *names: str,
        kind: str = STRING,
        help: str = "",
        metavar: str = "",
        default: str | int | bool | None = None,
        choices: tuple[str, ...] = (),
        completes: str = "",
        hidden: bool = False,
    ) -> None:
        self.names = names
        self.key = names[0].lstrip("-")
        self.kind = kind
        self.help = help
        self.metavar = metavar or ("" if kind == BOOL else kind)
        self.default = default
        self.choices = choices
        self.completes = completes
        self.hidden = hidden

    @property
    def short(self) -> str:
        """The one-letter name with its dash, or ""."""
        return next((name for name in self.names if len(name) == 2), "")

    def hide(self) -> Option:
        """Return the same option as one that is understood but not shown."""
        return Option(*self.names, kind=self.kind, default=self.default, choices=self.choices, hidden=True)


class Parsed:
    """A command line that was understood.

    Attributes:
        positionals: everything that is no option, in order.
    """

    __slots__ = ("_options", "_values", "positionals")

    def __init__(
        self, *, options: dict[str, Option], values: dict[str, Any], positionals: tuple[str, ...]
    ) -> None:
        self._options = options
        self._values = values
        self.positionals = positionals

    def given(self, key: str) -> bool:
        """Tell whether the option was on the command line, with whatever value."""
        assert key in self._options, key
        return key in self._values

    def flag(self, key: str) -> bool:
        return bool(self._value(key))

    def said(self, key: str) -> bool | None:
        """Return a flag, None where it was not on the command line."""
        return self.flag(key) if self.given(key) else None

    def text(self, key: str) -> str:
        """Return the last value of a string option, or its default, or ""."""
        value = self._value(key)
        return "" if value is None else str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return all values of a list option, in order."""
        return tuple(self._value(key) or ())

    def number(self, key: str) -> int | None:
        value = self._value(key)
        return None if value is None else int(value)

    def _value(self, key: str) -> Any:
        return self._values.get(key, self._options[key].default)


class Command:
    """One verb: its words and its options.

    Args:
        name: "run", or "image ls".
        usage: what follows the name: "[OPTIONS] IMAGE [COMMAND] [ARG...]".
        summary: one sentence without a final period, for `--help` and the list of commands.
        max_positionals: None sets no limit.
        interspersed: options may stand after positionals; False for commands that pass words on.
        completes: what a shell offers for positionals, a word of `completion.SOURCES`.
    """

    __slots__ = (
        "completes",
        "interspersed",
        "max_positionals",
        "min_positionals",
        "name",
        "options",
        "summary",
        "usage",
    )

    def __init__(
        self,
        name: str,
        usage: str,
        summary: str,
        *,
        options: tuple[Option, ...] = (),
        min_positionals: int = 0,
        max_positionals: int | None = None,
        interspersed: bool = True,
        completes: str = "",
    ) -> None:
        self.name = name
        self.usage = usage
        self.summary = summary
        self.options = options
        self.min_positionals = min_positionals
        self.max_positionals = max_positionals
        self.interspersed = interspersed
        self.completes = completes

    def parse(self, argv: Sequence[str]) -> Parsed:
        """Understand the words after the command's name.

        Raises:
            HelpRequested: `--help` is among the options; it carries the text.
            UsageError: an unknown option, a value that is missing or of the wrong kind, or a wrong number
                of arguments; exit code 125.
        """
        parser = _Parser(self, argv)
        positionals = parser.run()
        self._check_count(len(positionals))
        return Parsed(
            options={option.key: option for option in self.options},
            values=parser.values,
            positionals=tuple(positionals),
        )

    def help_text(self, *, width: int = _HELP_WIDTH) -> str:
        """Return what `--help` prints, in Docker's two columns, with a final newline."""
        text = f"Usage:  {PROGRAM} {self.name} {self.usage}".rstrip() + f"\n\n{self.summary}\n"
        if self.shown_options:
            text += "\nOptions:\n" + "".join(_help_rows(self.shown_options, width=width))
        return text

    @property
    def shown_options(self) -> tuple[Option, ...]:
        return tuple(option for option in self.options if not option.hidden)

    def _check_count(self, count: int) -> None:
        low, high = self.min_positionals, self.max_positionals
        if count >= low and (high is None or count <= high):
            return
        if high == 0:
            wanted = "accepts no arguments"
        elif low == high:
            wanted = f"requires {low} argument" + "s" * (low != 1)
        elif count < low:
            wanted = f"requires at least {low} argument" + "s" * (low != 1)
        else:
            wanted = f"accepts at most {high} argument" + "s" * (high != 1)
        usage = f"usage: {PROGRAM} {self.name} {self.usage}".rstrip()
        raise UsageError(
            f"cannot parse the command line: '{PROGRAM} {self.name}' {wanted}",
            hint=f"{usage}\n{see_help(self.name)}",
        )


def see_help(command: str) -> str:
    """Return the sentence that ends every complaint about a command line."""
    return f"See '{PROGRAM} {command} --help'."


def bad_value(option: str, value: str, why: str, *, hint: str | None = None) -> UsageError:
    """Return the error for an option's value: names the option, the value and the reason."""
    return UsageError(f'invalid argument "{value}" for "{option}": {why}', hint=hint)


def parse_bool(text: str) -> bool | None:
    """Return the boolean that Go's strconv.ParseBool makes of a word, None if it is none."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


class _Parser:
    """One pass over the words of one command line."""

    def __init__(self, command: Command, argv: Sequence[str]) -> None:
        self.command = command
        self.words: Iterator[str] = iter(argv)
        self.by_name = {name: option for option in command.options for name in option.names}
        self.values: dict[str, Any] = {}

    def run(self) -> list[str]:
        positionals: list[str] = []
        for word in self.words:
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                positionals.append(word)
                if not self.command.interspersed:
                    break
            elif word.startswith("--"):
                self._long(word)
            else:
                self._cluster(word)
        positionals.extend(self.words)
        return positionals

    def _long(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = self._find(name)
        if equals:
            self._store(option, name, value)
        elif option.kind == BOOL:
            self._store(option, name, "true")
        else:
            self._store(option, name, self._next(f"option needs a value: {name}"))

    def _cluster(self, word: str) -> None:
        rest = word[1:]
        while rest:
            name, rest = "-" + rest[0], rest[1:]
            option = self._find(name, within=word)
            if len(rest) > 1 and rest[0] == "=":
                self._store(option, name, rest[1:])
                return
            if option.kind == BOOL:
                self._store(option, name, "true")
                continue
            within = "" if word == name else f" (in {word})"
            self._store(option, name, rest or self._next(f"option needs a value: {name}{within}"))
            return

    def _next(self, complaint: str) -> str:
        try:
            return next(self.words)
        except StopIteration:
            raise UsageError(complaint, hint=see_help(self.command.name)) from None

    def _find(self, name: str, *, within: str = "") -> Option:
        option = self.by_name.get(name)
        if option is not None:
            return option
        if name == "--help" or (name == "-h" and within == "-h"):
            raise HelpRequested(self.command.help_text())
        place = f" (in {within})" if within not in ("", name) else ""
        raise UsageError(f"unknown option: {name}{place}", hint=self._suggestion(name))

    def _suggestion(self, name: str) -> str:
        import difflib  # only a mistake pays for it

        known = [*(n for n, o in self.by_name.items() if n.startswith("--") and not o.hidden), "--help"]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        question = f"Did you mean `{close[0]}`? " if close else ""
        return question + see_help(self.command.name)

    def _store(self, option: Option, name: str, text: str) -> None:
        if option.choices and text not in option.choices:
            raise bad_value(name, text, "choose one of " + ", ".join(option.choices))
        if option.kind == LIST:
            self.values.setdefault(option.key, []).append(text)
        elif option.kind == BOOL:
            value = parse_bool(text)
            if value is None:
                raise bad_value(name, text, "not a boolean", hint=f"write {name}=true or {name}=false")
            self.values[option.key] = value
        elif option.kind == INT:
            self.values[option.key] = _integer(name, text)
        else:
            self.values[option.key] = text


def _integer(name: str, text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    # isascii: int() takes Arabic digits and underscores too; 18: fits the kernel's 64 bits
    if digits.isascii() and digits.isdigit() and len(digits) <= 18:
        return int(text)
    raise bad_value(name, text, "not a whole number")


def _help_rows(options: tuple[Option, ...], *, width: int) -> Iterator[str]:
    rows = [(_left_column(option), _right_column(option)) for option in _sorted(options)]
    column = max(len(left) for left, _ in rows) + 3
    for left, right in rows:
        lines = _wrap(right, max(width - column - 1, 20))
        yield f"{left:<{column}}" + ("\n" + " " * column).join(lines) + "\n"


def _sorted(options: tuple[Option, ...]) -> list[Option]:
    return sorted(options, key=lambda option: option.key)


def _left_column(option: Option) -> str:
    start = f"  {option.short}, " if option.short else "      "
    return f"{start}{option.names[0]} {option.metavar}".rstrip()


def _right_column(option: Option) -> str:
    shown = option.default
    if shown in (None, False, "", 0) and shown is not True:
        return option.help
    if isinstance(shown, bool):
        shown = "true"
    return f"{option.help} (default " + (f'"{shown}")' if option.kind == STRING else f"{shown})")


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines
