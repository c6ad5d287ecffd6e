"""Groups of commands, `rootless container ls`: what they mean, and their help. Ring 1.

The table is `cli.GROUPS`; a group has no options of its own.
"""

from __future__ import annotations

from rootless.cli import COMMANDS, GROUPS
from rootless.cli.args import PROGRAM, see_help
from rootless.errors import HelpRequested, UsageError


def resolve(group: str, words: list[str]) -> tuple[str, list[str]]:
    """Return the verb that the words after a group mean, and the words after that verb.

    Raises:
        HelpRequested: there is no word, or `--help`.
        UsageError: the group has no such command.
    """
    name = words[0] if words else "--help"
    if name in ("--help", "-h", "help"):
        raise HelpRequested(help_text(group))
    targets = GROUPS[group][1]
    if name in targets:
        verb, added = split_target(targets[name])
        return verb, [*added, *words[1:]]
    if name.startswith("-"):
        raise UsageError(f"unknown option: {name}", hint=see_help(group))
    import difflib  # only a mistake pays for it

    close = difflib.get_close_matches(name, targets, n=1)
    question = f"Did you mean `{PROGRAM} {group} {close[0]}`? " if close else ""
    raise UsageError(f"unknown command: {group} {name}", hint=question + see_help(group))


def split_target(target: str) -> tuple[str, list[str]]:
    """Return (verb, words that are added) of a target in `GROUPS`; a verb may have two words."""
    head, dash, options = target.partition(" --")
    return head, (dash.lstrip() + options).split()


def shown_names(group: str) -> dict[str, str]:
    """Return name → description of a group's commands, without further names for the same ones."""
    first: dict[str, str] = {}
    for name, target in GROUPS[group][1].items():
        first.setdefault(target, name)
    names = sorted((name, target) for target, name in first.items())
    return {name: COMMANDS[split_target(target)[0]][1] for name, target in names}


def help_text(group: str) -> str:
    """Return what `rootless GROUP --help` prints."""
    rows = shown_names(group)
    width = max(map(len, rows))
    lines = "".join(f"  {name:<{width}}  {text}\n" for name, text in rows.items())
    return (
        f"Usage:  {PROGRAM} {group} COMMAND\n\n{GROUPS[group][0]}\n\nCommands:\n{lines}\n"
        f"`{PROGRAM} {group} COMMAND --help` describes one command.\n"
    )
