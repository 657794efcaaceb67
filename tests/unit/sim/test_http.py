"""The small HTTP server: who says nothing cannot keep others out."""

import asyncio
from http import HTTPStatus

import pytest

from tradebox.sim.http import CONNECTIONS_MAX, HttpAnswer, HttpServer
from tradebox.supervision.clock import ManualClock, yield_turn

DEADLINE_S = 10.0


def hello(_request: object) -> HttpAnswer:
    return HttpAnswer(HTTPStatus.OK, {"hello": True})


@pytest.mark.asyncio
async def test_silent_connections_make_room_for_those_that_ask() -> None:
    server = HttpServer("test", hello)
    address = await server.start()
    silent = [await asyncio.open_connection(*address) for _ in range(3 * CONNECTIONS_MAX)]
    try:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(5):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert (await reader.read()).endswith(b'{"hello":true}\n')
                writer.close()
        assert len(server._connections) <= CONNECTIONS_MAX
    finally:
        for _, writer in silent:
            writer.transport.abort()
        await server.stop()


@pytest.mark.asyncio
async def test_who_waits_for_an_answer_keeps_its_place() -> None:
    waiting = HttpAnswer(HTTPStatus.OK, "late", delay_s=5.0)
    clock = ManualClock()
    server = HttpServer("test", lambda _: waiting, clock=clock)
    address = await server.start()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not clock.pending:
                await yield_turn()
            silent = [await asyncio.open_connection(*address) for _ in range(CONNECTIONS_MAX + 5)]
            await clock.run_for(6.0)
            assert (await reader.read()).endswith(b"late")
        for _, other in (*silent, (reader, writer)):
            other.transport.abort()
    finally:
        await server.stop()


@pytest.mark.asyncio
async def test_an_end_waits_for_no_answer_and_leaves_no_task() -> None:
    unheard: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    waiting = HttpAnswer(HTTPStatus.OK, "late", delay_s=300.0)
    server = HttpServer("test", lambda request: waiting if request.path == "/slow" else hello(None))
    address = await server.start()
    connections = [await asyncio.open_connection(*address) for _ in range(3)]
    connections[0][1].write(b"GET /slow HTTP/1.1\r\n\r\n")
    connections[1][1].write(b"GET /slow HT")
    async with asyncio.timeout(DEADLINE_S):
        while not any(server._connections.values()):
            await yield_turn()
        await server.stop()
    for _, writer in connections:
        writer.transport.abort()
    assert (server._serving, unheard) == (set(), [])


@pytest.mark.asyncio
async def test_a_request_for_a_websocket_is_a_page_where_nobody_takes_those() -> None:
    server = HttpServer("test", hello)
    address = await server.start()
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
    finally:
        await server.stop()
