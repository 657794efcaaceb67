"""Each fault of Alpha Vantage and Yahoo as the bytes of a real socket show it."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.sim_market import market_at, run
from tradebox.sim.alphavantage.faults import CATALOGUE as ALPHAVANTAGE
from tradebox.sim.alphavantage.faults import alphavantage_faults
from tradebox.sim.alphavantage.server import AlphaVantage
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.sim.yahoo.authority import authority_file, server_context
from tradebox.sim.yahoo.faults import CATALOGUE as YAHOO
from tradebox.sim.yahoo.faults import yahoo_faults
from tradebox.sim.yahoo.handshake import take_faults
from tradebox.sim.yahoo.server import Yahoo
from tradebox.sim.yahoo.streamer import Streamer
from tradebox.supervision.clock import ManualClock, yield_turn

NOON_NS = hours.session(50).open_ns + 150 * hours.MINUTE_NS
DEADLINE_S = 10.0
HOST = "query1.finance.yahoo.com"


@pytest.fixture(scope="module")
def tls_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    server_context(folder)
    return folder


class Vendor:
    """A vendor on a port, its faults, and the bytes it answers with."""

    def __init__(self, faults, folder=None) -> None:
        self.market, self.faults, self.clock = market_at(NOON_NS), faults, ManualClock(1000.0)
        self.folder, self.address = folder, ("", 0)
        self.streamer = None

    @property
    def tls(self):
        return self.folder and ssl.create_default_context(cafile=authority_file(self.folder))

    async def bytes_of(self, target, host=HOST, cookie=""):
        """Return all that is said to a GET, to the last byte."""
        name = host if self.folder else None
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(
                *self.address, ssl=self.tls, server_hostname=name
            )
            head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"
            writer.write(head.encode())
            try:
                return await reader.read()
            finally:
                writer.transport.abort()


@asynccontextmanager
async def alphavantage():
    one = Vendor(alphavantage_faults())
    handler = AlphaVantage(one.market, "FREE", "PREMIUM", one.faults, one.clock.now)
    server = HttpServer("alphavantage", handler, clock=one.clock)
    one.address = await server.start()
    try:
        yield one
    finally:
        await server.stop()


@asynccontextmanager
async def yahoo(folder):
    one = Vendor(yahoo_faults(), folder)
    one.streamer = Streamer(one.market, one.faults)
    one.streamer.start()
    handler = Yahoo(one.market, "secret", one.faults)
    take = one.streamer.serve
    tls = server_context(folder)
    take_faults(tls, folder / "stranger", one.faults)
    server = HttpServer("yahoo", handler, tls=tls, clock=one.clock, take_upgrade=take)
    one.address = await server.start()
    try:
        yield one
    finally:
        one.streamer.stop()
        await server.stop()


def body(data):
    return data.partition(b"\r\n\r\n")[2]


def said(status, *pieces):
    """Return a judge of bytes: the status line, then every piece in the body."""

    def judge(data):
        head = f"HTTP/1.1 {status} ".encode()
        return data.startswith(head) and all(one in body(data) for one in pieces)

    return judge


def cut(data):
    """Judge a body that is the beginning of JSON and no more, with its right length."""
    length = int(data.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    try:
        json.loads(body(data))
    except ValueError:
        return data.startswith(b"HTTP/1.1 200 ") and len(body(data)) == length > 10
    return False


QUOTE = "/query?function=GLOBAL_QUOTE&symbol=AAPL&apikey=PREMIUM"
QUOTE_FAULTS = {
    "burst_limit": said(200, b'"Information"', b"1 request per second", b"25 requests per day"),
    "day_spent": said(200, b'"Information"', b"25 requests per day"),
    "old_note": said(200, b'"Note"', b"5 calls per minute and 500 calls per day"),
    "bad_key": said(200, b'"Error Message"', b"the parameter apikey is invalid or missing"),
    "premium_only": said(200, b'"Information"', b"This is a premium endpoint"),
    "invalid_call": said(200, b'"Error Message"', b"Invalid API call", b"for GLOBAL_QUOTE."),
    "empty_quote": said(200, b'"Global Quote": {}'),
    "empty_object": lambda data: said(200)(data) and body(data) == b"{}",
    "html_page": said(200, b"<!DOCTYPE html>", b"application-error.html"),
    "server_error": said(503, b"<!DOCTYPE html>"),
    "truncated": cut,
    "blank_values": said(200, b'"02. open": ""', b'"05. price": "None"', b'"03. high": "-"'),
    "wrong_symbol": said(200, b'"01. symbol": "ZZZZ"'),
    "stale_day": lambda data: (
        said(200, b'"07. latest trading day"')(data)
        and str(hours.session(49).day).encode() not in data
    ),
    "delayed_suffix": said(200, b'"Global Quote - DATA DELAYED BY 15 MINUTES"'),
    "spike": lambda data: float(data.partition(b'"05. price": "')[2][:8]) > 115,
    "reset": lambda data: data == b"",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(QUOTE_FAULTS))
async def test_alphavantage_shows_its_fault_and_then_is_well(name):
    async with alphavantage() as one:
        well = await one.bytes_of(QUOTE)
        assert said(200, b'"Global Quote"', b'"01. symbol": "AAPL"')(well)
        assert not QUOTE_FAULTS[name](well)
        one.faults.set(name, symbol="AAPL", count=1)
        assert QUOTE_FAULTS[name](await answer_or_nothing(one, QUOTE))
        assert await one.bytes_of(QUOTE) == well


async def answer_or_nothing(one, target, **options):
    """Return the bytes of an answer; a reset has none."""
    try:
        return await one.bytes_of(target, **options)
    except (ConnectionError, ssl.SSLError):
        return b""


@pytest.mark.asyncio
@pytest.mark.parametrize("vendor", ["alphavantage", "yahoo"])
async def test_an_answer_waits_as_long_as_the_fault_says(vendor, tls_folder):
    path = QUOTE if vendor == "alphavantage" else "/v8/finance/chart/AAPL?range=5d"
    async with alphavantage() if vendor == "alphavantage" else yahoo(tls_folder) as one:
        one.faults.set("slow", symbol="AAPL", delay_s=30.0, count=1)
        asking = asyncio.ensure_future(one.bytes_of(path))
        assert said(200)(await one.bytes_of(path.replace("AAPL", "SPY")))
        async with asyncio.timeout(DEADLINE_S):
            while not one.clock.pending:
                await yield_turn()
        await one.clock.run_for(29.0)
        assert not asking.done()
        await one.clock.run_for(1.0)
        assert said(200)(await asking)


def of_chart(judge):
    """Return a judge of the one result of a chart."""

    def judged(data):
        if not said(200)(data):
            return False
        try:
            return judge(json.loads(body(data))["chart"]["result"][0])
        except ValueError:
            return False

    return judged


def closes(result):
    return result["indicators"]["quote"][0]["close"]


CHART = "/v8/finance/chart/AAPL?range=1mo&interval=1d&events=div,splits"
CHART_FAULTS = {
    "rate_limit": said(429, b"Too Many Requests"),
    "server_error": said(503, b"<html>"),
    "html_page": said(200, b"<html>", b"Will be right back"),
    "not_found": said(404, b'"code":"Not Found"', b"No data found, symbol may be delisted"),
    "empty_result": of_chart(lambda result: "timestamp" not in result),
    "truncated": cut,
    "reset": lambda data: data == b"",
    "null_rows": of_chart(lambda result: closes(result)[0] is closes(result)[5] is None),
    "missing_bars": of_chart(
        lambda result: result["timestamp"][-1] < hours.session(50).open_ns // 10**9
    ),
    "missing_zone": of_chart(lambda result: "exchangeTimezoneName" not in result["meta"]),
    "stale_time": of_chart(
        lambda result: NOON_NS // 10**9 - result["meta"]["regularMarketTime"] >= 900
    ),
    "spike": of_chart(lambda result: closes(result)[-1] > 1.15 * closes(result)[-2]),
    "split_event": of_chart(
        lambda result: (
            next(iter(result["events"]["splits"].values()))["splitRatio"] == "2:1"
            if "events" in result
            else False
        )
    ),
    "dividend_event": of_chart(
        lambda result: (
            next(iter(result["events"]["dividends"].values()))["amount"] == 0.5
            if "events" in result
            else False
        )
    ),
}
PAGES = {
    "consent": ("/", "fc.yahoo.com", lambda data: b"Set-Cookie" not in data),
    "crumb_limit": ("/v1/test/getcrumb", HOST, said(429, b"Too Many Requests")),
    "bad_crumb": ("{chart}", HOST, said(401, b"Invalid Crumb")),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(CHART_FAULTS))
async def test_yahoo_shows_its_fault_over_tls_and_then_is_well(name, tls_folder):
    async with yahoo(tls_folder) as one:
        well = await one.bytes_of(CHART)
        assert of_chart(lambda result: len(closes(result)) >= 19)(well)
        assert not CHART_FAULTS[name](well)
        one.faults.set(name, symbol="AAPL", count=1)
        assert CHART_FAULTS[name](await answer_or_nothing(one, CHART))
        assert await one.bytes_of(CHART) == well


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(PAGES))
async def test_yahoo_shows_its_faults_of_cookie_and_crumb(name, tls_folder):
    async with yahoo(tls_folder) as one:
        page = await one.bytes_of("/", host="fc.yahoo.com")
        assert page.startswith(b"HTTP/1.1 404 ")
        cookie = page.partition(b"Set-Cookie: ")[2].partition(b";")[0].decode()
        assert cookie.startswith("A3=")
        crumb = body(await one.bytes_of("/v1/test/getcrumb", cookie=cookie)).decode()
        target, host, judge = PAGES[name]
        target = target.format(chart=f"{CHART}&crumb={crumb}")
        assert not judge(await one.bytes_of(target, host=host, cookie=cookie))
        one.faults.set(name, count=1)
        assert judge(await one.bytes_of(target, host=host, cookie=cookie))
        assert not judge(await one.bytes_of(target, host=host, cookie=cookie))


# -- the streamer ---------------------------------------------------------------------------


@asynccontextmanager
async def stream_of(one, *symbols):
    """Open a stream and subscribe; the ping says that the vendor has read it."""
    url = "wss://streamer.finance.yahoo.com/?version=2"
    host, port = one.address
    async with connect(url, host=host, port=port, ssl=one.tls, compression=None) as socket:
        await socket.send(json.dumps({"subscribe": list(symbols)}))
        await asyncio.wait_for(await socket.ping(), DEADLINE_S)
        yield socket


async def frames_of(one, socket, seconds=20):
    """Let the market run on; return what came before the answer to a ping."""
    found = []
    run(one.market, one.market.clock.at_ns + seconds * hours.SECOND_NS)
    one.streamer.flush()
    pong = await socket.ping()
    async with asyncio.timeout(DEADLINE_S):
        while not pong.done():
            getting = asyncio.ensure_future(socket.recv())
            await asyncio.wait((getting, pong), return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                found.append(json.loads(getting.result()))
            else:
                getting.cancel()
                await asyncio.wait((getting,))
    return found


async def some_frames(one, socket):
    for _ in range(50):
        if found := await frames_of(one, socket):
            return found
    raise AssertionError("no frame came")


@pytest.mark.asyncio
async def test_a_stream_says_the_prints_of_its_symbols_alone(tls_folder):
    async with yahoo(tls_folder) as one, stream_of(one, "AAPL", "NONE") as socket:
        price = one.market.quote("AAPL")
        found = await some_frames(one, socket)
        assert {frame["type"] for frame in found} == {"pricing"}
        assert all(frame["message"].startswith("CgRBQVBM") for frame in found)
        assert price
        await socket.send(json.dumps({"unsubscribe": ["AAPL"]}))
        assert [await frames_of(one, socket) for _ in range(5)][1:] == [[]] * 4


@pytest.mark.asyncio
async def test_a_silent_symbol_a_half_open_stream_and_a_bad_message(tls_folder):
    async with yahoo(tls_folder) as one, stream_of(one, "AAPL", "SPY") as socket:
        one.faults.set("stream_silent_symbol", symbol="AAPL")
        assert not any("CgRBQVBM" in one["message"] for one in await some_frames(one, socket))
        one.faults.clear()
        one.faults.set("stream_half_open")
        assert [await frames_of(one, socket) for _ in range(5)] == [[]] * 5
        one.faults.clear()
        one.faults.set("stream_bad_frame")
        found = await some_frames(one, socket)
        assert [one["message"] for one in found if " " in one["message"]] == ["!!! no base64 !!!"]


@pytest.mark.asyncio
async def test_a_streamed_price_is_moved(tls_folder):
    from base64 import b64decode

    from yfinance.pricing_pb2 import PricingData

    async with yahoo(tls_folder) as one, stream_of(one, "AAPL") as socket:
        one.faults.set("stream_spike", symbol="AAPL", percent=50.0)
        (frame, *_) = await some_frames(one, socket)
        told = PricingData()
        told.ParseFromString(b64decode(frame["message"]))
        day, quote = one.market.day("AAPL"), one.market.quote("AAPL")
        assert told.price == pytest.approx(1.5 * day.last_micros / 1e6, rel=1e-4)
        assert (told.id, told.currency, told.exchange) == ("AAPL", "USD", "NMS")
        assert (told.time, told.day_volume) == (day.last_ns // 10**6, day.volume)
        assert told.previous_close == pytest.approx(day.previous_close_micros / 1e6, rel=1e-6)
        assert (told.bid_size, told.ask_size) == (quote.bid_size, quote.ask_size)
        assert (told.market_hours, told.price_hint, told.quote_type) == (1, 2, 8)
        assert told.change == pytest.approx(told.price - told.previous_close, abs=1e-3)


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "code"), [("stream_drop", 1006), ("stream_close", 1000)])
async def test_a_stream_is_ended_and_another_lives(name, code, tls_folder):
    async with yahoo(tls_folder) as one:
        async with stream_of(one, "AAPL") as socket:
            one.faults.set(name)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), DEADLINE_S)
            assert socket.close_code == code
        async with stream_of(one, "AAPL") as socket:
            assert await some_frames(one, socket)


@pytest.mark.asyncio
async def test_a_handshake_of_a_stream_is_refused(tls_folder):
    async with yahoo(tls_folder) as one:
        one.faults.set("stream_refuse", count=1)
        with pytest.raises(InvalidStatus) as refusal:
            async with stream_of(one, "AAPL"):
                pass
        assert refusal.value.response.status_code == 503
        async with stream_of(one, "AAPL") as socket:
            assert await some_frames(one, socket)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "message", ["", "x", "[]", "{}", '{"subscribe": 1}', '{"subscribe": [1, null]}', "[" * 9000]
)
async def test_garbage_on_a_stream_is_passed_over(message, tls_folder):
    async with yahoo(tls_folder) as one, stream_of(one, "AAPL") as socket:
        await socket.send(message)
        await socket.send(message.encode())
        assert await some_frames(one, socket)


@pytest.mark.asyncio
async def test_what_is_too_much_ends_the_stream_alone(tls_folder):
    async with yahoo(tls_folder) as one, stream_of(one, "AAPL") as other:
        for text in ("x" * 100_000, json.dumps({"subscribe": [f"S{n}" for n in range(2500)]})):
            async with stream_of(one, "AAPL") as socket:
                await socket.send(text)
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(socket.recv(), DEADLINE_S)
                assert socket.close_code in (1008, 1009)
        assert await some_frames(one, other)


@pytest.mark.asyncio
async def test_who_does_not_read_is_dropped(tls_folder):
    async with yahoo(tls_folder) as one, stream_of(one, "AAPL") as socket:
        socket.transport.pause_reading()
        (client,) = one.streamer._clients
        async with asyncio.timeout(DEADLINE_S):
            while client in one.streamer._clients:
                client.send("x" * 60_000)
                await yield_turn()
        socket.transport.abort()


HANDSHAKE_FAULTS = {
    "tls_refuse": ((ssl.SSLError, ConnectionResetError), "^$|ALERT|alert|reset"),
    "tls_certificate": (ssl.SSLCertVerificationError, "self-signed certificate|unable to get"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(HANDSHAKE_FAULTS))
async def test_a_handshake_fails_and_the_next_one_does_not(name, tls_folder):
    kind, text = HANDSHAKE_FAULTS[name]
    async with yahoo(tls_folder) as one:
        one.faults.set(name, count=1)
        with pytest.raises(kind, match=text):
            await one.bytes_of(CHART)
        assert said(200)(await one.bytes_of(CHART))


def test_every_fault_is_seen_on_the_wire():
    streams = {
        "stream_drop", "stream_close", "stream_refuse", "stream_half_open", "stream_bad_frame",
        "stream_silent_symbol", "stream_spike",
    }  # fmt: skip
    assert {spec.name for spec in ALPHAVANTAGE} == {*QUOTE_FAULTS, "slow"}
    assert {spec.name for spec in YAHOO} == {
        *CHART_FAULTS, *PAGES, *HANDSHAKE_FAULTS, *streams, "slow",
    }  # fmt: skip
