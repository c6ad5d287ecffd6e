"""`rootless generate crontab`: print the crontab line that starts containers at boot."""

from __future__ import annotations

import os
import shlex

from rootless.cli import foreground, invocation, output
from rootless.cli.args import Command
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless._entry import GlobalOptions

TABLE = Command(
    "generate crontab",
    "",
    "Print a crontab line that starts containers at boot",
    max_positionals=0,
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Print the line; a notice says why a unit is better where systemd runs the user's session."""
    TABLE.parse(argv)
    if os.environ.get("XDG_RUNTIME_DIR"):
        foreground.notice(
            "cron has no XDG_RUNTIME_DIR, so that these containers have another run directory than those of "
            "your sessions; where `loginctl enable-linger` is allowed, `rootless generate systemd` is better"
        )
    output.write(line(invocation.words(options), path=invocation.search_path()))
    return 0


def line(program: Sequence[str], *, path: str) -> str:
    """Return the line for `crontab -e`. Pure.

    Raises:
        UsageError: a path has a line break, which no crontab can hold.
    """
    words = [f"PATH={path}", *program, "start", "--restartable"]
    text = " ".join(["@reboot", "env", *map(shlex.quote, words)])
    if "\n" in text:
        raise UsageError("cannot write a crontab line: a path has a line break")
    return text.replace("%", "\\%") + "\n"  # man 5 crontab: a bare % ends the command
