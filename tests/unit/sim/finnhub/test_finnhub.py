"""The Finnhub stand-in over real sockets: REST, stream, limits and each fault on the wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.sim_market import SYMBOLS, market_at
from tradebox.errors import AddressInUse, ConfigInvalid
from tradebox.sim.exchange.market_port import SECOND_NS
from tradebox.sim.finnhub.faults import CATALOGUE, finnhub_faults
from tradebox.sim.finnhub.server import FinnhubServer
from tradebox.sim.finnhub.stream import SYMBOLS_MAX
from tradebox.sim.market import hours
from tradebox.supervision.clock import ManualClock, yield_turn

KEY = "c0ffee"
DEADLINE_S = 10.0
SLOW_S = 100
"""For what takes long on a busy machine: filling the buffers of a reader that does not read."""
SESSION = hours.session(2)


class Vendor:
    """A running stand-in with its market in a test's hands."""

    def __init__(self, port: int = 0) -> None:
        self.market = market_at(SESSION.open_ns + 600 * SECOND_NS)
        self.clock = ManualClock(1000.0)
        self.faults = finnhub_faults()
        self.server = FinnhubServer(
            self.market, KEY, self.clock, self.faults, port=port, wall_s=lambda: 1_700_000_000.0
        )
        self.port = 0

    def fault(self, name: str, **arguments: str | float) -> None:
        self.faults.set(name, **arguments)

    def pass_time(self, seconds: float) -> None:
        """Let the market run on and the vendor send what that brought."""
        self.market.clock.at_ns += round(seconds * SECOND_NS)
        while not self.market.advance(self.market.clock.at_ns, 1000):
            pass
        self.server.flush()

    def stream(self, key: str = KEY) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/?token={key}", compression=None)

    async def get(self, path: str, key: str = KEY) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}/api/v1", trust_env=False
        ) as client:
            return await client.get(path, headers={"X-Finnhub-Token": key})


@asynccontextmanager
async def vendor() -> AsyncIterator[Vendor]:
    one = Vendor()
    _, one.port = await one.server.start()
    try:
        yield one
    finally:
        await one.server.stop()


async def settle(one: Vendor, socket: ClientConnection) -> None:
    """Wait until all that was sent on the socket was read by the vendor: it answers in order."""
    await socket.send("no json")
    while True:
        answer = await asyncio.wait_for(socket.recv(), DEADLINE_S)
        if "Invalid message" in answer:
            return


async def subscribe(one: Vendor, socket: ClientConnection, *symbols: str) -> None:
    for symbol in symbols:
        await socket.send(json.dumps({"type": "subscribe", "symbol": symbol}))
    await settle(one, socket)


async def prints(
    one: Vendor, socket: ClientConnection, enough: Callable[[list[dict]], bool] | None = None
) -> list[dict]:
    """Let time pass and return the prints that came, at least one or enough of them."""
    found: list[dict] = []
    async with asyncio.timeout(DEADLINE_S):
        while not found or not (enough is None or enough(found)):
            one.pass_time(20)
            await settle_reading(socket, found)
    return found


async def settle_reading(socket: ClientConnection, found: list[dict]) -> None:
    await socket.send("no json")
    while "Invalid message" not in (frame := await socket.recv()):
        found += json.loads(frame)["data"]


# -- the stream ---------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_prints_of_subscribed_symbols_come_as_the_market_made_them() -> None:
    async with vendor() as one, one.stream() as socket:
        seen: list[dict] = []

        def keep(event: object) -> None:
            if type(event).__name__ == "Trade" and event.symbol != "SPY":
                seen.append(event)

        one.market.subscribe(keep)
        await subscribe(one, socket, "AAPL", "NFLX", "NOT-THERE")
        found: list[dict] = []
        for _ in range(5):
            found += await prints(one, socket)
        assert {row["s"] for row in found} == {"AAPL", "NFLX"}
        assert [(row["s"], round(row["p"] * 1_000_000), row["v"], row["t"]) for row in found] == [
            (event.symbol, event.price_micros, event.size, event.event_ns // 1_000_000)
            for event in seen
        ]
        assert all(isinstance(row["c"], list) for row in found)
        await socket.send('{"type":"unsubscribe","symbol":"AAPL"}')
        await settle(one, socket)
        assert {row["s"] for row in await prints(one, socket)} == {"NFLX"}


@pytest.mark.asyncio
async def test_a_wrong_key_is_refused_at_the_handshake() -> None:
    async with vendor() as one:
        for key in ("", "wrong"):
            with pytest.raises(InvalidStatus) as refusal:
                await one.stream(key)
            assert refusal.value.response.status_code == 401


@pytest.mark.asyncio
async def test_a_second_stream_on_the_key_ends_both_and_a_third_lives() -> None:
    async with vendor() as one:
        first = await one.stream()
        second = await one.stream()
        for socket in (first, second):
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), DEADLINE_S)
        async with one.stream() as third:
            await subscribe(one, third, "AAPL")
            assert await prints(one, third)


