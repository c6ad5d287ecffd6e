from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio

from rootless.engine.feed import BlobFeed
from rootless.engine.pipes import make_pipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(make_pipe())
    yield ends
    for fd in ends:
        if fd >= 0:
            os.close(fd)


async def drain(fd: int) -> bytes:
    """Read to the end in a thread."""
    with open(os.dup(fd), "rb") as file:
        return await trio.to_thread.run_sync(file.read)


async def test_everything_is_copied_while_it_grows(tmp_path: Path, pipe: list[int]) -> None:
    data = os.urandom(3 << 20)  # more than a pipe holds
    path = tmp_path / "blob"
    path.touch()
    got: list[bytes] = []

    async def read() -> None:
        got.append(await drain(pipe[0]))

    async def write() -> None:
        with path.open("ab", buffering=0) as file:
            for start in range(0, len(data), 100_000):
                piece = data[start : start + 100_000]
                file.write(piece)
                feed.advance(len(piece))
                await trio.lowlevel.checkpoint()
        feed.finish()

    with closing(BlobFeed()) as feed:
        feed.attach(os.open(path, os.O_RDONLY))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            assert await feed.copy_to(pipe[1])
            os.close(pipe[1])
            pipe[1] = -1
    assert got == [data]


async def test_nothing_beyond_what_is_available_is_copied(tmp_path: Path, pipe: list[int]) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"verified, not yet")
    with closing(BlobFeed()) as feed:
        feed.attach(os.open(path, os.O_RDONLY))
        feed.advance(8)
        with trio.move_on_after(0.05) as scope:
            await feed.copy_to(pipe[1])
        assert scope.cancelled_caught
    os.set_blocking(pipe[0], False)
    assert os.read(pipe[0], 100) == b"verified"


async def test_end_is_seen_only_after_finish(tmp_path: Path, pipe: list[int]) -> None:
    path = tmp_path / "blob"
    path.touch()
    with closing(BlobFeed()) as feed:
        feed.attach(os.open(path, os.O_RDONLY))
        with trio.move_on_after(0.05) as scope:
            await feed.copy_to(pipe[1])
        assert scope.cancelled_caught
        feed.finish()
        assert await feed.copy_to(pipe[1])
        await feed.wait_complete()


async def test_reader_that_is_gone_is_no_error(tmp_path: Path, pipe: list[int]) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"x")
    os.close(pipe[0])
    pipe[0] = -1
    with closing(BlobFeed()) as feed:
        feed.attach(os.open(path, os.O_RDONLY))
        feed.advance(1)
        assert not await feed.copy_to(pipe[1])
