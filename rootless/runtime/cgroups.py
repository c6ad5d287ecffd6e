"""Where containers' cgroups are made, and how they come and go (version 2 only). Ring 1.

    home ─┬─ rootless-engine     what was in `home` before, where that had to move
          ├─ rootless-<id>       one container
          └─ rootless-<id>

A cgroup that hands controllers to its children holds no processes itself (kernel: cgroup-v2.rst, "No Internal
Process Constraint"), and who moves a process must be allowed to write cgroup.procs of the nearest common
ancestor ("Delegation Containment"). So the home is the parent of the own cgroup where that was given to this
user, and everybody stays where he is; else it is the own cgroup, and the processes in it move into a leaf.

Where nothing was given but the user has a systemd, that is asked for a scope (`runtime.systemd`), which then
is the home of one container.

A container's cgroup is locked by its monitor: one that nobody locks is a leftover.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from layers.contexts import suppress
from rootless.linux import cgroups
from rootless.model.value import Value

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
"""Those that limits and `stats` use."""
_PREFIX = "rootless-"
_ENGINE = _PREFIX + "engine"
_ID_LENGTH = 64
_EVACUATIONS = 10
_REMOVAL_S = 1.0
"""How long a cgroup may stay busy after its last process: the kernel needs a moment to forget a zombie."""


class Level(Value):
    """One directory of the tree, as far as this user can use it.

    Attributes:
        writable: children can be made, and processes moved.
        controllers: available here. enabled: handed to children.
        populated: it holds processes itself.
        delegated: systemd was told to leave it to its processes (Delegate=yes, systemd.resource-control).
    """

    __slots__ = ("controllers", "delegated", "enabled", "path", "populated", "writable")

    def __init__(
        self,
        *,
        path: str,
        writable: bool = True,
        controllers: frozenset[str] = frozenset(),
        enabled: frozenset[str] = frozenset(),
        populated: bool = False,
        delegated: bool = False,
    ) -> None:
        self.path = path
        self.writable = writable
        self.controllers = controllers
        self.enabled = enabled
        self.populated = populated
        self.delegated = delegated


class Home(Value):
    """A directory below which this user may make cgroups.

    Attributes:
        controllers: those that children have or can be given.
        crowded: it holds processes, which must move before it can hand controllers down.
    """

    __slots__ = ("controllers", "crowded", "path")

    def __init__(self, *, path: str, controllers: frozenset[str], crowded: bool = False) -> None:
        self.path = path
        self.controllers = controllers
        self.crowded = crowded


class Cgroup:
    """The cgroup of one container, locked by this process.

    Attributes:
        path: its directory. controllers: those it has.
    """

    __slots__ = ("_fd", "controllers", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        self.controllers = cgroups.parse_words(cgroups.read_text(path, "cgroup.controllers"))

    def add(self, pid: int) -> None:
        """Move a process into it; OSError when the kernel refuses."""
        cgroups.write(self.path, "cgroup.procs", pid)

    def remove(self) -> None:
        """Remove it with what the container made below it; it stays while a process is in it."""
        remove(self.path)
        os.close(self._fd)


def choose_home(own: Level, parent: Level | None) -> Home | None:
    """Decide where to make cgroups; None when nothing here was given to this user.

    systemd is the only writer of its slices and of units that it did not delegate, even where their files
    belong to the user (systemd.io/CGROUP_DELEGATION).
    """
    if parent is not None and parent.writable and not _is_managed(parent):
        available = parent.enabled if parent.populated else parent.enabled | parent.controllers
        return Home(path=parent.path, controllers=available)
    if own.writable and not _is_managed(own):
        return Home(path=own.path, controllers=own.controllers, crowded=own.populated)
    return None


def find_home() -> Home | None:
    """Look where this process is, and decide."""
    directory = cgroups.own_directory()
    if not directory:
        return None
    above = os.path.dirname(directory)
    return choose_home(look_at(directory), look_at(above) if _is_cgroup(above) else None)


def ask_for_home(container_id: str) -> Home | None:
    """Let the user's systemd move this process into a scope of its own; None when there is no such manager.

    That takes some 20 ms. The scope goes with its last process.
    """
    from rootless.runtime import systemd  # where nothing else was given, and limits are wanted

    if not systemd.is_there():
        return None
    try:
        systemd.start_scope(f"{_PREFIX}{container_id}.scope", os.getpid())
    except OSError:
        return None
    return find_home()


def available() -> frozenset[str]:
    """Return the controllers that containers of this user can have, here or through the user's systemd."""
    home = find_home()
    if home is not None:
        return home.controllers
    from rootless.runtime import systemd

    if not systemd.is_there():
        return frozenset()
    directory = cgroups.find_directory(systemd.manager_cgroup(), cgroups.read_mounts())
    return cgroups.parse_words(cgroups.read_text(directory, "cgroup.controllers"))


