"""Named and anonymous volumes: `volumes/<name>/{_data/,volume.json}`. Ring 1.

A volume's content belongs to the container's ids: it is filled and removed inside the user namespace
(`runtime.userns`), this module makes and finds the directories. `engine.volume_removal` knows who uses them.
"""

from __future__ import annotations

import os
import time

from layers import jsontext
from layers.contexts import contextmanager
from rootless.errors import NotFound, StateConflict
from rootless.model.names import ID_LENGTH
from rootless.model.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.model.spec import ContainerSpec
    from rootless.paths import Paths


class Volume(Value):
    """A volume as recorded in volume.json.

    Attributes:
        anonymous: made for one container, without a name that anybody chose.
        labels, options: as written, "name=value"; options are those of `volume create -o`.
        created_ns: nanoseconds since the epoch.
    """

    __slots__ = ("anonymous", "created_ns", "labels", "name", "options")

    def __init__(
        self,
        *,
        name: str,
        anonymous: bool = False,
        created_ns: int = 0,
        labels: tuple[str, ...] = (),
        options: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.anonymous = anonymous
        self.created_ns = created_ns
        self.labels = labels
        self.options = options

    @property
    def device(self) -> str:
        """The directory of the host that this volume is another name of, "" for a volume of its own."""
        return dict(option.partition("=")[::2] for option in self.options).get("device", "")


def data_directory(paths: Paths, name: str) -> str:
    """Return where a volume's files are, which need not exist."""
    own = os.path.join(paths.volumes, name, "_data")
    if os.path.isdir(own):
        return own
    try:
        return load(paths, name).device or own
    except NotFound:
        return own


def load(paths: Paths, name: str) -> Volume:
    """Read one volume; a damaged record costs what it said, not the volume.

    Raises:
        NotFound: it does not exist.
    """
    directory = os.path.join(paths.volumes, name)
    if not (_is_name(name) and os.path.isdir(directory)):
        raise _not_found(name)
    try:
        with open(os.path.join(directory, "volume.json"), encoding="utf-8") as file:
            return Volume.from_json(jsontext.loads(file.read())).replace(name=name)
    except (OSError, ValueError, TypeError):
        return Volume(name=name)


def load_all(paths: Paths) -> list[Volume]:
    """Load all volumes, ordered by name."""
    found = []
    for name in sorted(filter(_is_name, _listed(paths))):
        try:
            found.append(load(paths, name))
        except NotFound:
            continue  # removed between listing and reading
    return found


def find(paths: Paths, query: str) -> Volume:
    """Load the volume that a name means, or a unique beginning of an anonymous volume's name.

    Raises:
        NotFound: there is none, or a beginning fits several.
    """
    try:
        return load(paths, query)
    except NotFound:
        names = [n for n in _listed(paths) if len(n) == ID_LENGTH and n.startswith(query) and query]
    if len(names) == 1:
        return load(paths, names[0])
    if names:
        raise NotFound(
            f"cannot tell which volume is meant: {len(names)} names start with `{query}`",
            hint="give more characters of the name",
            reference="ambiguous-id",
        )
    raise _not_found(query)


def create(paths: Paths, volume: Volume) -> Volume:
    """Make a volume, or return the one of that name; idempotent, atomic by rename.

    Raises:
        StateConflict: it exists, and its options are others.
    """
    with locked(paths):
        if not os.path.isdir(os.path.join(paths.volumes, volume.name)):
            _make(paths, volume)
            return volume
    there = load(paths, volume.name)
    if volume.options and set(volume.options) != set(there.options):
        raise StateConflict(
            f"cannot create volume `{volume.name}`: it exists, with other options",
            hint=f"`rootless volume inspect {volume.name}` shows them; choose another name",
            reference="volume-exists",
        )
    return there


def ensure_all(paths: Paths, spec: ContainerSpec) -> None:
    """Make the volumes of a container that is recorded already, where they are missing.

    From then on nobody removes them: who removes a volume looks at the records under the same lock.
    """
    for mount in spec.mounts:
        if mount.kind == "volume":
            now_ns = time.time_ns()
            create(paths, Volume(name=mount.source, anonymous=mount.is_anonymous, created_ns=now_ns))


@contextmanager
def locked(paths: Paths) -> Iterator[None]:
    """Hold the lock under which volumes appear and vanish, for milliseconds."""
    import fcntl

    fd = os.open(os.path.join(paths.locks, "volumes.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def list_leftovers(paths: Paths) -> list[str]:
    """Return the directories that killed processes left: half-made and half-removed volumes."""
    if not any(name.startswith(".") for name in _listed(paths)):
        return []
    with locked(paths):  # nobody is making one
        return [os.path.join(paths.volumes, name) for name in _listed(paths) if name.startswith(".")]


def _make(paths: Paths, volume: Volume) -> None:
    from rootless.engine import events  # most containers have no volume

    draft = os.path.join(paths.volumes, f".new-{os.urandom(8).hex()}")
    if volume.device:
        os.makedirs(draft)
    else:
        data = os.path.join(draft, "_data")
        os.makedirs(data)
        os.chmod(data, 0o755)  # noqa: S103  users of the container enter, umask or not
    with open(os.path.join(draft, "volume.json"), "w", encoding="utf-8") as file:
        file.write(jsontext.dumps(volume.to_json()))
    os.rename(draft, os.path.join(paths.volumes, volume.name))
    events.record(paths, events.VOLUME, "create", id=volume.name, attributes={"driver": "local"})


def _listed(paths: Paths) -> list[str]:
    try:
        return os.listdir(paths.volumes)
    except FileNotFoundError:
        return []


def _is_name(name: str) -> bool:
    return bool(name) and not name.startswith(".") and "/" not in name


def _not_found(name: str) -> NotFound:
    return NotFound(
        f"no such volume: {name}", hint="`rootless volume ls` lists them", reference="no-such-volume"
    )
