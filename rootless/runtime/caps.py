"""Capabilities: names, numbers, Docker's default set, and what a container gets. Ring 1.

A container's process starts with the same mask in its bounding, permitted and effective set. The
inheritable and the ambient set stay empty: with inheritable capabilities a program carrying file
capabilities would regain them for a user who is not root (CVE-2022-24769, -27649, -27650, -27651).
Spec: man 7 capabilities.
"""

from __future__ import annotations

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.model.spec import Security

NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""By number, without the prefix CAP_ (linux/capability.h)."""
DEFAULT = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""Docker's default (moby: daemon/pkg/oci/caps/defaults.go)."""
_NUMBERS = {name: number for number, name in enumerate(NAMES)}
_LAST_CAP = "/proc/sys/kernel/cap_last_cap"


def compute(security: Security, *, last: int | None = None) -> int:
    """Return the mask of the capabilities that a container gets.

    The rule is Docker's: start from the default set (--privileged: from all), or from all with
    `--cap-add ALL` less what is dropped, or from none with `--cap-drop ALL`; then drop, then add.

    Args:
        last: highest capability of the kernel; read from it by default.
    Raises:
        UsageError: a name that no kernel knows, or that this kernel does not know.
    """
    last = last_capability() if last is None else last
    known = (1 << (last + 1)) - 1
    if security.privileged:
        return known
    add = [normalize(name) for name in security.cap_add]
    drop = [normalize(name) for name in security.cap_drop]
    added = mask_of(name for name in add if name != "ALL")
    dropped = mask_of(name for name in drop if name != "ALL")
    if added & ~known:
        raise UsageError(f"this kernel does not know the capability: {names_of(added & ~known)[0]}")
    if "ALL" in add:
        return known & ~dropped
    base = 0 if "ALL" in drop else mask_of(DEFAULT)
    return ((base & ~dropped) | added) & known


def normalize(name: str) -> str:
    """Return a capability's name as NAMES has it: "cap_net_raw" becomes "NET_RAW"; "ALL" stays.

    Raises:
        UsageError: there is no such capability.
    """
    plain = name.upper().removeprefix("CAP_")
    if plain != "ALL" and plain not in _NUMBERS:
        raise UsageError(f"unknown capability: {name}", hint="man 7 capabilities lists the names")
    return plain


def mask_of(names: Iterable[str]) -> int:
    """Return the bit mask of names without CAP_."""
    mask = 0
    for name in names:
        mask |= 1 << _NUMBERS[name]
    return mask


def names_of(mask: int) -> list[str]:
    """Return the names in a mask, by number; bits above the known ones are left out."""
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


def has(mask: int, name: str) -> bool:
    """Say whether a mask holds a capability, named without CAP_."""
    return bool(mask >> _NUMBERS[name] & 1)


def last_capability() -> int:
    """Return the highest capability that the running kernel knows."""
    try:
        with open(_LAST_CAP, "rb") as file:
            return min(int(file.read()), 63)
    except (OSError, ValueError):
        return len(NAMES) - 1  # /proc is masked: newer names fail at use, with the kernel's own error
