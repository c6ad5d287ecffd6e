"""Containers whose records cannot be read: `ps -a` shows them as dead, `rm -f` removes them.

Ring 1; imported when there is one.
"""

from __future__ import annotations

import os

from rootless.engine import records
from rootless.errors import InternalError, NotFound
from rootless.model import lifecycle
from rootless.model.lifecycle import ContainerState
from rootless.model.names import find_container_id
from rootless.model.spec import ContainerSpec, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container as Collection

    from rootless.engine.records import Container
    from rootless.paths import Paths

_UNKNOWN = "?"
_DAMAGED = "its record is damaged"
_NEWER = "a newer version of rootless recorded it"


def load_all(paths: Paths, *, known: Collection[str]) -> list[Container]:
    """Return a stand-in for every damaged container.

    Args:
        known: ids of those that are sound.
    """
    found = (_stand_in(paths, name) for name in records.list_ids(paths) if name not in known)
    return [container for container in found if container is not None]


def find(paths: Paths, query: str) -> Container | None:
    """Return a stand-in for the damaged container that a name or an id means, None where it means none.

    Raises:
        NotFound: the query is ambiguous.
    """
    try:
        return _stand_in(paths, find_container_id(query, records.read_names(paths), records.list_ids(paths)))
    except NotFound as exc:
        if exc.reference != "no-such-container":
            raise
        return None


def _stand_in(paths: Paths, container_id: str) -> Container | None:
    """Return a container of which only id and name are known, enough to show and to remove it."""
    directory = os.path.join(paths.containers, container_id)
    try:
        records.load(paths, container_id)
        return None  # recorded since we listed them
    except InternalError as exc:
        is_newer = exc.reference == "newer-record"
    except (NotFound, OSError):
        is_newer = False
    try:
        created_ns = os.stat(directory).st_mtime_ns
    except OSError:  # removed
        return None
    names = records.read_names(paths)
    spec = ContainerSpec(
        id=container_id,
        name=next((name for name, owner in names.items() if owner == container_id), container_id),
        image=_UNKNOWN,
        image_id="",
        layers=(),
        process=Process(argv=(_UNKNOWN,)),
        created_ns=created_ns,
    )
    state = ContainerState(status=lifecycle.DEAD, error=_NEWER if is_newer else _DAMAGED)
    return records.Container(directory, spec, state)
