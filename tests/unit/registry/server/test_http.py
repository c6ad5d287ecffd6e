"""The wire: what slow, broken and hostile clients meet. Time is trio's, and passes at once."""

from contextlib import aclosing

import pytest
import trio
from trio.testing import memory_stream_pair

from rootless.registry.server.http import MAX_HEADER_BYTES, Connection, Limits, Response

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(request):
    """Answer with the body of the request."""
    body = bytearray()
    async with aclosing(request.pieces()) as pieces:
        async for piece in pieces:
            body += piece
    return Response(200, {"X-Method": request.method}, bytes(body))


async def talk(sent, *, respond=echo, close=False):
    """Return what a client gets that sends these bytes and then waits."""
    client, server = memory_stream_pair()
    got = bytearray()

    async def serve():
        await Connection(server, respond, Limits()).serve()
        await server.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        for piece in sent:
            await client.send_all(piece)
        if close:
            await client.send_eof()
        async for piece in client:
            got += piece
    return bytes(got)


async def test_requests_follow_each_other_on_one_connection(autojump_clock):
    got = await talk([GET * 3])
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 3


async def test_connection_goes_on_after_a_body_that_nobody_read(autojump_clock):
    async def answer(_request):
        return Response(404, {}, b"no")

    got = await talk([GET, b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", GET], respond=answer)
    assert got.count(b"HTTP/1.1 404") == 3
    assert trio.current_time() <= Limits().keep_s


async def test_body_comes_in_any_pieces(autojump_clock):
    got = await talk([b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Le", b"ngth: 4\r\n\r\na", b"bc", b"d"])
    assert got.endswith(b"\r\n\r\nabcd")
    chunked = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    assert (await talk([chunked])).endswith(b"\r\n\r\nab")


async def test_client_that_waits_for_100_gets_it_before_the_answer(autojump_clock):
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    got = await talk([head, b"ab"])
    assert got.startswith(b"HTTP/1.1 100 ")
    assert got.endswith(b"ab")


async def test_body_that_nobody_wants_ends_the_connection_after_the_answer(autojump_clock):
    async def refuse(_request):
        return Response(400, {}, b"no")

    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    got = await talk([head, b"x" * 1000, GET], respond=refuse)
    assert got.count(b"HTTP/1.1") == 1
    assert got.endswith(b"no")


async def test_answer_to_head_has_the_length_and_no_body(autojump_clock):
    async def answer(_request):
        return Response(200, {}, b"body")

    got = await talk([b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"], respond=answer)
    assert b"\r\nContent-Length: 4\r\n" in got
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",  # TLS
    ],
)
async def test_what_is_no_http_is_refused(sent, autojump_clock):
    got = await talk([sent])
    assert got.startswith(b"HTTP/1.1 4")
    assert b"\r\nConnection: close\r\n" in got


async def test_endless_header_is_refused(autojump_clock):
    got = await talk([b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (MAX_HEADER_BYTES + 10)])
    assert got.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("sent", "at_most_s"),
    [
        (b"", Limits().header_s),
        (b"GET / HTTP/1.1\r\nHost", Limits().header_s),
        (GET, Limits().keep_s),
        (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na", Limits().body.idle_s),
    ],
)
async def test_client_that_falls_silent_is_left(sent, at_most_s, autojump_clock):
    await talk([sent])
    assert trio.current_time() <= at_most_s + Limits().drain_s


async def test_client_that_takes_nothing_is_left(autojump_clock):
    async def flood(_request):
        async def pieces():
            while True:
                yield b"x" * 100

        return Response(200, {"Content-Length": "1000000000"}, pieces)

    client, server = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(server, flood, Limits()).serve)
        await client.send_all(GET)
    assert trio.current_time() <= Limits().write_s + 1


async def test_answer_that_breaks_off_is_seen_to(autojump_clock):
    async def half(_request):
        async def pieces():
            yield b"half"
            raise trio.BrokenResourceError

        return Response(200, {"Content-Length": "8"}, pieces)

    got = await talk([GET + GET], respond=half)
    assert got.endswith(b"\r\n\r\nhalf")
    assert got.count(b"HTTP/1.1") == 1


async def test_server_that_ends_answers_what_was_asked_and_no_more(autojump_clock):
    client, server = memory_stream_pair()
    asked = trio.Event()

    async def slow(_request):
        asked.set()
        await trio.sleep(1)
        return Response(200, {}, b"done")

    connection = Connection(server, slow, Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve)
        await client.send_all(GET + GET)
        await asked.wait()
        connection.finish()
    await server.aclose()
    got = b"".join([piece async for piece in client])
    assert got.count(b"HTTP/1.1 200") == 1
    assert b"\r\nConnection: close\r\n" in got
    assert trio.current_time() < 5


async def test_server_that_ends_does_not_wait_for_idle_clients(autojump_clock):
    _client, server = memory_stream_pair()
    connection = Connection(server, echo, Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve)
        await trio.testing.wait_all_tasks_blocked()
        connection.finish()
    assert trio.current_time() == 0
