"""Who a process runs as: `user[:group]` looked up in a container's own passwd and group files.

Pure, on bytes: the files come from an image and may hold anything. The rules are Docker's
(github.com/moby/sys, user/user.go, GetExecUser), except that a line with a bad number is skipped where
Docker reads it as 0 (CVE-2024-40635 is what that leads to). Ring 1.
"""

from __future__ import annotations

import os

from rootless.errors import RuntimeSetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ID = 2**31 - 1
"""Docker's bound; 2**32 - 1 means "no change" to setresuid(2), so that it would stay root."""
MAX_FILE_BYTES = 16 << 20
"""No passwd file of a real image comes near; a sparse petabyte does not stop the start."""


class Identity:
    """What setresuid, setresgid, setgroups and HOME get.

    Attributes:
        groups: supplementary groups, with `gid` itself (CVE-2022-36109: without it a process could
            drop the group that denies it access), ascending.
        home: of the passwd entry, "" without one.
    """

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, *, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def find_identity(user: str, extra_groups: Iterable[str], *, passwd: bytes, group: bytes) -> Identity:
    """Look up a user specification.

    Args:
        user: "", "name", "uid", each with an optional ":group" or ":gid".
        extra_groups: further group names or numbers (--group-add).
        passwd, group: contents of the container's files, b"" when missing.

    Raises:
        RuntimeSetupError: a name is unknown, or a number is out of range.
    """
    wanted_user, _, wanted_group = user.partition(":")
    uid, gid, name, home = _find_user(wanted_user, passwd)
    groups = set()
    if wanted_group:
        gid = _find_group(wanted_group, group)
    elif name:
        groups = {g for _, g, members in _groups(group) if name in members}
    groups.update(_find_group(extra, group) for extra in extra_groups)
    return Identity(uid=uid, gid=gid, groups=tuple(sorted(groups | {gid})), home=home)


def parse_names(passwd: bytes) -> dict[int, str]:
    """Return uid → name of a passwd file; the first line of a uid counts."""
    names: dict[int, str] = {}
    for name, uid, _, _ in _users(passwd):
        names.setdefault(uid, os.fsdecode(name))
    return names


def parse_id(text: str | bytes) -> int | None:
    """Return a user or group number, or None for what is not plain ASCII digits in 0..MAX_ID."""
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    number = int(text)
    return number if number <= MAX_ID else None


def _find_user(wanted: str, passwd: bytes) -> tuple[int, int, bytes, str]:
    number = parse_id(wanted) if wanted else 0
    name = os.fsencode(wanted)
    for entry_name, uid, gid, home in _users(passwd):
        if (wanted and entry_name == name) or uid == number:
            return uid, gid, entry_name, os.fsdecode(home)
    if number is None:
        raise _unknown("user", wanted)
    return number, 0, b"", ""


def _find_group(wanted: str, group: bytes) -> int:
    number = parse_id(wanted)
    name = os.fsencode(wanted)
    for entry_name, gid, _ in _groups(group):
        if entry_name == name or gid == number:
            return gid
    if number is None:
        raise _unknown("group", wanted)
    return number


def _users(passwd: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Yield (name, uid, gid, home) of each well-formed line (man 5 passwd)."""
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) < 4 or not fields[0]:
            continue
        uid, gid = parse_id(fields[2]), parse_id(fields[3])
        if uid is not None and gid is not None:
            yield fields[0], uid, gid, fields[5] if len(fields) > 5 else b""


def _groups(group: bytes) -> Iterator[tuple[bytes, int, list[bytes]]]:
    """Yield (name, gid, members) of each well-formed line (man 5 group)."""
    for line in group.split(b"\n"):
        fields = line.split(b":")
        if len(fields) < 3 or not fields[0]:
            continue
        gid = parse_id(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].strip().split(b",") if len(fields) > 3 else []


def _unknown(kind: str, wanted: str) -> RuntimeSetupError:
    digits = wanted.lstrip("-")
    if digits.isascii() and digits.isdigit():
        return RuntimeSetupError(
            f"cannot run as {kind} `{wanted}`: ids go from 0 to {MAX_ID}", reference="bad-id"
        )
    return RuntimeSetupError(
        f"cannot run as {kind} `{wanted}`: no such {kind} in the container",
        hint=f"a number works without an entry in the image's /etc/{'passwd' if kind == 'user' else 'group'}",
        reference=f"no-such-{kind}",
    )
