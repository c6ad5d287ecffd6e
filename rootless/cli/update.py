"""`rootless update`: change the limits and the restart policy of containers. Ring 1."""

from __future__ import annotations

import os

from rootless.cli import foreground, limit_options, run_table, several
from rootless.cli.args import Command
from rootless.cli.values import parse_restart
from rootless.engine import records, update
from rootless.errors import UsageError
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "update",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    options=(*limit_options.LIVE_OPTIONS, run_table.RESTART_OPTION),
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Change the containers; print each name or id as it was written."""
    parsed = TABLE.parse(argv)
    if not any(parsed.given(option.key) for option in TABLE.options):
        raise UsageError(
            "cannot update: nothing to change was named", hint="see `rootless update --help` for what can be"
        )
    paths = find_paths(options.root)
    online = os.cpu_count() or 1
    restart = parse_restart(parsed.text("restart")) if parsed.given("restart") else None

    def change(query: str) -> None:
        notice = update.update(
            paths,
            records.find(paths, query),
            change=lambda limits: limit_options.change_limits(parsed, limits, online=online),
            restart=restart,
        )
        if notice:
            foreground.notice(f"{query}: {notice}")
        print(query)

    return several.for_each(parsed.positionals, change)
