"""The engine's generators as async iterators."""

from __future__ import annotations

import os

import pytest
import trio

from rootless.engine.watch import Pause
from rootless.interface import following
from rootless.interface.following import Following


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


async def test_items_come_in_order_and_the_end_is_told_again_and_again():
    items = Following(iter(range(1000)), str)
    assert [item async for item in items] == list(map(str, range(1000)))
    assert [item async for item in items] == []


async def test_pause_lasts_until_a_descriptor_is_readable(pipe):
    read, write = pipe

    def steps():
        yield 1
        yield Pause(read)
        yield os.read(read, 1)

    items = Following(steps(), lambda item: item)
    assert await anext(items) == 1
    with trio.move_on_after(0.01) as scope:
        await anext(items)
    assert scope.cancelled_caught
    os.write(write, b"x")
    assert await anext(items) == b"x"


async def test_pause_lasts_until_any_of_its_descriptors_or_its_time(pipe, autojump_clock):
    read, _ = pipe
    other_read, other_write = os.pipe()
    begin = trio.current_time()
    await following.wait(Pause(read, other_read, timeout_s=5))
    await following.wait(Pause(timeout_s=7))
    assert trio.current_time() - begin == pytest.approx(12)
    os.write(other_write, b"x")
    await following.wait(Pause(read, other_read))
    os.close(other_read)
    os.close(other_write)


async def test_iterator_that_is_left_closes_its_files():
    closed = []

    def steps():
        try:
            while True:
                yield 1
                yield Pause()
        finally:
            closed.append(True)

    async for item in Following(steps(), str):
        assert item == "1"
        break
    assert closed == [True]


async def test_error_of_a_generator_is_its_readers():
    def steps():
        yield 1
        raise ZeroDivisionError

    items = Following(steps(), str)
    with pytest.raises(ZeroDivisionError):
        await anext(items)


async def test_generator_is_driven_to_its_result(pipe):
    read, write = pipe
    os.write(write, b"x")

    def steps():
        yield Pause(read)
        yield Pause(timeout_s=0)
        return 7

    assert await following.drive(steps()) == 7
