"""Follow what grows, as an async iterator: the engine's generators, whose pauses are waited for in trio."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar, cast  # noqa: TID253  trio has imported it

import trio  # noqa: TID253  this is the part of the engine that is asynchronous

from rootless.engine.watch import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

Raw = TypeVar("Raw")
Item = TypeVar("Item")
Result = TypeVar("Result")

_BATCH = 256
"""So many items are read in a thread at a time: a thread costs as much as some of them."""


class Following(AsyncIterator[Item], Generic[Item]):
    """An async iterator over what is recorded, and what will be; for one task at a time.

    It may be left at any point: its files are closed with its last reference.
    """

    def __init__(self, steps: Iterator[Raw | Pause], make: Callable[[Raw], Item]) -> None:
        self._take = _Taker(steps, make)
        self._ready: deque[Item] = deque()
        self._pause: Pause | None = None

    def __aiter__(self) -> Following[Item]:
        return self

    async def __anext__(self) -> Item:
        while not self._ready:
            if self._take.ended:
                raise StopAsyncIteration
            if self._pause is not None:  # not in vain if that is cancelled: it is waited for again
                await wait(self._pause)
            items, self._pause = await trio.to_thread.run_sync(self._take)
            self._ready.extend(items)
        return self._ready.popleft()


class _Taker(Generic[Raw, Item]):
    """Runs a generator up to its next pause; called in a thread, since files may be slow."""

    def __init__(self, steps: Iterator[Raw | Pause], make: Callable[[Raw], Item]) -> None:
        self._steps = steps
        self._make = make
        self.ended = False

    def __call__(self) -> tuple[list[Item], Pause | None]:
        items: list[Item] = []
        for step in self._steps:
            if isinstance(step, Pause):
                return items, step
            items.append(self._make(step))
            if len(items) == _BATCH:
                return items, None
        self.ended = True
        return items, None


async def drive(steps: Generator[Pause, None, Result]) -> Result:
    """Run a generator to its end, waiting in its pauses; returns what it returns."""
    try:
        while True:
            await wait(await trio.to_thread.run_sync(_next, steps))
    except _Ended as end:
        return cast("Result", end.result)
    finally:
        steps.close()


async def wait(pause: Pause) -> None:
    """Wait until a pause is over."""
    with trio.move_on_after(math.inf if pause.timeout_s is None else pause.timeout_s):
        async with trio.open_nursery() as nursery:
            for fd in pause.fds:
                nursery.start_soon(_wait_readable, fd, nursery.cancel_scope)
            if not pause.fds:
                await trio.sleep_forever()


async def _wait_readable(fd: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(fd)
    scope.cancel()


class _Ended(Exception):
    """A generator's end, on its way out of a thread: StopIteration cannot pass through a coroutine."""

    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result


def _next(steps: Generator[Pause, None, Result]) -> Pause:
    try:
        return next(steps)
    except StopIteration as end:
        raise _Ended(end.value) from None
