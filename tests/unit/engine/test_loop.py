from __future__ import annotations

import os
import signal

import pytest
import trio
import trio.testing

from rootless.engine import loop
from rootless.errors import ImageError, InternalError


def in_a_child(body: object) -> int:
    """Run `loop.run(body)` in a fork, for it owns the process's signals; return the wait status's code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            loop.run(body)  # type: ignore[arg-type]
            code = 0
        except SystemExit as exc:
            code = int(exc.code)  # type: ignore[arg-type]
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_and_becomes_the_exit_code(number: signal.Signals) -> None:
    async def body() -> None:
        os.kill(os.getpid(), number)
        await trio.sleep_forever()

    assert in_a_child(body) == 128 + number


def test_second_signal_ends_the_process_at_once() -> None:
    async def body() -> None:
        with trio.CancelScope(shield=True):
            os.kill(os.getpid(), signal.SIGINT)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep_forever()

    assert in_a_child(body) == -signal.SIGTERM


def test_cleanup_is_not_cut_off_by_the_first_signal() -> None:
    reader, writer = os.pipe()

    async def body() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        finally:
            os.write(writer, b"clean")

    assert in_a_child(body) == 130
    os.close(writer)
    assert os.read(reader, 10) == b"clean"
    os.close(reader)


def test_error_of_one_task_is_raised_alone() -> None:
    async def fail() -> None:
        raise ImageError("it is wrong")

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fail)

    with pytest.raises(ImageError, match="it is wrong"):
        loop.run(body)


def test_result_and_arguments_pass_through() -> None:
    async def body(number: int) -> int:
        return number + 1

    assert loop.run(body, 1) == 2


def test_explained_error_is_more_telling_than_a_bug_or_a_foreign_one() -> None:
    image = ImageError("wrong")
    group = BaseExceptionGroup("", [ValueError(), ExceptionGroup("", [InternalError("bug"), image])])
    assert loop.most_telling(group) is image
    bug = InternalError("bug")
    assert loop.most_telling(ExceptionGroup("", [ValueError(), bug])) is bug
    interrupt = KeyboardInterrupt()
    error = ValueError()
    assert loop.most_telling(BaseExceptionGroup("", [interrupt, error])) is error
    assert loop.most_telling(interrupt) is interrupt
