"""Single quotes: each kind of no is told apart."""

import asyncio
import contextlib

import httpx
import pytest

from tradebox.adapters.bounded_get import bounded_get
from tradebox.adapters.finnhub.rest import FinnhubRest
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote

GOOD = (
    '{"c":261.74,"d":2.29,"dp":0.8826,"h":263.31,"l":260.68,"o":261.07,"pc":259.45,"t":1582641000}'
)
EMPTY = '{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}'


@contextlib.asynccontextmanager
async def answering(status, body, headers=""):
    """Serve one answer to every request; hand back the client and what was asked."""
    asked = []

    async def serve(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        raw = body.encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n{headers}\r\n"
        writer.write(head.encode() + raw)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rest = FinnhubRest(f"http://127.0.0.1:{port}/api/v1/", "s3cret", wall_s=lambda: 1000.0)
    try:
        yield rest, asked
    finally:
        await rest.close()
        server.close()
        await server.wait_closed()


@pytest.mark.asyncio
async def test_a_quote_is_exact_and_the_key_travels_in_a_header():
    async with answering(200, GOOD) as (rest, asked):
        quote = await rest.quote("AAPL")
    assert quote == Quote("AAPL", 261_740_000, 259_450_000, 1_582_641_000 * 10**9)
    line, _, rest_of = asked[0].partition("\r\n")
    assert line.startswith("GET /api/v1/quote?symbol=AAPL ")
    assert "x-finnhub-token: s3cret" in rest_of.lower()


@pytest.mark.parametrize(
    ("status", "body", "headers", "answer"),
    [
        (200, EMPTY, "", NoQuote("AAPL", NoQuoteReason.EMPTY)),
        (200, '{"c":1,"t":0}', "", NoQuote("AAPL", NoQuoteReason.EMPTY)),
        (200, '{"c":null,"t":5}', "", NoQuote("AAPL", NoQuoteReason.EMPTY)),
        (200, '{"c":5,"t":7}', "", Quote("AAPL", 5_000_000, 0, 7 * 10**9)),
        (403, '{"error":"no"}', "", NoQuote("AAPL", NoQuoteReason.FORBIDDEN)),
        (401, "", "", NoQuote("AAPL", NoQuoteReason.KEY_REFUSED, 60.0)),
        (429, "slow", "", NoQuote("AAPL", NoQuoteReason.THROTTLED, 60.0)),
        (429, "", "x-ratelimit-reset: 1030\r\n", NoQuote("AAPL", NoQuoteReason.THROTTLED, 30.0)),
        (429, "", "x-ratelimit-reset: 10\r\n", NoQuote("AAPL", NoQuoteReason.THROTTLED, 1.0)),
        (429, "", "x-ratelimit-reset: soon\r\n", NoQuote("AAPL", NoQuoteReason.THROTTLED, 60.0)),
    ],
)
@pytest.mark.asyncio
async def test_each_no_has_its_reason(status, body, headers, answer):
    async with answering(status, body, headers) as (rest, _):
        assert await rest.quote("AAPL") == answer


@pytest.mark.parametrize(
    ("status", "body"), [(502, "<html>"), (200, "<html>"), (200, "[]"), (200, " " * 70_000)]
)
@pytest.mark.asyncio
async def test_no_usable_answer_is_a_fault(status, body):
    async with answering(status, body) as (rest, _):
        with pytest.raises(VendorUnavailable) as raised:
            await rest.quote("AAPL")
    assert "s3cret" not in str(raised.value)


@pytest.mark.asyncio
async def test_nobody_there_is_a_fault():
    rest = FinnhubRest("http://127.0.0.1:9", "s3cret")
    with pytest.raises(VendorUnavailable):
        await rest.quote("AAPL")
    await rest.close()


@contextlib.asynccontextmanager
async def dripping(*parts, every_s):
    """Serve a header that promises much, then a part of the body now and then."""

    over, served = asyncio.Event(), []

    async def serve(reader, writer):
        served.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 1000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), every_s)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", trust_env=False
    ) as client:
        yield client
    over.set()
    await asyncio.gather(*served)
    server.close()
    await server.wait_closed()


@pytest.mark.asyncio
async def test_a_body_that_drips_meets_the_deadline_of_the_whole_call():
    async with dripping(*[b" "] * 10_000, every_s=0.01) as client:
        with pytest.raises(TimeoutError):
            await bounded_get(client, "/", {}, 1 << 16, deadline_s=0.2)


@pytest.mark.asyncio
async def test_a_body_is_read_up_to_its_limit_and_no_further():
    async with dripping(b"x" * 5000, b"y" * 5000, every_s=3600) as client:
        answer = await bounded_get(client, "/", {}, 4096)
    assert (answer.body, answer.is_cut) == (b"x" * 4096, True)


@pytest.mark.asyncio
async def test_a_late_answer_is_a_fault_of_the_vendor(monkeypatch):
    monkeypatch.setattr(bounded_get, "__kwdefaults__", {"deadline_s": 0.05})
    async with dripping(*[b" "] * 1000, every_s=0.01) as client:
        rest = FinnhubRest(str(client.base_url), "key")
        with pytest.raises(VendorUnavailable, match="TimeoutError"):
            await rest.quote("AAPL")
        await rest.close()