@pytest.mark.asyncio
async def test_the_52nd_symbol_is_refused_until_one_is_given_back() -> None:
    async with vendor() as one, one.stream() as socket:
        await subscribe(one, socket, *(f"S{index}" for index in range(SYMBOLS_MAX)), "S0")
        await socket.send('{"type":"subscribe","symbol":"AAPL"}')
        answer = await asyncio.wait_for(socket.recv(), DEADLINE_S)
        assert json.loads(answer) == {"type": "error", "msg": "Subscribing to too many symbols"}
        await socket.send('{"type":"unsubscribe","symbol":"S7"}')
        await subscribe(one, socket, "AAPL")
        assert {row["s"] for row in await prints(one, socket)} == {"AAPL"}


@pytest.mark.asyncio
async def test_a_ping_comes_each_minute() -> None:
    async with vendor() as one, one.stream() as socket:
        await settle(one, socket)
        await one.clock.run_for(60.0)
        assert json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S)) == {"type": "ping"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "message",
    ["", "x", "[]", "{}", "1", '{"type":"subscribe"}', '{"type":"subscribe","symbol":1}',
     '{"type":[],"symbol":"AAPL"}', "[" * 3000, b"\x00\xff" * 100, "9" * 60_000],
)  # fmt: skip
async def test_garbage_on_the_stream_is_answered_and_hurts_nobody(message: str | bytes) -> None:
    async with vendor() as one, one.stream() as socket:
        await socket.send(message)
        answer = await asyncio.wait_for(socket.recv(), DEADLINE_S)
        assert json.loads(answer)["type"] == "error"
        await subscribe(one, socket, "AAPL")
        assert await prints(one, socket)


@pytest.mark.asyncio
async def test_garbage_on_the_port_hurts_nobody() -> None:
    async with vendor() as one, one.stream() as socket:
        await subscribe(one, socket, "AAPL")
        for junk in (
            b"\x00" * 5000,
            b"GET /\r\n\r\n",
            b"POST /api/v1/quote HTTP/1.1\r\n\r\n",
            b"A",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            writer.write(junk)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), DEADLINE_S)
            writer.close()
            await writer.wait_closed()
        assert await prints(one, socket)


