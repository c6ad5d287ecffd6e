"""What this host can do, from the cache of this boot or by trying (`runtime.probing`). Ring 1.

The cache is one JSON file in the run directory. It holds while its fingerprint does: boot, user, program
version, kernel, and everything an administrator could change (files, helpers, devices, sysctls, the
restrictions of this very process). Failures that may pass are never cached.
"""

from __future__ import annotations

import os

from layers import jsontext
from layers.contexts import suppress
from rootless import __version__
from rootless.linux import procfs
from rootless.model.host import HostFacts
from rootless.paths import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.paths import Paths

HELPERS = ("newuidmap", "newgidmap", "fuse-overlayfs", "pasta", "slirp4netns")
_FILES = ("/etc/subuid", "/etc/subgid", "/etc/nsswitch.conf")
_DEVICES = ("/dev/fuse", "/dev/net/tun")
_VALUES = (
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/self/attr/current",
)
_STATUS = (b"NoNewPrivs:", b"Seccomp:", b"Seccomp_filters:")


def load_facts(paths: Paths, *, fresh: bool = False) -> HostFacts:
    """Return the facts of this host for this user and store.

    Must run in a process with one thread, in the host's own namespaces; `paths.ensure()` came before.

    Args:
        fresh: try everything again, and renew the cache.
    Cost: below 1 ms from the cache, else some 50 ms and a scratch directory in the store.
    """
    fingerprint = take_fingerprint(paths)
    facts = None if fresh else _read_cache(cache_path(paths), fingerprint)
    if facts is None:
        from rootless.runtime import probing  # once per boot

        outcome = probing.find_facts(paths.store)
        facts = outcome.facts
        if outcome.lasting:
            _write_cache(cache_path(paths), {"fingerprint": fingerprint, "facts": facts.to_json()})
        elif not fresh:
            _forget(cache_path(paths))
    return facts


def cache_path(paths: Paths) -> str:
    """Return the cache file; each store has its own, since its file system is part of the facts."""
    return os.path.join(paths.run, os.path.basename(paths.store_run).replace("store-", "host-", 1) + ".json")


def take_fingerprint(paths: Paths) -> dict[str, Any]:
    """Return everything on which the facts depend, as JSON values; reads and stats only."""
    kernel = os.uname()
    return {
        "version": __version__,
        "ids": [os.geteuid(), os.getegid()],
        "kernel": [kernel.release, kernel.version],
        "namespaces": [_link("/proc/self/ns/user"), _link("/proc/self/ns/mnt")],
        "process": _process_restrictions(),
        "values": [_value(path) for path in _VALUES],
        "files": [_signature(path) for path in _FILES],
        "devices": [_signature(path) for path in _DEVICES],
        "helpers": [_helper(name) for name in HELPERS],
        "store": [paths.store, _device_number(paths.store)],
    }


def _process_restrictions() -> list[str]:
    lines = procfs.read("/proc/self/status").splitlines()
    return [line.decode() for line in lines if line.startswith(_STATUS)]


def _helper(name: str) -> list[Any]:
    path = find_program(name)
    if not path:
        return []
    return [path, _signature(path), os.statvfs(path).f_flag]  # a remount with nosuid disables set-id bits


def _signature(path: str) -> list[int]:
    try:
        info = os.stat(path)
    except OSError:
        return []
    return [info.st_dev, info.st_ino, info.st_mode, info.st_uid, info.st_rdev, info.st_ctime_ns]


def _device_number(path: str) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return -1


def _value(path: str) -> str:
    try:
        return procfs.read(path).decode(errors="replace")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read_cache(path: str, fingerprint: dict[str, Any]) -> HostFacts | None:
    try:
        with open(path, "rb") as file:
            data = jsontext.loads(file.read())
        return HostFacts.from_json(data["facts"]) if data["fingerprint"] == fingerprint else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # none yet, or cut short by a full disk: tried again


def _write_cache(path: str, data: dict[str, Any]) -> None:
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(jsontext.dumps(data).encode())
        os.rename(temporary, path)
    except OSError:
        _forget(temporary)  # no room in the run directory: the next command tries again


def _forget(path: str) -> None:
    with suppress(OSError):  # it is not there
        os.unlink(path)