def enter_scope(cgroup: str) -> bool:
    """Move this process next to a container in a scope, so that it may put others into its cgroup."""
    from rootless.runtime import systemd

    home = os.path.dirname(cgroup)
    scope = os.path.basename(home)
    if not (scope.startswith(_PREFIX) and scope.endswith(".scope")):
        return False
    try:
        systemd.attach(scope, f"/{_ENGINE}" if os.path.isdir(f"{home}/{_ENGINE}") else "/", os.getpid())
    except OSError:
        return False
    return may_move_to(cgroup)


def may_move_to(cgroup: str) -> bool:
    """Tell whether this process may move itself: cgroup.procs of the common ancestor must be writable."""
    own = cgroups.own_directory()
    common = os.path.commonpath((own, cgroup)) if own else "/"
    return os.access(f"{common}/cgroup.procs", os.W_OK)


def look_at(path: str) -> Level:
    files = (path, f"{path}/cgroup.procs", f"{path}/cgroup.subtree_control")
    return Level(
        path=path,
        writable=all(os.access(file, os.W_OK) for file in files),
        controllers=cgroups.parse_words(cgroups.read_text(path, "cgroup.controllers")),
        enabled=cgroups.parse_words(cgroups.read_text(path, "cgroup.subtree_control")),
        populated=bool(cgroups.read_text(path, "cgroup.procs")),
        delegated=_is_delegated(path),
    )


def make(home: Home, container_id: str) -> Cgroup:
    """Make the cgroup of a container, with the controllers that the home has, and sweep leftovers.

    Raises:
        OSError: the kernel refuses after all.
    """
    _hand_down(home)
    sweep(home.path)
    path = f"{home.path}/{_PREFIX}{container_id}"
    while True:
        with suppress(FileExistsError):  # of a run whose monitor was killed
            os.mkdir(path, 0o755)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.path.exists(path):
            return Cgroup(path, fd)
        os.close(fd)  # a sweep was quicker than the lock


def remove(path: str) -> bool:
    """Remove a cgroup and those below it; returns False while a process stays in one of them."""
    deadline = time.monotonic() + _REMOVAL_S
    while True:
        try:
            _remove_tree(path)
        except FileNotFoundError:
            return True
        except OSError as exc:
            if exc.errno != errno.EBUSY or time.monotonic() > deadline:
                return False
            time.sleep(0.005)  # cgroup.events tells of the last process, not of the last zombie
        else:
            return True


def sweep(home: str) -> None:
    """Remove the cgroups of containers whose monitor was killed."""
    with suppress(OSError):
        for name in os.listdir(home):
            if name.startswith(_PREFIX) and len(name) == len(_PREFIX) + _ID_LENGTH:
                _remove_unlocked(f"{home}/{name}")


def _remove_unlocked(path: str) -> None:
    with suppress(OSError):  # locked, or removed meanwhile
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_tree(path)
        finally:
            os.close(fd)


def _hand_down(home: Home) -> None:
    """Enable for children what is there; a controller that cannot be had is done without."""
    enabled = cgroups.parse_words(cgroups.read_text(home.path, "cgroup.subtree_control"))
    for name in CONTROLLERS:
        if name in home.controllers and name not in enabled:
            with suppress(OSError):  # ENOENT: somebody above took it back
                _enable(home, name)


def _enable(home: Home, controller: str) -> None:
    try:
        cgroups.write(home.path, "cgroup.subtree_control", f"+{controller}")
    except OSError as exc:
        if exc.errno != errno.EBUSY or not home.crowded:
            raise
        _evacuate(home.path)
        cgroups.write(home.path, "cgroup.subtree_control", f"+{controller}")


def _evacuate(home: str) -> None:
    """Move the processes of a cgroup into a leaf below it: limits from above hold for them as before."""
    leaf = f"{home}/{_ENGINE}"
    with suppress(FileExistsError):
        os.mkdir(leaf, 0o755)
    for _ in range(_EVACUATIONS):  # some may fork meanwhile
        pids = cgroups.read_text(home, "cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                cgroups.write(leaf, "cgroup.procs", int(pid))


def _remove_tree(path: str) -> None:
    with os.scandir(path) as entries:
        below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    for child in below:
        with suppress(FileNotFoundError):
            _remove_tree(child)
    os.rmdir(path)


def _is_managed(level: Level) -> bool:
    name = os.path.basename(level.path)
    if name.startswith(_PREFIX):
        return False  # a scope that was made for us
    if name.endswith(".slice") or name.startswith("user@"):
        return True
    return name.endswith((".scope", ".service")) and not level.delegated


def _is_delegated(path: str) -> bool:
    try:
        return os.getxattr(path, "user.delegate") == b"1"
    except OSError:  # not set, or systemd before 251, whose mark only root can read
        return False


def _is_cgroup(path: str) -> bool:
    return os.path.exists(f"{path}/cgroup.procs")
