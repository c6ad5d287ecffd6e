"""`rootless rename`: give a container another name. Ring 1."""

from __future__ import annotations

from rootless.cli.args import Command
from rootless.engine import events, records
from rootless.errors import StateConflict
from rootless.model.names import check_name
from rootless.paths import find_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless._entry import GlobalOptions

TABLE = Command(
    "rename",
    "CONTAINER NEW_NAME",
    "Rename a container",
    min_positionals=2,
    max_positionals=2,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Change the name, in any state of the container; its host name stays."""
    query, wanted = TABLE.parse(argv).positionals
    name = check_name(wanted.removeprefix("/"))  # as `inspect` prints names
    paths = find_paths(options.root)
    paths.ensure()
    container = records.find(paths, query)
    old = container.spec.name
    if name == old:
        raise StateConflict(
            f"cannot rename container `{old}`: that is its name already", reference="name-in-use"
        )
    records.rename(paths, container, name)
    events.record_container(paths, container, "rename", oldName=f"/{old}")
    return 0
