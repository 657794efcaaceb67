"""Prices to a real Valkey: fenced by epoch, conflated, healed after loss."""

import asyncio
from dataclasses import replace

import orjson
import pytest
import pytest_asyncio

from support.finnhub_double import eventually
from support.stores import redis_command
from support.ticks import LIMITS, T0, Market, admitted
from tradebox.actors.feed_slot import AdmissionGate, Outcome
from tradebox.actors.market_hub import MarketHub
from tradebox.actors.publisher import EVENTS_MAX, Publisher
from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.client import make_client
from tradebox.adapters.redis.follower import PriceFollower
from tradebox.adapters.redis.prices import EPOCH_KEY, RedisPrices, blob
from tradebox.domain.events import AlertRaised, PriceSourceChanged, ProviderChanged
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
        "t": 1,
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
    prices._shas = dict.fromkeys(prices._shas, "0" * 40)
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

    async def log(self, epoch, events):
        if self.is_away:
            raise BusUnavailable("away")
        return await self.prices.log(epoch, events)


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
    made.events, made.publish = [], runtime.events.publish
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
async def test_what_waited_for_a_dead_bus_until_it_was_old_is_not_told_as_live(path, raw):
    path.admit("SPY", 1, T0)
    await shows(raw, "SPY", 1)
    path.bus.is_away = True
    path.admit("SPY", 2, T0 + 1)
    calls = path.bus.calls
    await eventually(lambda: path.bus.calls >= calls + 2)
    path.market.ns = T0 + 2 + LIMITS.stale_ns_max
    path.bus.is_away = False
    await shows(raw, "SPY", 2)
    assert orjson.loads(await raw.get("md:q:SPY"))["q"] == "stale"


@pytest.mark.asyncio
async def test_a_print_that_is_behind_never_replaces_a_newer_one(path, raw):
    path.admit("SPY", 5, T0 + 9)
    await shows(raw, "SPY", 5)
    path.admit("SPY", 4, T0 + 8)
    path.admit("AAPL", 6, T0)
    await shows(raw, "AAPL", 6)
    assert await price_of(raw, "SPY") == 5
    assert path.gate.outbox.behind == 1


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


# --- ages, events, followers -------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_polled_price_lives_longer_than_a_streams(engine, raw):
    polled = replace(admitted("AAPL", 46), source=Source.YAHOO)
    await RedisPrices(engine, ttl_ms=15_000).publish(1, [admitted("SPY"), polled])
    assert 14_000 < await raw.pttl("md:q:SPY") <= 15_000
    assert 85_000 < await raw.pttl("md:q:AAPL") <= 90_000


async def quality_of(raw, symbol):
    found = await raw.get(f"md:q:{symbol}")
    return None if found is None else orjson.loads(found)["q"]


@pytest.mark.asyncio
async def test_a_price_that_ages_goes_out_once_more_saying_so(path, raw):
    path.market.ns = T0
    path.admit("SPY", 7, T0)
    await shows(raw, "SPY", 7)
    assert await quality_of(raw, "SPY") == "live"
    path.market.ns = T0 + 60_000_000_000
    for _ in range(2000):
        if await quality_of(raw, "SPY") == "stale":
            break
        await asyncio.sleep(0.005)
    else:
        raise AssertionError("it never said so")
    assert path.publishers[0].batches < 10, "it is said once, not each period"


@pytest.mark.asyncio
async def test_events_are_kept_in_order_while_the_bus_is_away(path, raw):
    path.admit("SPY", 1, T0)
    await shows(raw, "SPY", 1)
    path.bus.is_away = True
    for place in range(5):
        path.publish(PriceSourceChanged("SPY", None, Source.YAHOO, "first", place))
    path.bus.is_away = False
    for _ in range(2000):
        if await raw.xlen("md:ev") >= 5:
            break
        await asyncio.sleep(0.005)
    told = [orjson.loads(fields[b"e"]) for _, fields in await raw.xrange("md:ev")]
    assert [one["at_ns"] for one in told] == list(range(5))
    assert {one["k"] for one in told} == {"price_source_changed"}
    assert {one["ep"] for one in told} == {path.epoch}
    assert 0 < await raw.pttl("md:ev") <= 7 * 86_400_000


