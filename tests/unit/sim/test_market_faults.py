"""Each fault of the market, shown by its bytes at the gateway, and after a restart."""

from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.tws_bench import RawClient
from tradebox.errors import ConfigInvalid
from tradebox.sim.home import SimHome
from tradebox.sim.market import hours
from tradebox.sim.market.acts import CATALOGUE
from tradebox.sim.market.data import load
from tradebox.sim.runner import SERVERS, World

STOCK = ["0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
MINUTE_S = 60


class Mono:
    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


class Place:
    """A world that listens, and whose time a test moves."""

    def __init__(self, folder: Path, mono: Mono) -> None:
        self.mono = mono
        self.home = SimHome(folder, 3)
        self.world = World(
            self.home, 20.0, (0,) * len(SERVERS), None, load().only(("AAPL", "SPY")), mono
        )
        self.clients: list[RawClient] = []

    async def client(self, client_id: int = 1) -> RawClient:
        client = await RawClient.open(self.world.addresses["gateway_paper"], client_id)
        self.clients.append(client)
        return client

    def until(self, at_ns: int) -> None:
        """Let market time pass, in steps that renew the clock's lease."""
        clock, pump = self.world.clock, self.world.pump
        while clock.now_ns() < at_ns:
            left_ns = round((at_ns - clock.now_ns()) / clock.speed) + 1
            self.mono.now_ns += min(left_ns, 4 * hours.SECOND_NS)
            clock.adopt(clock.proposal())
            while not pump.turn(min(clock.now_ns(), at_ns)):
                pass

    def go_on(self, market_s: float) -> None:
        self.until(self.world.clock.now_ns() + round(market_s * hours.SECOND_NS))

    def next_open_ns(self) -> int:
        number = hours.session_from(self.world.clock.now_ns()).number
        return hours.session(number + 1).open_ns


@asynccontextmanager
async def place(folder: Path, mono: Mono | None = None):
    made = Place(folder, mono or Mono())
    await made.world.start()
    try:
        yield made
    finally:
        for client in made.clients:
            await client.close()
        await made.world.stop()
        made.home.close()


def ticks(messages, kind):
    """Return the values that were said of one tick type."""
    return [fields[4] for fields in messages if fields[0] in ("1", "45") and fields[3] == str(kind)]


def codes(messages):
    return [(fields[2], fields[3]) for fields in messages if fields[0] == "4"]


async def watching(there: Place) -> RawClient:
    client = await there.client()
    client.send(1, 11, 9, *STOCK, 0, "", 0, 0, "")
    await client.sync()
    return client


@pytest.mark.asyncio
async def test_halt_and_resume_are_tick_49_refused_orders_and_silence(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        client = await watching(there)
        there.world.set_fault("market.halt", {"symbol": "AAPL"})
        assert ticks(await client.sync(), 49) == ["1.0"]
        client.place(1, "BUY", 10, "MKT", contract=STOCK)
        there.go_on(5 * MINUTE_S)
        messages = await client.sync()
        assert codes(messages) == [("1", "154")]
        assert ticks(messages, 4) == []
        there.world.set_fault("market.resume", {"symbol": "AAPL"})
        assert ticks(await client.sync(), 49) == ["0.0"]
        there.go_on(2 * MINUTE_S)
        assert ticks(await client.sync(), 4)
        client.place(2, "BUY", 10, "MKT", contract=STOCK)
        assert "Filled" in await client.until(3, "Filled")


@pytest.mark.asyncio
async def test_gap_fires_a_stop_far_below_it(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        client = await watching(there)
        before = there.world.market.quote("AAPL").last_micros / 1e6
        client.place(1, "BUY", 10, "MKT", contract=STOCK)
        client.place(
            2, "SELL", 10, "STP", trigger=f"{before * 0.97:.2f}", tif="GTC", contract=STOCK
        )
        await client.sync()
        there.world.set_fault("market.gap", {"symbol": "AAPL", "percent": -10.0})
        there.go_on(MINUTE_S)
        messages = await client.sync()
        assert max(map(float, ticks(messages, 4))) < 0.95 * before
        (filled,) = {fields[4] for fields in messages if fields[0] == "3" and fields[2] == "Filled"}
        assert filled == "0"
        (price,) = {float(fields[20]) for fields in messages if fields[0] == "11"}
        assert price < 0.95 * before


@pytest.mark.asyncio
async def test_split_cancels_the_orders_and_doubles_the_position(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        client = await there.client()
        client.place(1, "BUY", 10, "MKT", contract=STOCK)
        await client.until(3, "Filled")
        client.place(2, "SELL", 10, "LMT", limit="900.00", tif="GTC", contract=STOCK)
        client.send(61, 1)
        await client.sync()
        there.world.set_fault("market.split", {"symbol": "AAPL", "numerator": 2})
        there.until(there.next_open_ns() + MINUTE_S * hours.SECOND_NS)
        messages = await client.sync()
        assert ("2", "202") in codes(messages)
        assert [fields[14] for fields in messages if fields[0] == "61"] == ["20"]


@pytest.mark.asyncio
async def test_dividend_pays_on_what_is_held(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        client = await there.client()
        client.place(1, "BUY", 10, "MKT", contract=STOCK)
        await client.until(3, "Filled")
        there.world.set_fault("market.dividend", {"symbol": "AAPL", "amount": 0.75})

        async def cash() -> float:
            client.send(6, 2, 1, "")
            rows = [fields for fields in await client.sync() if fields[:1] == ["6"]]
            client.send(6, 2, 0, "")
            return float(next(fields[3] for fields in rows if fields[2] == "TotalCashValue"))

        before = await cash()
        there.until(there.next_open_ns() + MINUTE_S * hours.SECOND_NS)
        assert await cash() == pytest.approx(before + 7.5)


@pytest.mark.asyncio
async def test_halts_and_gaps_outlive_a_restart(tmp_path: Path) -> None:
    mono = Mono()
    async with place(tmp_path, mono) as there:
        there.world.set_fault("market.gap", {"symbol": "SPY", "percent": 30.0})
        there.world.set_fault("market.halt", {"symbol": "AAPL"})
        there.go_on(10 * MINUTE_S)
        before = there.world.market.quote("SPY").last_micros
        quiet = there.world.market.quote("AAPL")
    mono.now_ns += 10**12
    async with place(tmp_path, mono) as there:
        market = there.world.market
        assert market.is_halted("AAPL")
        assert not market.is_halted("SPY")
        assert market.quote("AAPL") == quiet
        client = await watching(there)
        there.go_on(3 * MINUTE_S)
        assert market.quote("AAPL") == quiet
        assert market.quote("SPY").last_micros == pytest.approx(before, rel=0.05)
        client.place(1, "BUY", 1, "MKT", contract=STOCK)
        assert codes(await client.sync()) == [("1", "154")]
        there.world.set_fault("market.resume", {})
        there.go_on(2 * MINUTE_S)
        assert ticks(await client.sync(), 4)


@pytest.mark.parametrize("percent", [-95.0, 1_000.0])
def test_a_gap_beyond_reason_is_refused(tmp_path: Path, percent: float) -> None:
    there = Place(tmp_path, Mono())
    with pytest.raises(ConfigInvalid, match="give -90 to 900"):
        there.world.set_fault("market.gap", {"percent": percent})
    there.world.exchange.close()
    there.home.close()


def test_every_fault_of_the_market_is_shown_here() -> None:
    source = Path(__file__).read_text()
    assert [one.name for one in CATALOGUE if f'set_fault("market.{one.name}"' not in source] == []
