"""Wait until something changes in a container's directory, or its monitor ends. Ring 1.

What follows a log or a journal is written once, as a generator that yields a `Pause` where there is nothing
to do: the command line sleeps in it (`drive`, `Pause.wait`), and an event loop waits for its descriptors.
"""

from __future__ import annotations

import os
import select

from rootless.linux import inotify, procfs
from rootless.model import lifecycle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeVar

    from rootless.engine.records import Container

    Result = TypeVar("Result")

_CHANGES = (
    inotify.IN_MODIFY
    | inotify.IN_CREATE
    | inotify.IN_MOVED_TO
    | inotify.IN_DELETE_SELF
    | inotify.IN_MOVE_SELF
)
_POLL_MS = 100
"""How late a change is seen where the kernel does not tell: an ordinary user has 128 inotify instances."""


class Pause:
    """There is nothing to do until a descriptor is readable, or the time is over.

    Attributes:
        fds: not owned; valid until the generator that yielded this goes on.
        timeout_s: None is for ever.
    """

    __slots__ = ("fds", "timeout_s")

    def __init__(self, *fds: int, timeout_s: float | None = None) -> None:
        self.fds = tuple(fd for fd in fds if fd >= 0)
        self.timeout_s = timeout_s

    def wait(self) -> None:
        """Sleep until it is over."""
        poller = select.poll()
        for fd in self.fds:
            poller.register(fd, select.POLLIN)
        poller.poll(None if self.timeout_s is None else self.timeout_s * 1000)


def drive(steps: Generator[Pause, None, Result]) -> Result:
    """Run a generator to its end, sleeping in its pauses; returns what it returns."""
    try:
        while True:
            next(steps).wait()
    except StopIteration as end:
        result: Result = end.value
        return result


class Watch:
    """A directory that is watched; a context manager, which closes it.

    What changes between two calls of `wait` ends the second at once: look at the directory in between.
    """

    def __init__(self, directory: str) -> None:
        self._fd = -1
        try:
            self._fd = inotify.init()
            inotify.add_watch(self._fd, directory, _CHANGES)
        except OSError:
            self.close()

    def pause(self, *fds: int, timeout_s: float | None = None) -> Pause:
        """Return a pause until a change, or until one of the descriptors; then `wait(*fds, timeout_ms=0)`."""
        if self._fd < 0:
            poll_s = _POLL_MS / 1000
            timeout_s = poll_s if timeout_s is None else min(timeout_s, poll_s)
        return Pause(self._fd, *fds, timeout_s=timeout_s)

    def wait(self, *fds: int, timeout_ms: float | None = None) -> bool:
        """Wait for a change, or for one of the descriptors; tell whether it was one of these."""
        poller = select.poll()
        for fd in (self._fd, *fds):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        if self._fd < 0:
            timeout_ms = _POLL_MS if timeout_ms is None else min(timeout_ms, _POLL_MS)
        ready = {fd for fd, _ in poller.poll(timeout_ms)}
        if self._fd in ready:
            inotify.drain(self._fd)
        return not ready.isdisjoint(fds)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_monitor(container: Container) -> int:
    """Return a pidfd of the process that minds a container, or is about to; -1 without one."""
    state = container.state
    if state.status != lifecycle.CREATED and state.status not in lifecycle.MINDED:
        return -1
    try:
        fd = os.pidfd_open(state.monitor_pid)
    except OSError:
        return -1
    if state.boot_id == procfs.boot_id() and procfs.is_alive(state.monitor_pid, state.monitor_start):
        return fd
    os.close(fd)
    return -1
