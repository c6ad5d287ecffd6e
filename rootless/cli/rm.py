"""`rootless rm`: remove containers. Ring 1."""

from __future__ import annotations

from rootless.cli import several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import containers, modes, records
from rootless.errors import NotFound
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "rm",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    options=(
        Option("--force", "-f", kind=BOOL, help="Force the removal of a running container (uses SIGKILL)"),
        Option("--volumes", "-v", kind=BOOL, help="Remove anonymous volumes associated with the container"),
    ),
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the containers; print each name or id as it was written once it is gone."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    mapping = modes.store_mapping(modes.load_facts(paths))  # also where no container could run
    force = parsed.flag("force")

    def remove(query: str) -> None:
        try:
            container = records.find(paths, query)
        except NotFound as exc:
            # -f asks for absence, which is given; an ambiguous prefix is something else
            if force and exc.reference == "no-such-container":
                return
            raise
        containers.remove(paths, container, mapping=mapping, force=force, with_volumes=parsed.flag("volumes"))
        print(query)

    return several.for_each(parsed.positionals, remove)