@pytest.mark.timeout(2 * SLOW_S)
@pytest.mark.asyncio
async def test_a_reader_that_is_too_slow_is_dropped() -> None:
    async with vendor() as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port, limit=1024)
        try:
            writer.write(
                f"GET /?token={KEY} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
            text = json.dumps({"type": "subscribe", "symbol": "AAPL"}).encode()
            writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
            one.fault("duplicate", symbol="AAPL", times=5000)
            async with asyncio.timeout(SLOW_S):
                while not one.server._clients:
                    await yield_turn()
                while one.server._clients:
                    one.pass_time(10)
                    await yield_turn()
        finally:
            writer.close()


# -- REST ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_quote_says_the_session_so_far_in_seconds() -> None:
    async with vendor() as one:
        answer = await one.get("/quote?symbol=AAPL")
        body, day = answer.json(), one.market.day("AAPL")
        assert answer.status_code == 200
        assert list(body) == ["c", "d", "dp", "h", "l", "o", "pc", "t"]
        assert round(body["c"] * 1_000_000) == day.last_micros
        assert round(body["h"] * 1_000_000) == day.high_micros
        assert body["t"] == day.last_ns // SECOND_NS
        assert body["dp"] == pytest.approx(100 * body["d"] / body["pc"], abs=1e-3)
        unknown = await one.get("/quote?symbol=NONE")
        assert unknown.json() == {
            "c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0,
        }  # fmt: skip


@pytest.mark.asyncio
async def test_the_other_endpoints_answer_as_for_a_free_key() -> None:
    async with vendor() as one:
        candles = await one.get("/stock/candle?symbol=AAPL&resolution=D&from=1&to=2")
        assert (candles.status_code, list(candles.json())) == (403, ["error"])
        status = (await one.get("/stock/market-status?exchange=US")).json()
        assert (status["isOpen"], status["session"]) == (True, "regular")
        assert status["t"] == one.market.clock.now_ns() // SECOND_NS
        days = (await one.get("/stock/market-holiday?exchange=US")).json()["data"]
        assert {"atDate": "2016-07-04", "eventName": "Market holiday", "tradingHour": ""} in days
        early = [row["atDate"] for row in days if row["tradingHour"] == "09:30-13:00"]
        assert early == ["2017-11-24", "2017-07-03", "2016-11-25"]
        listing = (await one.get("/stock/symbol?exchange=US")).json()
        assert [row["symbol"] for row in listing] == list(SYMBOLS)
        assert listing[1]["mic"] == "XNAS"
        found = (await one.get("/search?q=apple")).json()
        assert (found["count"], found["result"][0]["symbol"]) == (1, "AAPL")
        assert (await one.get("/search?q=")).json()["count"] == 0
        assert (await one.get("/quote")).status_code == 422
        assert (await one.get("/nothing")).status_code == 404


@pytest.mark.asyncio
async def test_a_wrong_key_gets_401_and_the_query_token_works() -> None:
    async with vendor() as one:
        assert (await one.get("/quote?symbol=SPY", key="wrong")).status_code == 401
        assert (await one.get("/quote?symbol=SPY", key="")).status_code == 401
        assert (await one.get(f"/quote?symbol=SPY&token={KEY}", key="")).status_code == 200


@pytest.mark.asyncio
async def test_the_61st_call_of_a_minute_is_refused_until_the_reset() -> None:
    async with vendor() as one:
        for index in range(60):
            answer = await one.get("/quote?symbol=SPY")
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-remaining"] == str(59 - index)
            one.clock.advance(0.1)
        refused = await one.get("/quote?symbol=SPY")
        assert refused.status_code == 429
        assert refused.headers["x-ratelimit-limit"] == "60"
        assert refused.json() == {
            "error": "API limit reached. Please try again later. Remaining Limit: 0"
        }
        wait_s = int(refused.headers["x-ratelimit-reset"]) - 1_700_000_000
        one.clock.advance(wait_s)
        assert (await one.get("/quote?symbol=SPY")).status_code == 200


@pytest.mark.asyncio
async def test_the_31st_call_of_a_second_is_refused() -> None:
    async with vendor() as one:
        codes = [(await one.get("/quote?symbol=SPY")).status_code for _ in range(31)]
        assert codes == [200] * 30 + [429]


@pytest.mark.asyncio
async def test_a_taken_port_is_refused_with_its_number() -> None:
    async with vendor() as one:
        other = Vendor(one.port)
        with pytest.raises(AddressInUse) as refusal:
            await other.server.start()
        assert refusal.value.fields == {"field": "finnhub", "value": one.port}


# -- faults -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_silent_symbol_is_silent_alone() -> None:
    async with vendor() as one, one.stream() as socket:
        one.fault("silent_symbol", symbol="AAPL")
        await subscribe(one, socket, "AAPL", "SPY")
        assert {row["s"] for row in await prints(one, socket)} == {"SPY"}
        one.faults.clear("silent_symbol")
        await prints(one, socket, lambda rows: any(row["s"] == "AAPL" for row in rows))


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "code"), [("drop_connection", 1006), ("close_connection", 1012)])
async def test_a_stream_is_ended(name: str, code: int) -> None:
    async with vendor() as one, one.stream() as socket:
        await settle(one, socket)
        one.fault(name, **({} if code == 1006 else {"code": code}))
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), DEADLINE_S)
        assert socket.close_code == code
        async with one.stream() as again:
            await subscribe(one, again, "AAPL")
            assert await prints(one, again)


@pytest.mark.asyncio
async def test_a_half_open_stream_says_nothing_and_stays() -> None:
    async with vendor() as one, one.stream() as socket:
        await subscribe(one, socket, "AAPL")
        one.fault("half_open")
        before = one.server.sent_frames
        for _ in range(5):
            one.pass_time(20)
            await one.clock.run_for(1.0)
        assert one.server.sent_frames == before
        one.faults.clear()
        assert await prints(one, socket)


