"""`rootless run`: create a container from an image, start it, and stay with it. Ring 1 for a local image.

The monitor is forked before this side imports anything more: each needs some 10 ms for that.
"""

from __future__ import annotations

from rootless.engine import launch
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.cli.args import Command

    TABLE: Command


def main(argv: list[str], options: GlobalOptions) -> int:
    paths = find_paths(options.root)
    standby = launch.stand_by(paths, debug=options.debug)
    from rootless.cli import run_begin  # after the fork

    return run_begin.run(argv, paths, options, standby)


def __getattr__(name: str) -> Command:
    """Return TABLE, for completion: `main` must not import it."""
    if name != "TABLE":
        raise AttributeError(name)
    from rootless.cli.run_table import TABLE

    return TABLE
