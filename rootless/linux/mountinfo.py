"""Parser of /proc/self/mountinfo (man 5 proc_pid_mountinfo). Ring 0."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class MountEntry:
    """One line. Paths are bytes with the kernel's octal escapes undone."""

    __slots__ = (
        "device",
        "fstype",
        "mount_id",
        "options",
        "parent_id",
        "root",
        "source",
        "super_options",
        "target",
    )

    def __init__(
        self,
        *,
        mount_id: int,
        parent_id: int,
        device: bytes,
        root: bytes,
        target: bytes,
        options: tuple[bytes, ...],
        fstype: bytes,
        source: bytes,
        super_options: tuple[bytes, ...],
    ) -> None:
        self.mount_id = mount_id
        self.parent_id = parent_id
        self.device = device
        self.root = root
        self.target = target
        self.options = options
        self.fstype = fstype
        self.source = source
        self.super_options = super_options


def parse(text: bytes) -> Iterator[MountEntry]:
    """Yield the entries in the file's order; a line that does not parse raises ValueError."""
    for line in text.splitlines():
        before, separator, after = line.partition(b" - ")
        if not separator:
            raise ValueError(f"no separator in mountinfo line {line!r}")
        mount_id, parent_id, device, root, target, options = before.split(b" ")[:6]
        fstype, source, super_options = after.split(b" ")[:3]
        yield MountEntry(
            mount_id=int(mount_id),
            parent_id=int(parent_id),
            device=device,
            root=unescape(root),
            target=unescape(target),
            options=tuple(options.split(b",")),
            fstype=fstype,
            source=unescape(source),
            super_options=tuple(super_options.split(b",")),
        )


def unescape(field: bytes) -> bytes:
    r"""Undo the escapes \040 (blank), \011 (tab), \012 (newline), \134 (backslash)."""
    head, *rest = field.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def find_mount(entries: Iterator[MountEntry], path: bytes) -> MountEntry | None:
    """Return the mount that holds an absolute, normal path: the last one with the longest target."""
    best: MountEntry | None = None
    for entry in entries:
        inside = entry.target == b"/" or path == entry.target or path.startswith(entry.target + b"/")
        if inside and (best is None or len(entry.target) >= len(best.target)):
            best = entry
    return best