@pytest.mark.asyncio
async def test_a_handshake_is_refused_by_the_server() -> None:
    async with vendor() as one:
        one.fault("refuse_stream", count=1)
        with pytest.raises(InvalidStatus) as refusal:
            await one.stream()
        assert refusal.value.response.status_code == 503
        async with one.stream():
            pass


@pytest.mark.asyncio
async def test_prints_come_three_times() -> None:
    async with vendor() as one, one.stream() as socket:
        one.fault("duplicate", symbol="AAPL")
        await subscribe(one, socket, "AAPL")
        rows = await prints(one, socket)
        assert len(rows) % 3 == 0
        assert all(rows[index] == rows[index - index % 3] for index in range(len(rows)))


@pytest.mark.asyncio
async def test_prints_are_held_back_and_come_in_one_burst() -> None:
    async with vendor() as one, one.stream() as socket:
        made: list[tuple[str, int, int]] = []

        def keep(event: object) -> None:
            if type(event).__name__ == "Trade" and event.symbol == "AAPL":
                made.append((event.symbol, event.size, event.event_ns // 1_000_000))

        await subscribe(one, socket, "AAPL", "SPY")
        one.market.subscribe(keep)
        one.fault("hold", symbol="AAPL")
        others = await prints(one, socket, lambda _: len(made) >= 150)
        assert {row["s"] for row in others} <= {"SPY"}
        one.faults.clear("hold")
        one.server.flush()
        burst: list[dict] = []
        await settle_reading(socket, burst)
        assert [(row["s"], row["v"], row["t"]) for row in burst] == made
        await prints(one, socket, lambda rows: any(row["s"] == "AAPL" for row in rows))


@pytest.mark.asyncio
async def test_prints_come_latest_first() -> None:
    async with vendor() as one, one.stream() as socket:
        one.fault("reorder", symbol="AAPL")
        await subscribe(one, socket, "AAPL")
        rows = await prints(one, socket)
        assert len(rows) >= 3
        assert rows[0]["t"] > rows[1]["t"] > rows[2]["t"]


NOW_MS = (SESSION.open_ns + 600 * SECOND_NS) // 1_000_000
PRINT_FAULTS = {
    "spike": ({"percent": 50.0}, lambda row: row["p"] > 140),
    "zero_price": ({}, lambda row: row["p"] == 0),
    "stale_time": ({"age_s": 3600.0}, lambda row: row["t"] < NOW_MS - 3_000_000),
    "future_time": ({"ahead_s": 3600.0}, lambda row: row["t"] > NOW_MS + 3_000_000),
    "null_conditions": ({}, lambda row: row.get("c", 0) is None),
    "no_conditions": ({}, lambda row: "c" not in row),
}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "arguments", "is_so"),
    [
        *((name, *rest) for name, rest in PRINT_FAULTS.items()),
        ("spike", {"percent": -50.0}, lambda row: row["p"] < 60),
    ],
)
async def test_a_print_is_changed_as_the_fault_says(name, arguments, is_so) -> None:
    async with vendor() as one, one.stream() as socket:
        await subscribe(one, socket, "AAPL")
        one.fault(name, symbol="AAPL", count=1, **arguments)
        rows = await prints(one, socket, lambda found: len(found) > 3)
        assert [is_so(row) for row in rows] == [True] + [False] * (len(rows) - 1)
        day = one.market.day("AAPL")
        assert 90_000_000 < day.low_micros < day.high_micros < 110_000_000


@pytest.mark.asyncio
async def test_a_cut_frame_comes_before_the_prints() -> None:
    async with vendor() as one, one.stream() as socket:
        await subscribe(one, socket, "AAPL")
        one.fault("bad_frame")
        one.pass_time(60)
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S))
        assert json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S))["type"] == "trade"


@pytest.mark.asyncio
async def test_a_ping_is_left_out() -> None:
    async with vendor() as one, one.stream() as socket:
        await settle(one, socket)
        one.fault("no_ping", count=1)
        await one.clock.run_for(60.0)
        await settle(one, socket)
        assert one.server.sent_frames == 2
        await one.clock.run_for(60.0)
        assert json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S)) == {"type": "ping"}


