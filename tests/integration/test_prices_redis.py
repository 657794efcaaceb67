"""Prices to a real Valkey: fenced by epoch, conflated, healed after loss."""

import asyncio

import orjson
import pytest
import pytest_asyncio

from support.finnhub_double import eventually
from support.ticks import LIMITS, T0, Market, admitted
from tradebox.actors.feed_slot import AdmissionGate, Outcome
from tradebox.actors.market_hub import MarketHub
from tradebox.actors.publisher import Publisher
from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.client import make_client
from tradebox.adapters.redis.prices import EPOCH_KEY, RedisPrices, blob
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Quality, Source, Tick
from tradebox.errors import BusUnavailable
from tradebox.ports.bus import BusFenced, Published
from tradebox.ports.ticks import KEY_BITS
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.tree import Runtime


@pytest_asyncio.fixture
async def engine(redis_url):
    bus = RedisBus(redis_url)
    yield bus
    await bus.close()


@pytest_asyncio.fixture
async def raw(redis_url):
    client = make_client(redis_url)
    yield client
    await client.aclose()


@pytest.mark.asyncio
async def test_a_batch_is_one_blob_a_symbol_with_a_ttl(engine, raw):
    prices = RedisPrices(engine, ttl_ms=15_000)
    batch = [admitted("SPY", 130.55, seq=7, epoch=5), admitted("AAPL", 46, epoch=5)]
    assert await prices.publish(5, batch) == Published(2, was_empty=True)
    assert orjson.loads(await raw.get("md:q:SPY")) == {
        "s": "SPY",
        "p": 130_550_000,
        "v": 100,
        "e": T0,
        "r": T0,
        "src": "finnhub",
        "q": "live",
        "ep": 5,
        "n": 7,
    }
    assert 14_000 < await raw.pttl("md:q:SPY") <= 15_000
    assert 0 < await raw.pttl(EPOCH_KEY) <= 60_000
    assert await prices.publish(5, batch) == Published(2, was_empty=False)


@pytest.mark.asyncio
async def test_one_announcement_a_batch(engine, raw):
    prices = RedisPrices(engine)
    async with raw.pubsub() as listener:
        await listener.subscribe("md:t")
        batch = [admitted("SPY"), admitted("AAPL")]
        await prices.publish(1, batch)
        await prices.publish(1, [])
        await prices.publish(1, batch[:1])
        got = []

        async def listen():
            async for message in listener.listen():
                if message["type"] == "message":
                    got.append([one["s"] for one in orjson.loads(message["data"])])
                if len(got) == 2:
                    return

        await asyncio.wait_for(listen(), 10)
    assert got == [["SPY", "AAPL"], ["SPY"]]


@pytest.mark.asyncio
async def test_an_older_epoch_changes_nothing_any_more(engine, raw):
    largest = (1 << 52) - 1
    old, new = RedisPrices(engine), RedisPrices(engine)
    await old.publish(largest - 1, [admitted("SPY", 1)])
    await new.publish(largest, [admitted("SPY", 2)])
    refused = await old.publish(largest - 1, [admitted("SPY", 3), admitted("AAPL", 3)])
    assert refused == BusFenced(largest - 1, largest)
    assert orjson.loads(await raw.get("md:q:SPY"))["p"] == 2_000_000
    assert await raw.get("md:q:AAPL") is None


@pytest.mark.asyncio
async def test_a_flushed_server_is_noticed_and_a_lost_script_reloaded(engine, raw):
    prices = RedisPrices(engine)
    await prices.publish(4, [admitted()])
    await raw.delete(EPOCH_KEY)
    assert (await prices.publish(4, [])).was_empty
    prices._sha = "0" * 40
    assert await prices.publish(4, [admitted()]) == Published(1, was_empty=False)


@pytest.mark.asyncio
async def test_nobody_there_is_bus_unavailable(tmp_path):
    bus = RedisBus(f"unix://engine:x@{tmp_path}/nobody.sock")
    with pytest.raises(BusUnavailable):
        await RedisPrices(bus).publish(1, [admitted()])
    await bus.close()


# --- the publisher ------------------------------------------------------------------------------


