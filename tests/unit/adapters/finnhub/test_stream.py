"""The trade stream against a scripted server: order, reconnects, budget, silence, secrecy."""

import json
import logging

import pytest

from support.finnhub_double import ScriptedFinnhub, SinkLog, eventually, running, trade_frame
from support.ticks import Market
from tradebox.adapters.finnhub.stream import FinnhubStream, StreamTiming
from tradebox.config import FinnhubSettings
from tradebox.ports.ticks import KEY_BITS
from tradebox.supervision.clock import ManualClock, MonotonicClock

QUICK = StreamTiming(backoff_s_min=0.01, backoff_s_max=0.05, stable_s=60.0, silent_s_max=150.0)
KEY = "s3cret/key"
MS = 1_300_000_000_000


def stream_to(server, clock=None, **fields):
    fields = {"timing": QUICK, "rotating": 0, **fields}
    clock = MonotonicClock() if clock is None else clock
    return FinnhubStream(server.url, KEY, Market(), clock, rng=lambda: 0.5, **fields)


@pytest.mark.asyncio
async def test_ticks_come_stamped_in_wire_order():
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server), SinkLog()
        stream.want(["SPY", "AAPL"])
        async with running(stream.run(sink)):
            await eventually(lambda: server.subscribed() == ["SPY", "AAPL"])
            await server.send(
                trade_frame(("SPY", "130.5", MS, 10), ("AAPL", "46.000001", MS - 3, 5)),
                '{"type":"ping"}',
                "garbage",
                trade_frame(("SPY", "130.51", MS + 1, 7), ("SPY", "null", MS + 1, 7)),
            )
            await eventually(lambda: len(sink.all) == 3)
    assert [one.key for one in sink.all] == [(1 << KEY_BITS) + n for n in (1, 2, 3)]
    assert [one.price_micros for one in sink.all] == [130_500_000, 46_000_001, 130_510_000]
    assert all(one.recv_ns == Market().now_ns() for one in sink.all)
    assert all(batch.mono_ns > 0 for batch in sink.batches)
    assert (stream.figures.pings, stream.figures.malformed) == (1, 2)


@pytest.mark.asyncio
async def test_every_reconnect_asks_for_the_full_set_again():
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server), SinkLog()
        stream.want(["SPY", "AAPL"])
        async with running(stream.run(sink)):
            for round_number in range(1, 4):
                await eventually(lambda: server.subscribed() == ["SPY", "AAPL"])
                await server.send(trade_frame(("SPY", "1", MS, 1)))
                await eventually(lambda count=round_number: len(sink.all) == count)
                server.sockets[-1].transport.abort()
                await eventually(lambda count=round_number: sink.connections == count + 1)
    assert [one.key >> KEY_BITS for one in sink.all] == [1, 2, 3]
    assert len(sink.closes) >= 3


@pytest.mark.asyncio
async def test_an_orderly_close_is_answered_by_a_reconnect_too():
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server), SinkLog()
        async with running(stream.run(sink)):
            await eventually(lambda: server.sockets)
            await server.sockets[-1].close(1000)
            await eventually(lambda: sink.connections == 2)
    assert sink.closes[0][0] == "ConnectionClosedOK"


@pytest.mark.asyncio
async def test_wishes_change_while_connected():
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server, symbols_max=2), SinkLog()
        stream.want(["SPY", "AAPL", "MSFT"])
        async with running(stream.run(sink)):
            await eventually(lambda: server.subscribed() == ["SPY", "AAPL"])
            stream.want(["MSFT", "SPY", "AAPL"])
            await stream.apply()
            await eventually(lambda: sorted(server.subscribed()) == ["MSFT", "SPY"])
            stream.want([])
            await stream.apply()
            await eventually(lambda: server.subscribed() == [])
    await stream.apply()


@pytest.mark.asyncio
async def test_a_budget_error_gives_up_the_symbol_asked_for_last():
    async def refuse_third(socket, asked):
        if len(asked) == 3:
            await socket.send('{"type":"error","msg":"Subscribing to too many symbols"}')

    async with ScriptedFinnhub().running() as server:
        server.on_message = refuse_third
        stream, sink = stream_to(server), SinkLog()
        stream.want(["A", "B", "C"])
        async with running(stream.run(sink)):
            await eventually(lambda: sink.notes)
            assert stream.budget == 2
            assert list(stream._sent) == ["A", "B"]
            await server.send(trade_frame(("A", "1", MS, 1)))
            await eventually(lambda: sink.all)
    assert sink.notes[0][0] == "symbol_budget"