@pytest.mark.asyncio
async def test_fewer_symbols_stand() -> None:
    async with vendor() as one, one.stream() as socket:
        one.fault("symbol_limit", symbols=1)
        await subscribe(one, socket, "AAPL")
        await socket.send('{"type":"subscribe","symbol":"SPY"}')
        assert "too many" in await asyncio.wait_for(socket.recv(), DEADLINE_S)


@pytest.mark.asyncio
async def test_an_answer_waits_and_another_is_cut() -> None:
    async with vendor() as one:
        one.fault("slow", delay_s=30.0, count=1)
        asking = asyncio.ensure_future(one.get("/quote?symbol=AAPL"))
        async with asyncio.timeout(DEADLINE_S):
            while not one.clock.pending:
                await yield_turn()
        assert (await one.get("/quote?symbol=SPY")).status_code == 200
        await one.clock.run_for(29.0)
        assert not asking.done()
        await one.clock.run_for(1.0)
        assert (await asking).json()["c"] > 0
        one.fault("truncated", count=1)
        with pytest.raises(ValueError, match=r"delimiter|Expecting|Unterminated"):
            (await one.get("/quote?symbol=AAPL")).json()
        assert (await one.get("/quote?symbol=AAPL")).json()["c"] > 0


@pytest.mark.asyncio
@pytest.mark.parametrize("when", [{}, {"on": "order"}, {"after_s": 5.0}])
async def test_a_code_that_may_not_close_is_refused_at_once(when: dict) -> None:
    async with vendor() as one:
        with pytest.raises(ConfigInvalid, match="code=1005 may not be sent: give 1000"):
            one.faults.set("close_connection", code=1005, **when)
        assert all(row["active"] == [] for row in one.faults.listing())


@pytest.mark.asyncio
async def test_a_connection_is_reset_instead_of_an_answer() -> None:
    async with vendor() as one:
        one.fault("reset", count=1)
        with pytest.raises(httpx.TransportError):
            await one.get("/quote?symbol=AAPL")
        assert (await one.get("/quote?symbol=AAPL")).json()["c"] > 0


REST_FAULTS = {
    "zero_quote": (200, lambda answer: answer.json()["c"] == answer.json()["t"] == 0),
    "partial_quote": (200, lambda answer: answer.json()["h"] == 0 < answer.json()["c"]),
    "rate_limit": (429, lambda answer: "x-ratelimit-reset" in answer.headers),
    "plain_429": (429, lambda answer: "x-ratelimit-reset" not in answer.headers),
    "server_error": (502, lambda answer: answer.text.startswith("<html>")),
    "no_access": (403, lambda answer: "access" in answer.json()["error"]),
    "bad_key": (401, lambda answer: answer.json()["error"] == "Invalid API key"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "status", "is_so"), [(k, *v) for k, v in REST_FAULTS.items()])
async def test_an_answer_is_what_the_fault_says(name, status, is_so) -> None:
    async with vendor() as one:
        path = "/quote?symbol=AAPL"
        one.fault(name, count=1)
        answer = await one.get(path)
        assert answer.status_code == status
        assert is_so(answer)
        assert (await one.get(path)).json()["h"] > 0


TESTS_OF_ONE = {
    "silent_symbol": test_a_silent_symbol_is_silent_alone,
    "drop_connection": test_a_stream_is_ended,
    "close_connection": test_a_stream_is_ended,
    "half_open": test_a_half_open_stream_says_nothing_and_stays,
    "refuse_stream": test_a_handshake_is_refused_by_the_server,
    "duplicate": test_prints_come_three_times,
    "hold": test_prints_are_held_back_and_come_in_one_burst,
    "reorder": test_prints_come_latest_first,
    "bad_frame": test_a_cut_frame_comes_before_the_prints,
    "no_ping": test_a_ping_is_left_out,
    "symbol_limit": test_fewer_symbols_stand,
    "slow": test_an_answer_waits_and_another_is_cut,
    "truncated": test_an_answer_waits_and_another_is_cut,
    "reset": test_a_connection_is_reset_instead_of_an_answer,
}


def test_every_fault_of_the_catalogue_has_its_test() -> None:
    assert {spec.name for spec in CATALOGUE} == {*PRINT_FAULTS, *REST_FAULTS, *TESTS_OF_ONE}