@pytest.mark.asyncio
async def test_events_that_wait_too_long_are_dropped_oldest_first_and_counted(path, raw):
    path.bus.is_away = True
    for place in range(EVENTS_MAX + 3):
        path.publish(ProviderChanged(Source.YAHOO, "open", place))
    path.bus.is_away = False
    book = path.publishers[0].events
    await eventually(lambda: book.written == EVENTS_MAX)
    assert book.dropped == 3
    assert book.taken == book.written + book.dropped
    _, fields = (await raw.xrange("md:ev", count=1))[0]
    assert orjson.loads(fields[b"e"])["at_ns"] == 3


@pytest.mark.asyncio
async def test_a_deposed_writer_logs_nothing(engine, raw):
    prices = RedisPrices(engine)
    await prices.publish(9, [admitted(epoch=9)])
    assert await prices.log(8, [b"{}"]) == BusFenced(8, 9)
    assert await raw.xlen("md:ev") == 0


class Reader:
    """A follower in a task of its own."""

    def __init__(self, url, symbols):
        self.seen = []
        self.follower = PriceFollower(url, symbols, MonotonicClock(), self.seen.append)
        self.task = asyncio.create_task(self.follower.run())

    def price(self, symbol):
        found = self.follower.prices.get(symbol)
        return None if found is None else found["p"] // 1_000_000

    async def stop(self):
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@pytest.mark.asyncio
async def test_a_follower_that_comes_late_catches_up_and_goes_on(path, raw, redis_console_url):
    path.admit("SPY", 7, T0)
    await shows(raw, "SPY", 7)
    reader = Reader(redis_console_url, ["SPY", "AAPL"])
    await eventually(lambda: reader.price("SPY") == 7)
    path.admit("AAPL", 9, T0)
    path.admit("SPY", 8, T0 + 1)
    await eventually(lambda: (reader.price("SPY"), reader.price("AAPL")) == (8, 9))
    assert reader.follower.resyncs == 1
    await reader.stop()


@pytest.mark.asyncio
async def test_a_follower_that_was_cut_off_resyncs(path, raw, redis_console_url, stores):
    reader = Reader(redis_console_url, ["SPY"])
    path.admit("SPY", 7, T0)
    await eventually(lambda: reader.price("SPY") == 7)
    redis_command(stores.home, "CLIENT", "KILL", "USER", "console")
    path.admit("SPY", 8, T0 + 1)
    await eventually(lambda: reader.follower.resyncs >= 2)
    await eventually(lambda: reader.price("SPY") == 8)
    numbers = [(one["ep"], one["n"]) for one in reader.seen]
    assert numbers == sorted(set(numbers))
    await reader.stop()


@pytest.mark.asyncio
async def test_a_reader_that_stops_is_cut_off_at_a_bound_and_costs_nobody_a_price(
    engine, redis_console_url, stores
):
    symbols = [f"S{number:02d}" for number in range(50)]
    limit = ("CONFIG", "SET", "client-output-buffer-limit")
    deaf = make_client(redis_console_url, name="deaf", answer_s_max=None)
    reader, prices = Reader(redis_console_url, symbols), RedisPrices(engine)
    listener = deaf.pubsub()
    redis_command(stores.home, *limit, "pubsub 64kb 0 0")
    try:
        await listener.subscribe("md:t")
        await eventually(lambda: reader.follower.resyncs == 1)
        written = 0

        def is_cut_off():
            return b"name=deaf" not in redis_command(stores.home, "CLIENT", "LIST")

        assert not is_cut_off()
        while not is_cut_off():
            for _ in range(20):
                written += 1
                batch = [admitted(one, written, seq=written, epoch=5) for one in symbols]
                assert isinstance(await prices.publish(5, batch), Published)
            await eventually(lambda upto=written: {*map(reader.price, symbols)} == {upto})
            assert written < 2000, "nobody cuts off who reads nothing"
        assert reader.follower.resyncs == 1
        assert len(reader.seen) == written * len(symbols), "the one that reads has missed none"
    finally:
        redis_command(stores.home, *limit, "pubsub 32mb 8mb 60")
        await listener.aclose()
        await deaf.aclose()
        await reader.stop()
