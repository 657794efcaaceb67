"""The quote link against the simulator's gateway: what streams, what is not live, what it survives.

No test waits for a time: the gateway's answers are polled with a deadline.
"""

from contextlib import asynccontextmanager

import pytest
from ib_async import MarketOrder

from support.finnhub_double import SinkLog, running
from support.scripted_market import OPEN_NS
from support.tws_bench import RawClient, TwsBench, eventually
from tradebox.adapters.ibkr.quotes import IbQuoteStream
from tradebox.adapters.ibkr.quotes.session import QuoteTiming
from tradebox.domain.market import Source
from tradebox.ports.ticks import KEY_BITS
from tradebox.supervision.clock import MonotonicClock

USD = 1_000_000
CLIENT_ID = 21
QUICK = QuoteTiming(
    look_s=0.02,
    settle_s=0.02,
    heartbeat_s=0.1,
    heartbeat_deadline_s=5.0,
    answer_s=5.0,
    refused_s=0.2,
    competing_s=0.2,
    backoff_s_min=0.01,
    backoff_s_max=0.05,
)

pytestmark = pytest.mark.asyncio


class World:
    """A gateway over a scripted market, and a quote stream on it."""

    def __init__(self, tws, **options):
        self.tws, self.sink = tws, SinkLog()
        options.setdefault("timing", QUICK)
        self.stream = IbQuoteStream(
            tws.address, CLIENT_ID, ClockView(tws.market), MonotonicClock(), rng=lambda: 0.5,
            **options,
        )  # fmt: skip

    @property
    def session(self):
        return self.stream._session

    async def want(self, *symbols):
        self.stream.want(symbols)
        await self.stream.apply()
        await eventually(lambda: self.streams() == set(symbols), f"{symbols} stream")

    def streams(self):
        """The symbols that the gateway streams to us."""
        return {
            each.symbol
            for each in self.tws.paper.streams.all()
            if each.session.client_id == CLIENT_ID
        }

    async def trade(self, price, *, symbol="AAPL", step_s=1):
        """Let a trade happen a second later and wait for the first tick behind it."""
        self.tws.market.clock.time_ns += step_s * 1_000_000_000
        before = len(self.sink.all)
        self.tws.market.print_trade(price, symbol=symbol)
        await eventually(lambda: len(self.sink.all) > before, f"a tick of {price}")
        return self.sink.all[before]

    async def refuses_to_trade(self, price, *, symbol="AAPL"):
        """Let a trade happen that must not become a tick; the gateway answers what came after."""
        before = len(self.sink.all)
        self.tws.market.print_trade(price, symbol=symbol)
        beat = self.session._heartbeat_at_s
        await eventually(
            lambda: self.session._heartbeat_at_s > beat and not self.session._is_heartbeat_due,
            "a heartbeat behind the trade",
        )
        assert self.sink.all[before:] == []

    def notes(self):
        return [kind for kind, _ in self.sink.notes]


class ClockView:
    """The market's clock as the port wants it."""

    speed = 1.0

    def __init__(self, market):
        self._clock = market.clock

    def now_ns(self):
        return self._clock.now_ns()


@asynccontextmanager
async def world(**options):
    tws = await TwsBench(None).start()
    tws.market.show(299.9, 300.1, symbol="MSFT", last=300.0)
    tws.market.show(49.95, 50.05, symbol="BRK", last=50.0)
    made = World(tws, **options)
    try:
        async with running(made.stream.run(made.sink)):
            await eventually(lambda: made.sink.connections, "the first connection")
            yield made
    finally:
        await tws.stop()


async def test_trades_come_with_the_brokers_time_and_its_quote():
    async with world() as it:
        await it.want("AAPL")
        it.tws.market.show(100.0, 100.02)
        first = await it.trade(100.01)
        second = await it.trade(100.02)
    assert (first.symbol, first.price_micros, first.source) == ("AAPL", 100_010_000, Source.IB)
    assert (first.bid_micros, first.ask_micros) == (100 * USD, 100_020_000)
    assert first.event_ns % 1_000_000_000 == 0
    assert OPEN_NS <= first.event_ns < second.event_ns <= second.recv_ns
    assert (first.delay_s, first.is_eod, first.is_quote) == (0, False, False)
    assert [one.key for one in it.sink.all] == [
        (1 << KEY_BITS) + n for n in range(1, len(it.sink.all) + 1)
    ]


async def test_a_quote_alone_carries_the_last_trade_and_makes_it_no_younger():
    async with world() as it:
        await it.want("AAPL")
        traded = await it.trade(100.01)
        it.tws.market.clock.time_ns += 60_000_000_000
        it.tws.market.show(99.5, 99.6, last=100.01)
        await eventually(lambda: it.sink.all[-1].is_quote, "a quote")
        quoted = it.sink.all[-1]
    assert quoted.event_ns == traded.event_ns
    assert quoted.recv_ns > traded.recv_ns
    assert (quoted.price_micros, quoted.bid_micros, quoted.ask_micros) == (
        traded.price_micros, 99_500_000, 99_600_000,
    )  # fmt: skip


