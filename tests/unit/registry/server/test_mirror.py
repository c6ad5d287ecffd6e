"""A blob that comes from another registry: who reads it meanwhile does not get its end unverified."""

import os
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rootless.registry.server.mirror import Fetch
from rootless.registry.server.refusal import Refusal
from tests.helpers.blobs import describe

DATA = os.urandom(200_000)


@pytest.fixture
def fetch(tmp_path):
    """A fetch that has brought all bytes, which nobody has verified."""
    path = tmp_path / "partial"
    path.write_bytes(DATA)
    made = Fetch(describe(DATA))
    made.reader = partial(os.open, path, os.O_RDONLY)
    made.advance(len(DATA))
    return made


async def read(fetch, got, *, start=0):
    async for piece in fetch.pieces(start, len(DATA), whole=fetch.reader):
        got.extend(piece)


async def until_it_waits(got, count):
    """Wait until that much was read, and for long enough that more would be if it could."""
    while len(got) < count:
        await trio.sleep(0)
    await wait_all_tasks_blocked(0.05)


async def test_end_comes_when_all_is_verified(fetch):
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, fetch, got)
        await until_it_waits(got, 1)
        assert len(got) < len(DATA)
        assert DATA.startswith(got)
        fetch.finish()
    assert got == DATA


async def test_end_of_wrong_bytes_never_comes(fetch):
    got = bytearray()

    async def expect():
        with pytest.raises(Refusal):
            await read(fetch, got)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect)
        await until_it_waits(got, 1)
        fetch.fail(Refusal(502, "UNKNOWN", "other bytes"))
    assert len(got) < len(DATA)


async def test_part_at_the_end_waits_too(fetch):
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(read, fetch, got, start=len(DATA) - 10))
        await until_it_waits(got, 0)
        assert got == b""
        fetch.finish()
    assert got == DATA[-10:]


async def test_failure_before_the_first_byte_is_an_answer():
    fetch = Fetch(describe(DATA))
    async with trio.open_nursery() as nursery:

        async def expect():
            with pytest.raises(Refusal, match="gone"):
                await fetch.wait_begun()

        nursery.start_soon(expect)
        await wait_all_tasks_blocked()
        fetch.fail(Refusal(404, "BLOB_UNKNOWN", "gone"))


async def test_fetch_that_failed_before_anybody_read_is_told_as_that(fetch):
    """Hazard: what is not there is then taken for a bug, and ends the server."""

    def missing():
        raise AssertionError("there is no blob to open")

    fetch.fail(Refusal(502, "UNKNOWN", "wrong bytes"))
    with pytest.raises(Refusal, match="wrong bytes"):
        async for _ in fetch.pieces(0, len(DATA), whole=missing):
            pass
