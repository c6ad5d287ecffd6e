"""Control groups, version 2: parsers of what the kernel says of them, and short readers. Ring 0.

Where containers' cgroups are made is decided in `runtime.cgroups`. References: man 7 cgroups; kernel:
Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os

from rootless.linux import mountinfo, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.linux.mountinfo import MountEntry

UNLIMITED = "max"


def parse_membership(text: bytes) -> str:
    """Return the path in the unified hierarchy that /proc/PID/cgroup tells; "" where there is none.

    The path is as seen from this process's cgroup namespace: above its root it begins with "/..".
    """
    for line in text.splitlines():
        if line.startswith(b"0::/"):
            return os.fsdecode(line[3:].removesuffix(b" (deleted)"))
    return ""


def parse_flat(text: bytes) -> dict[str, int]:
    """Return a flat keyed file, "NAME NUMBER" on each line; lines of another form are left out."""
    found = {}
    for line in text.splitlines():
        name, _, number = line.partition(b" ")
        if number.isdigit():
            found[name.decode(errors="replace")] = int(number)
    return found


def parse_io(text: bytes) -> tuple[int, int]:
    """Return (bytes read, bytes written) over all devices of io.stat."""
    read = written = 0
    for word in text.split():
        name, _, number = word.partition(b"=")
        if number.isdigit():
            read += int(number) if name == b"rbytes" else 0
            written += int(number) if name == b"wbytes" else 0
    return read, written


def parse_words(text: bytes) -> frozenset[str]:
    """Return the names in cgroup.controllers or cgroup.subtree_control."""
    return frozenset(text.decode(errors="replace").split())


def find_version(mounts: Iterable[MountEntry]) -> str:
    """Return "v2", "hybrid" (controllers bound to version 1 beside a version 2 tree), "v1" or "none"."""
    kinds = {entry.fstype for entry in mounts}
    if b"cgroup2" in kinds:
        return "hybrid" if b"cgroup" in kinds else "v2"
    return "v1" if b"cgroup" in kinds else "none"


def find_directory(path: str, mounts: Iterable[MountEntry]) -> str:
    """Return where a path of the unified hierarchy is mounted; "" when no mount shows it.

    A container may have only its own part of the tree mounted, or be told a path above its root.
    """
    found = ""
    wanted = os.fsencode(path)
    if not path or b".." in wanted.split(b"/"):
        return ""
    for entry in mounts:
        if entry.fstype != b"cgroup2":
            continue
        root = entry.root.rstrip(b"/")
        if wanted == root or wanted.startswith(root + b"/"):
            found = os.fsdecode(entry.target + wanted[len(root) :].rstrip(b"/"))  # the last one covers others
    return found


def own_directory(pid: str = "self") -> str:
    """Return the directory of a process's cgroup, "" where the host has no version 2 or hides it."""
    try:
        path = parse_membership(procfs.read(f"/proc/{pid}/cgroup"))
        directory = find_directory(path, read_mounts())
    except (OSError, ValueError):
        return ""
    return directory if directory and os.path.exists(f"{directory}/cgroup.procs") else ""


def read_mounts() -> list[MountEntry]:
    """Return this process's mounts; the file may be longer than one read gives."""
    with open("/proc/self/mountinfo", "rb") as file:
        return list(mountinfo.parse(file.read()))


def read_text(directory: str, name: str) -> bytes:
    """Return a file of a cgroup, b"" where its controller is not there or the cgroup is gone."""
    try:
        return procfs.read(f"{directory}/{name}")
    except OSError:
        return b""


def read_number(directory: str, name: str) -> int:
    """Return a file of one number; -1 where it is missing or says "max"."""
    text = read_text(directory, name).strip()
    return int(text) if text.isdigit() else -1


def write(directory: str, name: str, value: str | int) -> None:
    procfs.write(f"{directory}/{name}", str(value).encode())