async def test_live_data_alone_are_asked_for():
    async with world() as it:
        await it.want("AAPL")
        assert {one.data_type for one in it.tws.paper.sessions()} == {1}


async def test_what_the_gateway_delays_is_never_live():
    async with world() as it:
        it.tws.faults.set("delayed_data")
        await it.want("AAPL")
        await eventually(lambda: "ib_delayed" in it.notes(), "the note")
        it.tws.market.print_trade(100.01)
        it.tws.market.clock.time_ns += 16 * 60 * 1_000_000_000
        it.tws.market.print_trade(100.03)
        await eventually(lambda: it.sink.all, "a delayed tick")
        assert all(one.delay_s == 900 for one in it.sink.all)
        assert it.stream.figures.not_live == len(it.sink.all)
        it.tws.faults.clear("delayed_data")
        await eventually(
            lambda: not any(one.is_delayed for one in it.tws.paper.streams.all()), "asked anew"
        )
        assert (await it.trade(100.05)).delay_s == 0


@pytest.mark.parametrize("code", [354, 10168, 10089, 10186, 200])
async def test_a_refused_symbol_lets_another_have_its_line_and_is_asked_again(code):
    async with world(lines_max=1) as it:
        it.tws.faults.set("refuse_market_data", symbol="AAPL", code=code)
        it.stream.want(["AAPL", "MSFT"])
        await it.stream.apply()
        await eventually(lambda: it.streams() == {"MSFT"}, "the next one streams")
        assert it.notes()[0] in ("ib_not_subscribed", "ib_no_contract")
        it.tws.faults.clear("refuse_market_data")
        await eventually(lambda: it.streams() == {"AAPL"}, "the better one is back")


async def test_no_more_lines_are_asked_for_than_we_may_have():
    async with world(lines_max=2) as it:
        it.stream.want(["BRK", "AAPL", "MSFT"])
        await it.stream.apply()
        await eventually(lambda: it.streams() == {"BRK", "AAPL"}, "the first two")
        it.stream.want(["MSFT", "BRK", "AAPL"])
        await it.stream.apply()
        await eventually(lambda: it.streams() == {"MSFT", "BRK"}, "the new first two")


async def test_the_brokers_own_limit_brings_the_budget_down():
    async with world() as it:
        it.tws.faults.set("refuse_market_data", symbol="MSFT", code=101)
        it.stream.want(["AAPL", "BRK", "MSFT"])
        await it.stream.apply()
        await eventually(lambda: "symbol_budget" in it.notes(), "the note")
        assert it.stream.budget == 2
        it.tws.faults.clear("refuse_market_data")
        await it.trade(100.01)
        assert it.streams() == {"AAPL", "BRK"}


async def test_a_competing_session_is_said_and_tried_again():
    async with world() as it:
        await it.want("AAPL")
        it.tws.faults.set("competing_session")
        await eventually(lambda: "ib_competing" in it.notes(), "the note")
        await eventually(lambda: it.streams() == set(), "the line is given back")
        it.tws.faults.clear("competing_session")
        await eventually(lambda: it.streams() == {"AAPL"}, "asked again")
        assert (await it.trade(100.02)).price_micros == 100_020_000


@pytest.mark.parametrize("code", [1101, 1102])
async def test_a_gateway_without_its_broker_tells_nothing_until_it_is_back(code):
    async with world() as it:
        await it.want("AAPL")
        await it.trade(100.01)
        before = {one.request_id for one in it.tws.paper.streams.all()}
        it.tws.faults.set("link_loss", code=code)
        await eventually(lambda: it.sink.closes, "the cut is told")
        assert it.sink.closes[0][0].startswith("1100")
        await it.refuses_to_trade(50.0)
        it.tws.faults.clear("link_loss")
        await eventually(lambda: it.sink.connections == 2, "it is back")
        await eventually(
            lambda: (
                it.streams() == {"AAPL"}
                and (code == 1102)
                is (before == {one.request_id for one in it.tws.paper.streams.all()})
            ),
            "asked again where data were lost, and only there",
        )
        assert (await it.trade(100.02)).key >> KEY_BITS == 2


async def test_a_link_that_stays_lost_is_given_up():
    timing = QuoteTiming(look_s=0.02, link_lost_s_max=0.1, backoff_s_min=0.01, backoff_s_max=0.02)
    async with world(timing=timing) as it:
        it.tws.faults.set("notice", code=1100)
        await eventually(lambda: it.sink.connections > 1, "a new connection")
    assert "without its broker" in it.sink.closes[1][0]


async def test_a_data_farm_that_comes_back_is_asked_again():
    async with world() as it:
        await it.want("AAPL")
        before = {one.request_id for one in it.tws.paper.streams.all()}
        it.tws.faults.set("notice", code=2104)
        it.tws.faults.set("notice", code=2103)
        await eventually(lambda: "ib_farm" in it.notes(), "the note")
        assert before == {one.request_id for one in it.tws.paper.streams.all()}
        it.tws.faults.set("notice", code=2104)
        await eventually(
            lambda: {one.request_id for one in it.tws.paper.streams.all()} - before, "asked again"
        )
        await it.trade(100.01)


