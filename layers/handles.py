"""Directories of a tree, opened one component at a time and never through a symbolic link.

A handle knows its name and its parent, not its path: what another process does to the tree meanwhile (swap a
directory for a link, move it) can make an open fail, but never lead it elsewhere. No path is ever longer than
one component, so that trees deeper than PATH_MAX are no special case. Ring 2.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_OPEN = 128
"""Descriptors kept open per tree; the usual limit of a process is 1024."""


class Handle:
    """One directory: its name in its parent, and the descriptor while it is open (else -1).

    The root has no parent; its descriptor stays the caller's.
    """

    __slots__ = ("fd", "name", "parent")

    def __init__(self, name: bytes, parent: Self | None, *, fd: int = -1) -> None:
        self.name = name
        self.parent = parent
        self.fd = fd

    def path(self) -> bytes:
        """Return the path from the root, for messages."""
        parts: list[bytes] = []
        handle: Handle | None = self
        while handle is not None and handle.parent is not None:
            parts.append(handle.name)
            handle = handle.parent
        return b"/".join(reversed(parts)) or b"."


class OpenHandles:
    """Owns the descriptors of handles: opens on demand, closes the least recently used ones.

    A descriptor from `fd` is good for the next two calls of `fd` at least.
    """

    __slots__ = ("_open", "max_open")

    def __init__(self, *, max_open: int = MAX_OPEN) -> None:
        self._open: dict[Handle, None] = {}  # in order of opening
        self.max_open = max_open

    def fd(self, handle: Handle) -> int:
        """Return the directory's descriptor.

        Raises:
            OSError: it is not there any more, or is not a directory any more.
        """
        if handle.fd >= 0:
            if handle.parent is not None:
                del self._open[handle]
                self._open[handle] = None
            return handle.fd
        closed = [handle]
        while (parent := closed[-1].parent) is not None and parent.fd < 0:
            closed.append(parent)
        assert parent is not None, "the root's descriptor was closed"
        fd = parent.fd
        # A long way down must not close what the caller holds; the directories just above are needed next.
        kept = self.max_open // 2
        for left in range(len(closed) - 1, -1, -1):
            each = closed[left]
            fd = each.fd = os.open(each.name, OPEN_DIRECTORY, dir_fd=fd)
            self._open[each] = None
            if left + kept < len(closed):
                self.forget(closed[left + kept])
        while len(self._open) > self.max_open:
            self.forget(next(iter(self._open)))
        return fd

    def forget(self, handle: Handle) -> None:
        """Close the directory's descriptor, if it is open."""
        if self._open.pop(handle, self) is not self:
            fd, handle.fd = handle.fd, -1
            os.close(fd)

    def close(self) -> None:
        """Close all of them."""
        for handle in list(self._open):
            self.forget(handle)
