"""Two keys: each socket half of the symbols, one order of keys, no symbol lost with a socket."""

import contextlib

import pytest

from support.finnhub_double import ScriptedFinnhub, SinkLog, eventually, running, trade_frame
from support.ticks import Market
from tradebox.adapters.finnhub.pair import FinnhubPair
from tradebox.adapters.finnhub.stream import FinnhubStream, StreamTiming
from tradebox.ports.ticks import KEY_BITS, KeyedStream
from tradebox.supervision.clock import MonotonicClock

QUICK = StreamTiming(backoff_s_min=0.01, backoff_s_max=0.05)
MS = 1_300_000_000_000


@contextlib.asynccontextmanager
async def two():
    async with ScriptedFinnhub().running() as first, ScriptedFinnhub().running() as second:
        streams = [
            FinnhubStream(one.url, key, Market(), MonotonicClock(), timing=QUICK, symbols_max=3)
            for one, key in ((first, "key1"), (second, "key2"))
        ]
        yield first, second, FinnhubPair(*streams)


@pytest.mark.asyncio
async def test_each_key_has_one_socket_and_half_of_the_symbols():
    async with two() as (first, second, pair):
        sink = SinkLog()
        pair.want(["A", "B", "C", "D", "E"])
        assert pair.budget == 6
        assert isinstance(pair, KeyedStream)
        async with running(pair.run(sink)):
            await eventually(lambda: set(first.subscribed()) == {"A", "C", "E"})
            await eventually(lambda: set(second.subscribed()) == {"B", "D"})
            assert len(first.sockets) == len(second.sockets) == 1
            assert (first.paths[0], second.paths[0]) == ("/?token=key1", "/?token=key2")


@pytest.mark.asyncio
async def test_keys_rise_over_both_sockets():
    async with two() as (first, second, pair):
        sink = SinkLog()
        pair.want(["A", "B"])
        async with running(pair.run(sink)):
            await eventually(lambda: first.subscribed() and second.subscribed())
            await eventually(lambda: sink.connections == 2)
            for number in range(3):
                await first.send(trade_frame(("A", "1", MS + number, 1)))
                await eventually(lambda count=2 * number + 1: len(sink.all) == count)
                await second.send(trade_frame(("B", "2", MS + number, 1)))
                await eventually(lambda count=2 * number + 2: len(sink.all) == count)
            beside = pair.key()
    keys = [one.key for one in sink.all]
    assert keys == sorted(set(keys))
    assert keys == [(2 << KEY_BITS) + number for number in range(1, 7)]
    assert beside == keys[-1] + 1


@pytest.mark.asyncio
async def test_a_socket_that_is_refused_costs_no_symbol():
    async with two() as (first, second, pair):
        sink = SinkLog()
        pair.want(["A", "B"])
        async with running(pair.run(sink)):
            await eventually(lambda: first.subscribed() == ["A"])
            await eventually(lambda: second.subscribed() == ["B"])
            second.status = 503
            second.sockets[-1].transport.abort()
            await eventually(lambda: set(first.subscribed()) == {"A", "B"})
            assert sink.closes == []
            assert "vendor_socket_lost" in {kind for kind, _ in sink.notes}
            second.status = None
            await eventually(lambda: second.subscribed() == ["B"])
            await eventually(lambda: first.subscribed() == ["A"])
            first.status = second.status = 503
            first.sockets[-1].transport.abort()
            second.sockets[-1].transport.abort()
            await eventually(lambda: sink.closes)
