"""Why this host refuses user namespaces: observations and a pure diagnosis. Imported only when it does.

The kernel answers EPERM for most reasons, so the reason is inferred from what is readable without privilege.
Spec: man 7 user_namespaces; kernel: kernel/user_namespace.c create_user_ns, map_write.
"""

from __future__ import annotations

import errno
import os

from rootless.linux import mountinfo, procfs
from rootless.model.value import Value

KERNEL, LIMIT, COUNT = "kernel", "sysctl-max", "limit"
CLONE, APPARMOR, SECCOMP = "sysctl-clone", "apparmor", "seccomp"
CHROOT, UNMAPPED, UNKNOWN = "chroot", "unmapped", "unknown"
TRANSIENT = frozenset((COUNT,))
"""Restrictions that pass without an administrator."""

_TEXTS = {
    KERNEL: "this kernel was built without user namespaces (CONFIG_USER_NS)",
    LIMIT: "the sysctl user.max_user_namespaces is 0",
    COUNT: "the limit on user namespaces is reached (user.max_user_namespaces, or 32 levels)",
    CLONE: "the sysctl kernel.unprivileged_userns_clone is 0",
    APPARMOR: "AppArmor refuses them to this program (kernel.apparmor_restrict_unprivileged_userns is 1)",
    SECCOMP: "a seccomp filter refuses them, as in a Docker container with default settings",
    CHROOT: "this process is in a chroot, where the kernel refuses them",
    UNMAPPED: "this user's id is not mapped in the present user namespace",
    UNKNOWN: "the kernel refuses them: {error}",
}


class Observations(Value):
    """What can be read about the refusal; None where a file is missing.

    Attributes:
        number: errno. stage: "unshare", "map" or "mount-namespace", the step that failed.
        supported: /proc/self/ns/user exists.
        max_user_namespaces, unprivileged_userns_clone, apparmor_restrict: sysctls.
        seccomp: a filter is active in this process.
        chroot: no mount of this namespace is at "/".
        mapped: uid and gid have an id in the present user namespace.
    """

    __slots__ = (
        "apparmor_restrict",
        "chroot",
        "mapped",
        "max_user_namespaces",
        "number",
        "seccomp",
        "stage",
        "supported",
        "unprivileged_userns_clone",
    )

    def __init__(
        self,
        *,
        number: int,
        stage: str = "unshare",
        supported: bool = True,
        max_user_namespaces: int | None = None,
        unprivileged_userns_clone: int | None = None,
        apparmor_restrict: int | None = None,
        seccomp: bool = False,
        chroot: bool = False,
        mapped: bool = True,
    ) -> None:
        self.number = number
        self.stage = stage
        self.supported = supported
        self.max_user_namespaces = max_user_namespaces
        self.unprivileged_userns_clone = unprivileged_userns_clone
        self.apparmor_restrict = apparmor_restrict
        self.seccomp = seccomp
        self.chroot = chroot
        self.mapped = mapped


def diagnose(seen: Observations) -> str:
    """Name the restriction; the first that explains the errno at that step, most certain first."""
    if not seen.supported or seen.number == errno.EINVAL:
        return KERNEL
    if seen.max_user_namespaces == 0:
        return LIMIT
    if seen.number in (errno.ENOSPC, errno.EUSERS):
        return COUNT
    if seen.unprivileged_userns_clone == 0:
        return CLONE
    if not seen.mapped:
        return UNMAPPED
    if seen.chroot:
        return CHROOT
    # AppArmor lets unshare pass and takes the capabilities away: the next steps fail.
    if seen.apparmor_restrict == 1 and (seen.stage != "unshare" or not seen.seccomp):
        return APPARMOR
    return SECCOMP if seen.seccomp else UNKNOWN


def describe(restriction: str, number: int) -> str:
    """Return the restriction as one line."""
    return _TEXTS[restriction].format(error=os.strerror(number))


def observe(number: int, stage: str) -> Observations:
    """Read what can be read about a refusal that has just happened; costs a dozen small files."""
    uids, gids = procfs.read("/proc/self/uid_map"), procfs.read("/proc/self/gid_map")
    return Observations(
        number=number,
        stage=stage,
        supported=os.path.exists("/proc/self/ns/user"),
        max_user_namespaces=_sysctl("user/max_user_namespaces"),
        unprivileged_userns_clone=_sysctl("kernel/unprivileged_userns_clone"),
        apparmor_restrict=_sysctl("kernel/apparmor_restrict_unprivileged_userns"),
        seccomp=b"\nSeccomp:\t2" in procfs.read("/proc/self/status"),
        chroot=not _root_is_mount(),
        mapped=_has(uids, os.geteuid()) and _has(gids, os.getegid()),
    )


def _sysctl(name: str) -> int | None:
    try:
        return int(procfs.read(f"/proc/sys/{name}"))
    except (OSError, ValueError):
        return None


def _root_is_mount() -> bool:
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return any(entry.target == b"/" for entry in mountinfo.parse(file.read()))
    except (OSError, ValueError):
        return True


def _has(id_map: bytes, number: int) -> bool:
    return any(first <= number < first + count for first, _, count in procfs.parse_id_map(id_map))
