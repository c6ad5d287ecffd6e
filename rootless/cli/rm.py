"""`rootless rm`: remove containers. Ring 1."""

from __future__ import annotations

import sys

from rootless.cli import several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import containers, damaged, modes, records
from rootless.errors import NotFound, RootlessError, printable
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions
    from rootless.engine.records import Container
    from rootless.paths import Paths

TABLE = Command(
    "rm",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    options=(
        Option("--force", "-f", kind=BOOL, help="Force the removal of a running container (uses SIGKILL)"),
        Option("--link", "-l", kind=BOOL, help="Remove the specified link (there are none)"),
        Option("--volumes", "-v", kind=BOOL, help="Remove anonymous volumes associated with the container"),
    ),
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the containers; print each name or id as it was written once it is gone."""
    parsed = TABLE.parse(argv)
    if parsed.flag("link"):
        raise NotFound(
            f"no such link: {parsed.positionals[0]}",
            hint="containers have no links here: use --network container:NAME, or --add-host",
            reference="no-such-link",
        )
    paths = find_paths(options.root)
    paths.ensure()
    _, mode = modes.load_store_modes(paths)
    force = parsed.flag("force")

    def remove(query: str) -> None:
        container = _find_to_force(paths, query) if force else records.find(paths, query)
        if container is None:  # Docker tells it, and succeeds (since 20.10)
            print(f"notice: no such container: {printable(query)}", file=sys.stderr)
            return
        containers.remove(
            paths, container, mapping=mode.mapping, force=force, with_volumes=parsed.flag("volumes")
        )
        print(query)

    return several.for_each(parsed.positionals, remove)


def _find_to_force(paths: Paths, query: str) -> Container | None:
    """Find a container for `rm -f`: one that is absent is None, a damaged record is no obstacle."""
    try:
        return records.find(paths, query)
    except (RootlessError, OSError) as exc:
        container = damaged.find(paths, query)
        # -f asks for absence, which is given; an ambiguous prefix is something else
        if container is None and getattr(exc, "reference", "") != "no-such-container":
            raise
        return container