@pytest.mark.parametrize("fault", ["disconnect", "half_open"])
async def test_a_connection_that_ends_or_falls_silent_is_made_anew(fault):
    timing = QuoteTiming(
        look_s=0.02, heartbeat_s=0.05, heartbeat_deadline_s=0.3, backoff_s_min=0.01,
        backoff_s_max=0.05,
    )  # fmt: skip
    async with world(timing=timing) as it:
        await it.want("AAPL", "MSFT")
        it.tws.faults.set(fault, client_id=CLIENT_ID)
        await eventually(lambda: it.sink.closes, "the end is told")
        it.tws.faults.clear()
        await eventually(
            lambda: it.sink.connections >= 2 and it.streams() == {"AAPL", "MSFT"}, "all is back"
        )
        assert (await it.trade(100.01)).key >> KEY_BITS == it.sink.connections


async def test_a_client_id_in_use_is_said_and_tried_again():
    tws = await TwsBench(None).start()
    try:
        other = await RawClient.open(tws.address, CLIENT_ID)
        it = World(tws)
        async with running(it.stream.run(it.sink)):
            await eventually(lambda: "ib_client_id" in it.notes(), "the note")
            assert it.sink.connections == 0
            await other.close()
            await eventually(lambda: it.sink.connections == 1, "its turn")
    finally:
        await tws.stop()


@pytest.mark.parametrize("fault", ["refuse_connection", "mute_handshake"])
async def test_a_gateway_that_does_not_serve_us_is_tried_again(fault):
    tws = await TwsBench(None).start()
    try:
        tws.faults.set(fault)
        it = World(tws, timing=QuoteTiming(connect_s=0.3, backoff_s_min=0.01, backoff_s_max=0.02))
        async with running(it.stream.run(it.sink)):
            await eventually(lambda: len(it.sink.closes) > 1, "two attempts")
            tws.faults.clear()
            await eventually(lambda: it.sink.connections == 1, "the connection")
    finally:
        await tws.stop()


async def test_a_request_that_nothing_answers_is_made_again():
    timing = QuoteTiming(look_s=0.02, answer_s=0.2)
    async with world(timing=timing) as it:
        it.tws.faults.set("mute_request", message_id=1, count=1)
        await it.want("AAPL")
        await it.trade(100.01)


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-1", "0", "1e-9"])
async def test_a_price_that_is_none_becomes_no_tick(price):
    async with world() as it:
        await it.want("AAPL")
        await it.trade(100.01)
        it.tws.faults.set("bad_tick", price=price)
        await it.refuses_to_trade(100.05)
        it.tws.faults.clear("bad_tick")
        assert (await it.trade(100.07)).price_micros == 100_070_000


async def test_a_halt_is_said_and_stands_on_the_ticks():
    async with world() as it:
        await it.want("AAPL")
        await it.trade(100.01)
        it.tws.market.halt("AAPL")
        await eventually(lambda: "ib_halt" in it.notes(), "the note")
        await eventually(lambda: it.sink.all[-1].conditions == ("halted",), "the tick")
        it.tws.market.halt("AAPL", is_halted=False)
        await eventually(lambda: it.notes().count("ib_halt") == 2, "the end of it")
        await eventually(lambda: it.sink.all[-1].conditions == (), "the tick of the end")
        assert (await it.trade(100.02)).conditions == ()


FORBIDDEN = {
    "placeOrder 3": lambda link, stock: link.placeOrder(1, stock, MarketOrder("BUY", 100)),
    "cancelOrder 4": lambda link, _: link.cancelOrder(1),
    "reqGlobalCancel 58": lambda link, _: link.reqGlobalCancel(),
    "bytes": lambda link, _: link.conn.sendMsg(b"\0\0\0\x0558\x001\0"),
}


async def test_the_quote_link_cannot_write_an_order(tmp_path):
    """Each is tried on a connected link; the gateway's ledger keeps every order message's bytes."""
    tws = await TwsBench(tmp_path / "ledger.jsonl").start()
    try:
        it = World(tws)
        async with running(it.stream.run(it.sink)):
            await eventually(lambda: it.sink.connections, "the connection")
            await it.want("AAPL")
            stock = it.stream._contract("AAPL")
            for what, write in FORBIDDEN.items():
                with pytest.raises(AssertionError):
                    write(it.session.client, stock)
                assert (await it.trade(100.01)).price_micros, what
        heard = [row for row in tws.bench.ledger.rows() if row["kind"] == "message"]
        assert heard == []
        by_raw = await RawClient.open(tws.address, 5)
        by_raw.place(1, "BUY", 10, "MKT")
        await by_raw.until(5)
        await by_raw.close()
        heard = [row for row in tws.bench.ledger.rows() if row["kind"] == "message"]
        assert [row["message_id"] for row in heard] == [3], "the ledger sees what is written"
    finally:
        await tws.stop()