@pytest.mark.asyncio
async def test_silence_is_a_dead_socket():
    clock = ManualClock()
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server, clock), SinkLog()
        async with running(stream.run(sink)):
            await eventually(lambda: sink.connections == 1)
            clock.advance(100)
            await server.send('{"type":"ping"}')
            await eventually(lambda: stream.figures.pings == 1)
            clock.advance(149)
            assert sink.closes == []
            clock.advance(1)
            await eventually(lambda: sink.closes)
            clock.advance(1)
            await eventually(lambda: sink.connections == 2)
    assert sink.closes[0][0] == "silent"


@pytest.mark.asyncio
async def test_a_refused_key_waits_the_longest_time_and_says_so():
    async with ScriptedFinnhub().running() as server:
        server.status = 401
        stream, sink = stream_to(server), SinkLog()
        async with running(stream.run(sink)):
            await eventually(lambda: len(sink.closes) >= 2)
    assert sink.closes[0] == ("status 401", QUICK.backoff_s_max)
    assert sink.notes[0][0] == "vendor_key_refused"


@pytest.mark.asyncio
async def test_backoff_doubles_to_its_limit_and_starts_anew_after_a_stable_time():
    clock = ManualClock()
    async with ScriptedFinnhub().running() as server:
        server.status = 503
        timing = StreamTiming(backoff_s_min=1, backoff_s_max=60, stable_s=60)
        stream, sink = stream_to(server, clock, timing=timing), SinkLog()
        async with running(stream.run(sink)):
            for count in range(1, 9):
                await eventually(lambda count=count: len(sink.closes) == count)
                clock.advance(60)
            server.status = None
            await eventually(lambda: sink.connections == 1)
            clock.advance(61)
            server.sockets[-1].transport.abort()
            await eventually(lambda: len(sink.closes) == 9)
    waits = [retry_s for _, retry_s in sink.closes]
    assert waits[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert waits[8] == 0.5


@pytest.mark.asyncio
async def test_a_frame_beyond_a_mebibyte_ends_the_connection_and_nothing_else():
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server), SinkLog()
        async with running(stream.run(sink)):
            await eventually(lambda: server.sockets)
            await server.send(" " * (1 << 21))
            await eventually(lambda: sink.connections == 2)
    assert sink.all == []


@pytest.mark.asyncio
async def test_the_key_is_in_the_address_and_nowhere_else(caplog):
    caplog.set_level(logging.DEBUG)
    async with ScriptedFinnhub().running() as server:
        stream, sink = stream_to(server), SinkLog()
        async with running(stream.run(sink)):
            await eventually(lambda: server.sockets)
            server.status = 503
            server.sockets[-1].transport.abort()
            await eventually(lambda: len(sink.closes) >= 2)
    nobody = FinnhubStream("ws://127.0.0.1:9", KEY, Market(), MonotonicClock(), timing=QUICK)
    async with running(nobody.run(sink)):
        await eventually(lambda: len(sink.closes) >= 3)
    assert server.paths[0] == "/?token=s3cret%2Fkey"
    told = json.dumps([sink.closes, sink.notes])
    logged = [line.getMessage() for line in caplog.records if line.name != "websockets.server"]
    assert not [line for line in (told, *logged) if "s3cret" in line]


def test_reconnects_hurry_with_the_clock_and_silence_stays_real():
    timing = StreamTiming.of(FinnhubSettings(), speed=20)
    assert timing == StreamTiming(0.05, 3.0, 3.0, 150.0, 3.0)
    assert StreamTiming.of(FinnhubSettings(), speed=0.5) == StreamTiming()


@pytest.mark.asyncio
async def test_a_vendor_that_takes_far_fewer_keeps_as_many_as_it_takes():
    """Errors of what was asked for before must not bring new ones: the cap would fall to one."""
    taken, places = [], 10

    async def full(socket, asked):
        kind, symbol = asked[-1]
        if kind == "unsubscribe":
            taken[:] = [known for known in taken if known != symbol]
        elif len(taken) < places:
            taken.append(symbol)
        else:
            await socket.send('{"type":"error","msg":"Subscribing to too many symbols"}')

    clock = ManualClock()
    async with ScriptedFinnhub().running() as server:
        server.on_message = full
        stream, sink = stream_to(server, clock, symbols_max=45, rotating=5), SinkLog()
        stream.want([f"S{number:02d}" for number in range(60)])
        async with running(stream.run(sink)):
            await eventually(lambda: len(sink.notes) >= 35)
            clock.advance(5)
            await server.send('{"type":"ping"}')
            await eventually(lambda: stream.figures.pings == 1)
            await eventually(lambda: len(taken) == places and set(taken) == set(stream._sent))
            assert stream.budget == places
            assert {f"S{number:02d}" for number in range(5)} <= set(taken)
            assert len(sink.notes) == 35
