"""`rootless completion bash|zsh|fish`: a shell's completion, generated from the option tables.

Names of containers and images are asked of `rootless` itself when the key is pressed.
"""

from __future__ import annotations

import sys

from rootless.cli import COMMANDS, GROUPS, groups, output
from rootless.cli import completion_scripts as scripts
from rootless.cli.args import BOOL, PROGRAM, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rootless._entry import GlobalOptions
    from rootless.cli.args import Option

SOURCES = {
    "containers": f"{PROGRAM} ps -a --format '{{{{.Names}}}}'",
    "running": f"{PROGRAM} ps --format '{{{{.Names}}}}'",
    "images": f"{PROGRAM} images --format '{{{{.Repository}}}}:{{{{.Tag}}}}'",
    "volumes": f"{PROGRAM} volume ls -q",
    "objects": f"{PROGRAM} ps -a --format '{{{{.Names}}}}'; "
    f"{PROGRAM} images --format '{{{{.Repository}}}}:{{{{.Tag}}}}'; {PROGRAM} volume ls -q",
}
"""Command.completes → the shell command that lists the words."""
_GLOBAL_VALUES = ("--root", "--log-level")

TABLE = Command(
    "completion",
    "bash|zsh|fish",
    "Generate the completion script for a shell",
    min_positionals=1,
    max_positionals=1,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the script: `source <(rootless completion bash)`."""
    shell = TABLE.parse(argv).positionals[0]
    if shell not in _WRITERS:
        from rootless.errors import UsageError

        raise UsageError(f"unknown shell: {shell}", hint="there are: " + ", ".join(_WRITERS))
    output.write(_WRITERS[shell](load_tables()))
    return 0


def load_tables() -> list[Command]:
    """Import every command module and return its option table, in the order of COMMANDS."""
    tables = []
    for module, _ in COMMANDS.values():
        __import__(module)
        tables.append(sys.modules[module].TABLE)
    return tables


def bash(tables: Sequence[Command]) -> str:
    return scripts.BASH.format(
        names=" ".join(_first_words(tables)),
        groups="\n".join(map(_bash_group, GROUPS)),
        cases="\n".join(_bash_case(table) for table in tables),
        values="\n".join(case for table in tables for case in _bash_value_cases(table)),
        program=PROGRAM,
    )


def zsh(tables: Sequence[Command]) -> str:
    commands = "\n".join(f"    {_quote(f'{n}:{text}')}" for n, text in _first_words(tables).items())
    cases = "\n".join(_zsh_case(table) for table in tables)
    sources = "\n".join(
        f'_{PROGRAM}_{name}() {{ local -a found; found=(${{(f)"$({{ {command}; }} 2>/dev/null)"}}); '
        "compadd -a found }"
        for name, command in SOURCES.items()
    )
    group_cases = "\n".join(map(_zsh_group, GROUPS))
    return scripts.ZSH.format(
        program=PROGRAM, commands=commands, groups=group_cases, cases=cases, sources=sources
    )


def fish(tables: Sequence[Command]) -> str:
    lines = [
        scripts.FISH.format(program=PROGRAM, groups="\n".join(map(_fish_group, GROUPS))),
        f"complete -c {PROGRAM} -f",
        f"complete -c {PROGRAM} -l root -r -d 'Keep images and containers there'",
        f"complete -c {PROGRAM} -l log-level -x -a 'debug info warn error fatal' -d 'Log level'",
    ]
    for place in ("", *GROUPS):
        words = groups.shown_names(place) if place else _first_words(tables)
        lines.extend(f"{_fish_at(place)} -a {name} -d {_quote(text)}" for name, text in words.items())
    for table in tables:
        within = _fish_at(table.name)
        lines.extend(within + _fish_option(option) for option in table.shown_options)
        if table.completes:
            lines.append(f'{within} -a "({SOURCES[table.completes]})"')
    return "\n".join(lines) + "\n"


def _first_words(tables: Sequence[Command]) -> dict[str, str]:
    """Return name → description of what may stand first: verbs and groups."""
    verbs = {table.name: table.summary for table in tables if " " not in table.name}
    return verbs | {name: text for name, (text, _) in GROUPS.items()}


_WRITERS = {"bash": bash, "zsh": zsh, "fish": fish}


def _bash_group(group: str) -> str:
    """Return the cases of `$command $name` that make a verb of a group's command, or offer them."""
    names = " ".join(groups.shown_names(group))
    offer = f"    '{group} ') COMPREPLY=($(compgen -W '{names} --help' -- \"$cur\")); return ;;"
    return "\n".join([offer, *(f"    {case}" for case in _group_cases(group, "command='{verb}' ;;"))])


def _zsh_group(group: str) -> str:
    words = "\n".join(f"        {_quote(f'{n}:{text}')}" for n, text in groups.shown_names(group).items())
    cases = "\n".join(f"        {case}" for case in _group_cases(group, "command='{verb}' ;;"))
    return scripts.ZSH_GROUP.format(group=group, commands=words, cases=cases)


def _fish_group(group: str) -> str:
    return "\n".join(
        f"        case '{group} {name}'\n            echo {_quote(groups.split_target(target)[0])}"
        for name, target in GROUPS[group][1].items()
    )


def _group_cases(group: str, action: str) -> list[str]:
    """Return the branches of a `case "$command $name"` of a POSIX shell."""
    return [
        f"'{group} {name}') " + action.format(verb=groups.split_target(target)[0])
        for name, target in GROUPS[group][1].items()
    ]


def _bash_case(table: Command) -> str:
    names = [name for option in table.shown_options for name in option.names] + ["--help"]
    takes = [name for option in table.shown_options if option.kind != BOOL for name in option.names]
    source = SOURCES.get(table.completes, "")
    return (
        f"    '{table.name}')\n"
        f"      options='{' '.join(names)}'\n"
        f"      takes_value=' {' '.join(takes)} '\n"
        f"      interspersed={int(table.interspersed)}\n"
        f"      source={_quote(source)} ;;"
    )


def _bash_value_cases(table: Command) -> Iterator[str]:
    for option in table.shown_options:
        patterns = "|".join(f"'{table.name} {name}'" for name in option.names)
        if option.choices:
            words = _quote(" ".join(option.choices))
            yield f'    {patterns}) COMPREPLY=($(compgen -W {words} -- "$cur")) ;;'
        elif option.completes in ("file", "directory"):
            kind = "-d" if option.completes == "directory" else "-f"
            yield f'    {patterns}) compopt -o filenames; COMPREPLY=($(compgen {kind} -- "$cur")) ;;'
        elif option.completes:
            yield f"    {patterns}) _{PROGRAM}_words {_quote(SOURCES[option.completes])} ;;"


def _zsh_case(table: Command) -> str:
    words = [_zsh_option(option) for option in table.shown_options] + ["'--help[Print usage]'"]
    source = f"_{PROGRAM}_{table.completes}" if table.completes else " "
    if table.interspersed:
        words.append(f"'*:argument:{source}'")
    else:
        words += [f"'1:argument:{source}'", "'*::command:_normal'"]
    return f"    '{table.name}') _arguments -s -S " + " \\\n      ".join(words) + " ;;"


def _zsh_option(option: Option) -> str:
    text = "".join("\\" + c if c in "[]:\\" else c for c in option.help).replace("'", "'\\''")
    value = ""
    if option.choices:
        value = f":{option.key}:({' '.join(option.choices)})"
    elif option.kind != BOOL:
        actions = {"": " ", "file": "_files", "directory": "_directories"}
        value = f":{option.key}:" + actions.get(option.completes, f"_{PROGRAM}_{option.completes}")
    return " ".join(f"'*{name}[{text}]{value}'" for name in option.names)


def _fish_at(command: str) -> str:
    """Return the beginning of a line for what may follow a command, "" for the first word."""
    return f"complete -c {PROGRAM} -n '__{PROGRAM}_at \"{command}\"'"


def _fish_option(option: Option) -> str:
    names = "".join(f" -s {n[1:]}" if len(n) == 2 else f" -l {n[2:]}" for n in option.names)
    value = ""
    if option.choices:
        value = f" -x -a {_quote(' '.join(option.choices))}"
    elif option.kind != BOOL:
        value = " -r -F" if option.completes in ("file", "directory") else " -x"
    return f"{names}{value} -d {_quote(option.help)}"


def _quote(text: str) -> str:
    """Quote for a POSIX shell, zsh and fish alike."""
    return "'" + text.replace("'", "'\\''") + "'"
