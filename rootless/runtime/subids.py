"""Subordinate ids of a user, and whether the helpers that map them can work. For `runtime.probing`.

Spec: man 5 subuid, man 5 nsswitch.conf (subid), man 1 newuidmap.
"""

from __future__ import annotations

import os
import stat

from rootless.linux import procfs
from rootless.model.host import IdRange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Ranges = tuple[IdRange, ...]

_ID_LIMIT = (1 << 32) - 1
"""(uid_t)-1 means "no id"."""
ST_NOSUID = 2


def parse_subid_file(text: bytes, *, user: str, uid: int) -> Ranges:
    """Return the ranges of a user in /etc/subuid or /etc/subgid, in the file's order.

    A user is named by login name or uid, and may have several lines; lines that do not parse are no ranges.
    """
    owners = (os.fsencode(user), b"%d" % uid)
    found = []
    for line in text.splitlines():
        fields = line.strip().split(b":")
        if len(fields) == 3 and fields[0] in owners and fields[1].isdigit() and fields[2].isdigit():
            found.append(IdRange(start=int(fields[1]), count=int(fields[2])))
    return usable(found)


def parse_getsubids(text: bytes) -> Ranges:
    """Return the ranges that getsubids prints: "0: name 100000 65536" a line."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2].isdigit() and fields[3].isdigit():
            found.append(IdRange(start=int(fields[2]), count=int(fields[3])))
    return usable(found)


def usable(ranges: Iterable[IdRange]) -> Ranges:
    """Leave out what the kernel refuses: empty ranges, ids beyond all, overlap with an earlier range."""
    taken: list[IdRange] = []
    for item in ranges:
        end = item.start + item.count
        overlaps = any(item.start < other.start + other.count and other.start < end for other in taken)
        if item.count > 0 and end <= _ID_LIMIT and not overlaps:
            taken.append(item)
    return tuple(taken)


def uses_files(nsswitch: bytes) -> bool:
    """Say whether subordinate ids come from /etc/subuid and /etc/subgid alone."""
    for line in nsswitch.splitlines():
        name, _, sources = line.partition(b"#")[0].partition(b":")
        if name.strip() == b"subid":
            return sources.split() in ([], [b"files"])
    return True


def read_ranges(user: str, uid: int) -> tuple[Ranges, Ranges, bool]:
    """Return the subordinate uids and gids of a user, and whether they come from local files.

    Where another source is configured getsubids is asked, which fails while a directory service is away.
    """
    if not uses_files(_read("/etc/nsswitch.conf")):
        return parse_getsubids(_getsubids(user)), parse_getsubids(_getsubids("-g", user)), False
    return (
        parse_subid_file(_read("/etc/subuid"), user=user, uid=uid),
        parse_subid_file(_read("/etc/subgid"), user=user, uid=uid),
        True,
    )


def helper_problem(path: str) -> str:
    """Say why newuidmap or newgidmap at this path cannot work for an ordinary user; "" when nothing is wrong.

    It needs the set-user-id bit of root, or file capabilities, and a process that may gain privileges.
    """
    if not path:
        return "it is not installed"
    if b"\nNoNewPrivs:\t1" in procfs.read("/proc/self/status"):
        return "no_new_privs is set for this process, set-user-id programs have no effect"
    try:
        info = os.stat(path)
        mount = os.statvfs(path)
    except OSError as exc:
        return f"cannot inspect it: {exc.strerror}"
    if mount.f_flag & ST_NOSUID:
        return f"{path} is on a file system mounted nosuid"
    if info.st_mode & stat.S_ISUID and info.st_uid == 0:
        return ""
    try:
        os.getxattr(path, "security.capability")
    except OSError:
        return f"{path} has neither the set-user-id bit nor file capabilities"
    return ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 22)  # sites list thousands of users; a file beyond 4 MiB is something else
    except OSError:
        return b""


def _getsubids(*arguments: str) -> bytes:
    import subprocess  # only hosts with a directory service for subordinate ids pay for it

    try:
        result = subprocess.run(
            ["getsubids", *arguments], capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return b""
    return result.stdout if result.returncode == 0 else b""
