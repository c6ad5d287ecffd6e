"""Named and anonymous volumes: `volumes/<name>/{_data/,volume.json}`. Ring 1.

A volume's content belongs to the container's ids: it is filled and removed inside the user namespace
(`runtime.userns`), this module makes and finds the directories.
"""

from __future__ import annotations

import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths

ANONYMOUS = "anonymous"
"""Mount option that marks a volume made for one container: `rm -v` and --rm remove it."""


def data_directory(paths: Paths, name: str) -> str:
    return os.path.join(paths.volumes, name, "_data")


def ensure(paths: Paths, name: str, *, anonymous: bool = False) -> str:
    """Return the data directory of a volume, made if missing; idempotent, atomic by rename."""
    data = data_directory(paths, name)
    if os.path.isdir(data):
        return data
    draft = os.path.join(paths.volumes, f".new-{name}-{os.getpid()}")
    os.makedirs(os.path.join(draft, "_data"))
    os.chmod(os.path.join(draft, "_data"), 0o755)  # noqa: S103  users of the container enter, umask or not
    with open(os.path.join(draft, "volume.json"), "w", encoding="utf-8") as file:
        json.dump({"name": name, "anonymous": anonymous, "created_ns": time.time_ns()}, file)
    try:
        os.rename(draft, os.path.join(paths.volumes, name))
    except OSError:  # ENOTEMPTY: another container made it first
        os.unlink(os.path.join(draft, "volume.json"))
        os.rmdir(os.path.join(draft, "_data"))
        os.rmdir(draft)
    return data


def ensure_all(paths: Paths, spec: ContainerSpec) -> None:
    for mount in spec.mounts:
        if mount.kind == "volume":
            ensure(paths, mount.source, anonymous=ANONYMOUS in mount.options)


def anonymous_directories(paths: Paths, spec: ContainerSpec) -> list[str]:
    """Return the directories to delete with the container."""
    return [
        os.path.join(paths.volumes, mount.source)
        for mount in spec.mounts
        if mount.kind == "volume" and ANONYMOUS in mount.options
    ]
