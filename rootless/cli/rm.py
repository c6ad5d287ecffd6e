"""`rootless rm`: remove containers. Ring 1."""

from __future__ import annotations

import os

from rootless.cli import several
from rootless.cli.args import BOOL, Command, Option
from rootless.engine import containers, modes, records
from rootless.errors import InternalError, NotFound
from rootless.model.lifecycle import ContainerState
from rootless.model.names import find_container_id
from rootless.model.spec import ContainerSpec, Process
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
        Option("--volumes", "-v", kind=BOOL, help="Remove anonymous volumes associated with the container"),
    ),
    min_positionals=1,
    completes="containers",
)


def main(argv: list[str], options: GlobalOptions) -> int:
    """Remove the containers; print each name or id as it was written once it is gone."""
    parsed = TABLE.parse(argv)
    paths = find_paths(options.root)
    paths.ensure()
    _, mode = modes.load_store_modes(paths)
    force = parsed.flag("force")

    def remove(query: str) -> None:
        container = _find_to_force(paths, query) if force else records.find(paths, query)
        if container is None:
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
    except NotFound as exc:
        # -f asks for absence, which is given; an ambiguous prefix is something else
        if exc.reference == "no-such-container":
            return None
        raise
    except InternalError as exc:
        if exc.reference != "damaged-record":
            raise
    return _stand_in(paths, query)


def _stand_in(paths: Paths, query: str) -> Container:
    """Return a container of which only id and name are known, enough to remove it."""
    names = records.read_names(paths)
    container_id = find_container_id(query, names, records.list_ids(paths))
    name = next((n for n, owner in names.items() if owner == container_id), container_id)
    spec = ContainerSpec(
        id=container_id, name=name, image="", image_id="", layers=(), process=Process(argv=("?",))
    )
    return records.Container(os.path.join(paths.containers, container_id), spec, ContainerState())