class Flaky:
    """A real bus that can be taken away."""

    def __init__(self, prices):
        self.prices = prices
        self.is_away = False
        self.calls = 0

    async def publish(self, epoch, ticks):
        self.calls += 1
        if self.is_away:
            raise BusUnavailable("away")
        return await self.prices.publish(epoch, ticks)


class Path:
    """Gate, hub and publisher on a real bus."""

    def __init__(self, bus):
        self.market = Market()
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.gate = AdmissionGate(EpochGate(2, 0), self.hub.deliver)
        self.epoch = self.gate.acquire("feed_a")
        self.bus = bus
        self.key = 1 << KEY_BITS
        self.publishers = []

    def start(self):
        made = Publisher(self.bus, self.gate, self.hub, self.market, 0.01)
        self.publishers.append(made)
        return made

    def admit(self, symbol, price, at_ns):
        self.key += 1
        micros = price * 1_000_000
        one = Tick(symbol, micros, 1, at_ns, at_ns, Source.FINNHUB, self.key)
        self.gate.push(self.epoch, Outcome(one.source, one.key, one, Quality.LIVE, 0))


async def price_of(raw, symbol):
    found = await raw.get(f"md:q:{symbol}")
    return None if found is None else orjson.loads(found)["p"] // 1_000_000


async def shows(raw, symbol, price):
    for _ in range(2000):
        if await price_of(raw, symbol) == price:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{symbol} never showed {price}")


@pytest_asyncio.fixture
async def path(engine):
    made = Path(Flaky(RedisPrices(engine)))
    runtime = Runtime(MonotonicClock())
    made.events = []
    runtime.events.attach(object, made.events.append)
    await runtime.start(ChildSpec(id="publisher", start=made.start))
    yield made
    await runtime.stop()


@pytest.mark.asyncio
async def test_the_newest_of_each_symbol_goes_out(path, raw):
    for price in range(1, 101):
        path.admit("SPY", price, T0 + price)
        path.admit("AAPL", price + 1000, T0 + price)
    await shows(raw, "SPY", 100)
    await shows(raw, "AAPL", 1100)
    outbox = path.gate.outbox
    await eventually(lambda: outbox.committed == outbox.admitted == 200)
    assert path.hub.counters.published + outbox.conflated == 200


@pytest.mark.asyncio
async def test_a_dead_bus_costs_conflation_and_comes_back_with_the_newest(path, raw):
    path.admit("SPY", 1, T0)
    await shows(raw, "SPY", 1)
    path.bus.is_away = True
    calls = path.bus.calls
    for price in range(2, 50):
        path.admit("SPY", price, T0 + price)
    await eventually(lambda: path.bus.calls >= calls + 2)
    assert not path.publishers[0].is_up
    assert await price_of(raw, "SPY") == 1
    path.bus.is_away = False
    await shows(raw, "SPY", 49)
    assert path.gate.outbox.conflated >= 40


@pytest.mark.asyncio
async def test_after_a_flush_every_last_value_is_there_again(path, raw, stores):
    path.admit("SPY", 5, T0)
    path.admit("AAPL", 6, T0)
    await shows(raw, "AAPL", 6)
    stores.flush_redis()
    path.admit("AAPL", 7, T0 + 1)
    await shows(raw, "AAPL", 7)
    await shows(raw, "SPY", 5)


@pytest.mark.asyncio
async def test_a_newer_engine_silences_us_with_one_alert(path, raw, engine):
    path.admit("SPY", 5, T0)
    await shows(raw, "SPY", 5)
    await RedisPrices(engine).publish(path.epoch + 1, [admitted("SPY", 9)])
    calls = path.bus.calls
    path.admit("SPY", 6, T0 + 1)
    await eventually(lambda: path.bus.calls >= calls + 3)
    assert await price_of(raw, "SPY") == 9
    assert [one.kind for one in path.events if isinstance(one, AlertRaised)] == ["bus_fenced"]
    path.gate.acquire("feed_b")
    path.gate.acquire("feed_a")
    await shows(raw, "SPY", 6)


def test_a_blob_is_small():
    assert len(blob(admitted(epoch=(1 << 52) - 1))) < 220
