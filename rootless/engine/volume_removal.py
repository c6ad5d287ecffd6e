"""Who uses which volume, and how volumes vanish: hidden at once, deleted after. Ring 1.

A volume is in use while any container, stopped ones too, mounts it.
"""

from __future__ import annotations

import os

from rootless.engine import events, records, volumes
from rootless.errors import StateConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.volumes import Volume
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths


def users(paths: Paths) -> dict[str, list[str]]:
    """Return volume name → ids of the containers that mount it."""
    found: dict[str, list[str]] = {}
    for container in records.load_all(paths):
        for name in {mount.source for mount in container.spec.mounts if mount.kind == "volume"}:
            found.setdefault(name, []).append(container.spec.id)
    return found


def hide(paths: Paths, volume: Volume) -> str:
    """Make a volume vanish in one step; return the directory that is left to be deleted.

    Raises:
        StateConflict: a container uses it.
        NotFound: it does not exist any more.
    """
    with volumes.locked(paths):
        owners = users(paths).get(volume.name, [])
        if owners:
            shown = ", ".join(owner[:12] for owner in owners)
            raise StateConflict(
                f"cannot remove volume `{volume.name}`: it is in use by container {shown}",
                hint="remove the containers first; `rootless rm -v` takes anonymous volumes along",
                reference="volume-in-use",
            )
        volumes.load(paths, volume.name)
        return _hide(paths, volume.name)


def hide_unused(paths: Paths, *, wanted: Callable[[Volume], bool]) -> list[tuple[str, str]]:
    """Make all volumes vanish that are wanted and not in use; return (name, directory left) of each."""
    with volumes.locked(paths):
        in_use = users(paths)
        doomed = [v.name for v in volumes.load_all(paths) if v.name not in in_use and wanted(v)]
        return [(name, _hide(paths, name)) for name in doomed]


def hide_anonymous(paths: Paths, spec: ContainerSpec) -> list[str]:
    """Make the anonymous volumes of a container that is gone vanish, unless others use them too."""
    names = {mount.source for mount in spec.mounts if mount.is_anonymous}
    if not names:
        return []
    return [left for _, left in hide_unused(paths, wanted=lambda volume: volume.name in names)]


def _hide(paths: Paths, name: str) -> str:
    """Rename a volume; the caller holds the lock."""
    hidden = os.path.join(paths.volumes, f".gone-{os.urandom(8).hex()}")
    os.rename(os.path.join(paths.volumes, name), hidden)
    events.record(paths, events.VOLUME, "destroy", id=name, attributes={"driver": "local"})
    return hidden
