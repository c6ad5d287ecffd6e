"""The event loop's door: the only caller of trio.run.

SIGINT and SIGTERM cancel what runs, so that it cleans up after itself; then the process ends as one that the
signal killed would: exit code 128 + n. Of several failures the user is told the most telling one.
"""

from __future__ import annotations

import signal

from rootless.errors import EXIT_SIGNAL_BASE, InternalError, RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    Result = TypeVar("Result")

_CLEANUP_S = 5.0
"""A second signal, or this much time after the first, ends the process without further manners."""


class Interrupted(SystemExit):
    """A signal ended the work; `code` is 128 + its number. Passes through handlers of Exception."""


def run(async_fn: Callable[..., Awaitable[Result]], *args: object) -> Result:
    """Run one async function to its end and return what it returns.

    Must run in the main thread, outside any other event loop.

    Raises:
        RootlessError: it failed; the first real cause where several tasks failed together.
        Interrupted: SIGINT or SIGTERM came; everything was cancelled and cleaned up.
    """
    import trio  # 60 ms: never on the path of commands that do without

    received: list[int] = []

    async def watch(scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                received.append(number)
                signal.setitimer(signal.ITIMER_REAL, _CLEANUP_S)
                scope.cancel()
                return  # from now on signals do what they do by default

    async def supervise() -> Result:
        result: list[Result] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(watch, scope)
                result.append(await async_fn(*args))
                nursery.cancel_scope.cancel()
        if received:
            raise Interrupted(EXIT_SIGNAL_BASE + received[0])
        return result[0]

    try:
        return trio.run(supervise)
    except BaseException as exc:
        if received:
            raise Interrupted(EXIT_SIGNAL_BASE + received[0]) from exc
        raise most_telling(exc) from exc
    finally:
        if received:
            signal.setitimer(signal.ITIMER_REAL, 0)


def most_telling(exc: BaseException) -> BaseException:
    """Return the one exception of a group that explains the others.

    Tasks fail together: one for a reason, the rest because it did. Ours before foreign ones, and of
    ours the first that is not the bug report of another.
    """
    leaves = _leaves(exc)
    for wanted in (_is_explained, _is_ours, _is_failure):
        for leaf in leaves:
            if wanted(leaf):
                return leaf
    return leaves[0]


def _is_explained(exc: BaseException) -> bool:
    return isinstance(exc, RootlessError) and not isinstance(exc, InternalError)


def _is_ours(exc: BaseException) -> bool:
    return isinstance(exc, RootlessError)


def _is_failure(exc: BaseException) -> bool:
    return isinstance(exc, Exception)


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in _leaves(inner)]
    return [exc]
