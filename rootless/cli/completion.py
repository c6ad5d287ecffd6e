"""`rootless completion bash|zsh|fish`: a shell's completion, generated from the option tables.

Names of containers and images are asked of `rootless` itself when the key is pressed.
"""

from __future__ import annotations

import sys

from rootless.cli import COMMANDS, output
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
    "objects": f"{PROGRAM} ps -a --format '{{{{.Names}}}}'; "
    f"{PROGRAM} images --format '{{{{.Repository}}}}:{{{{.Tag}}}}'",
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
    cases = "\n".join(_bash_case(table) for table in tables)
    values = "\n".join(case for table in tables for case in _bash_value_cases(table))
    return _BASH.format(
        names=" ".join(table.name for table in tables), cases=cases, values=values, program=PROGRAM
    )


def zsh(tables: Sequence[Command]) -> str:
    commands = "\n".join(f"    {_quote(f'{t.name}:{t.summary}')}" for t in tables)
    cases = "\n".join(_zsh_case(table) for table in tables)
    sources = "\n".join(
        f'_{PROGRAM}_{name}() {{ local -a found; found=(${{(f)"$({{ {command}; }} 2>/dev/null)"}}); '
        "compadd -a found }"
        for name, command in SOURCES.items()
    )
    return _ZSH.format(program=PROGRAM, commands=commands, cases=cases, sources=sources)


def fish(tables: Sequence[Command]) -> str:
    names = " ".join(table.name for table in tables)
    lines = [
        f"complete -c {PROGRAM} -f",
        f"complete -c {PROGRAM} -l root -r -d 'Keep images and containers there'",
        f"complete -c {PROGRAM} -l log-level -x -a 'debug info warn error fatal' -d 'Log level'",
    ]
    for table in tables:
        before = f"complete -c {PROGRAM} -n 'not __fish_seen_subcommand_from {names}'"
        lines.append(f"{before} -a {table.name} -d {_quote(table.summary)}")
        within = f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {table.name}'"
        lines.extend(within + _fish_option(option) for option in table.shown_options)
        if table.completes:
            lines.append(f'{within} -a "({SOURCES[table.completes]})"')
    return "\n".join(lines) + "\n"


_WRITERS = {"bash": bash, "zsh": zsh, "fish": fish}


def _bash_case(table: Command) -> str:
    names = [name for option in table.shown_options for name in option.names] + ["--help"]
    takes = [name for option in table.shown_options if option.kind != BOOL for name in option.names]
    source = SOURCES.get(table.completes, "")
    return (
        f"    {table.name})\n"
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
    return f"    {table.name}) _arguments -s -S " + " \\\n      ".join(words) + " ;;"


def _zsh_option(option: Option) -> str:
    text = "".join("\\" + c if c in "[]:\\" else c for c in option.help).replace("'", "'\\''")
    value = ""
    if option.choices:
        value = f":{option.key}:({' '.join(option.choices)})"
    elif option.kind != BOOL:
        actions = {"": " ", "file": "_files", "directory": "_directories"}
        value = f":{option.key}:" + actions.get(option.completes, f"_{PROGRAM}_{option.completes}")
    return " ".join(f"'*{name}[{text}]{value}'" for name in option.names)


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


_BASH = """\
# bash completion for {program}: source <({program} completion bash)
_{program}_words() {{
  # not compgen -W, which would expand $(...) in the name of a hostile image
  local word kept=${{cur%"${{cur##*:}}"}}  # readline breaks words at colons and replaces the rest only
  while IFS= read -r word; do
    [[ $word == "$cur"* && $word != *[^a-zA-Z0-9_./:@-]* ]] && COMPREPLY+=("${{word#"$kept"}}")
  done < <(eval "$1" 2>/dev/null)
}}

_{program}() {{
  local line=${{COMP_LINE:0:COMP_POINT}} cur='' prev='' word i
  local command='' options='' takes_value='' source='' interspersed=1 positionals=0
  local -a words
  # not COMP_WORDS, which is broken at "=" and ":"
  read -ra words <<< "$line"
  if [[ $line != *[[:space:]] ]]; then
    cur=${{words[-1]}}
    unset 'words[-1]'
  fi
  prev=${{words[-1]}}
  if [[ $cur == --*=* ]]; then prev=${{cur%%=*}} cur=${{cur#*=}}; fi
  COMPREPLY=()
  for ((i = 1; i < ${{#words[@]}}; i++)); do
    case ${{words[i]}} in
      --root|--log-level) ((i++)) ;;
      -*) ;;
      *) command=${{words[i]}}; break ;;
    esac
  done
  case $command in
    '')
      case $prev in
        --root) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")) ;;
        --log-level) COMPREPLY=($(compgen -W 'debug info warn error fatal' -- "$cur")) ;;
        *) COMPREPLY=($(compgen -W '{names} --root --log-level --help --version' -- "$cur")) ;;
      esac
      return ;;
{cases}
    *) return ;;
  esac
  for ((i++; i < ${{#words[@]}}; i++)); do
    word=${{words[i]}}
    if [[ $takes_value == *" $word "* ]]; then
      ((i++))
    elif [[ $word != -* ]]; then
      ((positionals++))
    fi
  done
  if ((positionals > 0 && !interspersed)); then
    compopt -o default
    return
  fi
  case "$command $prev" in
{values}
    *)
      if [[ $takes_value == *" $prev "* ]]; then
        return
      elif [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
      elif [[ -n $source ]]; then
        _{program}_words "$source"
      fi ;;
  esac
}}
complete -F _{program} {program}
"""

_ZSH = """\
#compdef {program}
# zsh completion for {program}: source <({program} completion zsh)
{sources}

_{program}_commands() {{
  local -a commands
  commands=(
{commands}
  )
  _describe command commands
}}

_{program}() {{
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C \\
    '--root[Keep images and containers there]:directory:_directories' \\
    '--log-level[Log level]:level:(debug info warn error fatal)' \\
    '1:command:_{program}_commands' \\
    '*::argument:->arguments'
  [[ $state == arguments ]] || return
  case $line[1] in
{cases}
  esac
}}
compdef _{program} {program}
"""
