"""The client against the stand-in's Alpha Vantage: every kind of answer, quota, plans."""

import contextlib
import logging

import pytest

from support.sim_market import market_at
from tradebox.adapters.alphavantage.client import AlphaVantage, AlphaVantageLimits
from tradebox.adapters.alphavantage.times import close_ns, day_of
from tradebox.config import AlphaVantageSettings
from tradebox.errors import StoreUnavailable, VendorUnavailable
from tradebox.ports.ticks import BulkQuotePort, NoQuote, NoQuoteReason, Quote
from tradebox.sim.alphavantage.faults import alphavantage_faults
from tradebox.sim.alphavantage.server import AlphaVantage as StandIn
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.supervision.clock import MonotonicClock

NOON_NS = hours.session(5).open_ns + 150 * hours.MINUTE_NS
QUICK = AlphaVantageLimits(25, 10, gap_s=0.0, retry_s=0.0)
UNLIMITED = AlphaVantageLimits(0, 0, gap_s=0.0, retry_s=0.0)


class Quota:
    """QuotaPort in memory; it outlives the clients that use it."""

    def __init__(self):
        self.calls = {}
        self.is_down = False

    async def take(self, account, day, calls_max):
        if self.is_down:
            raise StoreUnavailable("away")
        used = self.calls.get((account, day), 0)
        if used >= calls_max:
            return False
        self.calls[account, day] = used + 1
        return True

    async def spend(self, account, day, calls):
        self.calls[account, day] = max(calls, self.calls.get((account, day), 0))

    async def used(self, account, day):
        return self.calls.get((account, day), 0)


class Desk:
    """A stand-in whose clock passes two seconds with each call, and clients of it."""

    def __init__(self):
        self.market, self.faults, self.quota = market_at(NOON_NS), alphavantage_faults(), Quota()
        self.now_s, self.asked, self.step_s = 0.0, [], 2.0
        self.handler = StandIn(self.market, "free", "premium", self.faults, self.time)
        self.clients = []

    def time(self):
        self.now_s += self.step_s
        return self.now_s

    def take(self, request):
        self.asked.append(request.query)
        return self.handler(request)

    def client(self, key="free", limits=QUICK, **fields):
        made = AlphaVantage(
            self.url, key, self.quota, self.market.clock, MonotonicClock(), limits=limits, **fields
        )
        self.clients.append(made)
        return made


@contextlib.asynccontextmanager
async def open_desk():
    desk = Desk()
    server = HttpServer("alphavantage", desk.take)
    host, port = await server.start()
    desk.url = f"http://{host}:{port}"
    try:
        yield desk
    finally:
        for client in desk.clients:
            await client.close()
        await server.stop()


@pytest.mark.asyncio
async def test_a_free_key_tells_closes_of_days_and_nothing_live():
    async with open_desk() as desk:
        client = desk.client()
        quote = await client.quote("AAPL")
        day, before = desk.market.bars("AAPL", 86_400, NOON_NS, 2)[::-1]
        assert quote == Quote(
            "AAPL",
            day.close_micros // 100 * 100,
            before.close_micros // 100 * 100,
            close_ns(str(hours.session(4).day)),
            is_eod=True,
        )
        assert client.at_once == 1
        assert await client.quote("AAPL") == quote
        assert len(desk.asked) == 1, "a day's close is asked for once"


@pytest.mark.asyncio
async def test_a_delayed_plan_is_a_quarter_of_an_hour_late_and_says_so():
    async with open_desk() as desk:
        quote = await desk.client("premium", UNLIMITED, plan="delayed").quote("AAPL")
        assert (quote.delay_s, quote.is_eod) == (900, False)
        assert quote.event_ns == NOON_NS - 900 * 10**9
        assert desk.asked[-1]["entitlement"] == "delayed"


@pytest.mark.asyncio
async def test_a_realtime_plan_asks_for_many_at_once_and_each_has_its_time():
    async with open_desk() as desk:
        client = desk.client("premium", UNLIMITED, plan="realtime")
        assert isinstance(client, BulkQuotePort)
        answers = await client.quotes(["AAPL", "NOPE", "SPY"])
        assert len(desk.asked) == 1
        assert [type(one) for one in answers] == [Quote, NoQuote, Quote]
        assert answers[1] == NoQuote("NOPE", NoQuoteReason.EMPTY)
        for one in (answers[0], answers[2]):
            assert (one.delay_s, one.is_eod) == (0, False)
            assert 0 <= NOON_NS - one.event_ns < 10**9
        assert isinstance(await client.quote("NFLX"), Quote)


@pytest.mark.asyncio
async def test_a_key_without_the_plan_gets_sample_prices_which_are_refused():
    async with open_desk() as desk:
        answer = await desk.client("free", UNLIMITED, plan="realtime").quote("AAPL")
        assert answer == NoQuote("AAPL", NoQuoteReason.FORBIDDEN)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("bad_key", NoQuoteReason.KEY_REFUSED),
        ("premium_only", NoQuoteReason.FORBIDDEN),
        ("invalid_call", NoQuoteReason.EMPTY),
        ("empty_quote", NoQuoteReason.EMPTY),
        ("blank_values", NoQuoteReason.EMPTY),
        ("burst_limit", NoQuoteReason.THROTTLED),
        ("day_spent", NoQuoteReason.THROTTLED),
        ("old_note", NoQuoteReason.THROTTLED),
    ],
)
@pytest.mark.asyncio
async def test_each_refusal_under_status_200_is_told_apart(fault, reason):
    async with open_desk() as desk:
        desk.faults.set(fault)
        answer = await desk.client().quote("AAPL")
        assert isinstance(answer, NoQuote)
        assert answer.reason is reason


@pytest.mark.parametrize(
    "fault", ["empty_object", "html_page", "server_error", "truncated", "wrong_symbol", "reset"]
)
@pytest.mark.asyncio
async def test_what_is_no_answer_is_a_fault(fault):
    async with open_desk() as desk:
        desk.faults.set(fault)
        with pytest.raises(VendorUnavailable):
            await desk.client().quote("AAPL")


@pytest.mark.asyncio
async def test_a_delayed_name_is_believed_whatever_the_plan():
    async with open_desk() as desk:
        desk.faults.set("delayed_suffix")
        assert (await desk.client().quote("AAPL")).delay_s == 900


@pytest.mark.asyncio
async def test_an_older_day_keeps_its_date():
    async with open_desk() as desk:
        desk.faults.set("stale_day", days=5)
        quote = await desk.client().quote("AAPL")
        assert quote.is_eod
        assert day_of(quote.event_ns) < str(hours.session(4).day)


@pytest.mark.asyncio
async def test_a_close_that_is_not_the_last_sessions_is_told_as_days_late():
    closed = hours.session(4).close_ns
    async with open_desk() as desk:
        fields = {"last_close_ns": lambda now_ns: closed if closed <= now_ns else None}
        last = await desk.client(**fields).quote("AAPL")
        desk.faults.set("stale_day", days=5)
        older = await desk.client(**fields).quote("AAPL")
    assert (last.is_eod, last.delay_s, last.event_ns) == (True, 0, closed)
    assert older.is_eod
    assert older.delay_s >= 86_400
    assert older.event_ns < last.event_ns


@pytest.mark.asyncio
async def test_a_half_days_close_is_its_own():
    async with open_desk() as desk:
        early_ns = close_ns(str(hours.session(4).day)) - 3 * 3600 * 10**9
        quote = await desk.client(last_close_ns=lambda _: early_ns).quote("AAPL")
    assert (quote.event_ns, quote.delay_s) == (early_ns, 0)


@pytest.mark.asyncio
async def test_one_call_too_many_is_tried_again_once():
    async with open_desk() as desk:
        desk.faults.set("burst_limit", count=1)
        assert isinstance(await desk.client().quote("AAPL"), Quote)
        assert list(desk.quota.calls.values()) == [2], "both calls were counted"


@pytest.mark.asyncio
async def test_twice_too_many_is_the_end_of_the_day_also_after_a_restart():
    async with open_desk() as desk:
        desk.faults.set("day_spent")
        first = desk.client(is_held=lambda _: True)
        assert (await first.quote("AAPL")).reason is NoQuoteReason.THROTTLED
        asked = len(desk.asked)
        desk.faults.clear()
        for client in (first, desk.client(is_held=lambda _: True)):
            assert (await client.quote("AAPL")).reason is NoQuoteReason.BUDGET
        assert len(desk.asked) == asked == 2, "nobody asked again"
        desk.market.clock.at_ns += 24 * 3600 * 10**9
        assert isinstance(await first.quote("AAPL"), Quote), "a new day begins"


@pytest.mark.asyncio
async def test_a_premium_plan_has_no_day_to_spend():
    async with open_desk() as desk:
        desk.faults.set("burst_limit", count=2)
        client = desk.client("premium", UNLIMITED, plan="delayed")
        assert (await client.quote("AAPL")).reason is NoQuoteReason.THROTTLED
        assert isinstance(await client.quote("AAPL"), Quote)
        assert desk.quota.calls == {}


@pytest.mark.asyncio
async def test_the_quota_outlives_restarts_and_its_last_calls_are_for_held_positions():
    async with open_desk() as desk:
        held = {"NFLX"}
        symbols = [f"S{number}" for number in range(20)]
        answers = [await desk.client(is_held=held.__contains__).quote(symbol) for symbol in symbols]
        refused = [one for one in answers if one.reason is NoQuoteReason.BUDGET]
        assert (len(desk.asked), len(refused)) == (15, 5)
        for _ in range(12):
            answer = await desk.client(is_held=held.__contains__).quote("NFLX")
        assert answer.reason is NoQuoteReason.BUDGET
        assert len(desk.asked) == 25
        assert list(desk.quota.calls.values()) == [25]
        assert answer.wait_s > 0


@pytest.mark.asyncio
async def test_what_cannot_be_counted_is_not_asked():
    async with open_desk() as desk:
        desk.quota.is_down = True
        assert (await desk.client().quote("AAPL")).reason is NoQuoteReason.BUDGET
        assert desk.asked == []


@pytest.mark.asyncio
async def test_calls_are_spaced():
    async with open_desk() as desk:
        desk.step_s = 0.0
        loop_s = MonotonicClock().now
        client = desk.client(limits=AlphaVantageLimits(25, 0, gap_s=0.05, retry_s=0.0))
        began = loop_s()
        for symbol in ("NOPE1", "NOPE2", "NOPE3"):
            await client._called({"symbol": symbol}, lambda _: {}, [symbol])
        assert loop_s() - began >= 0.1


@pytest.mark.asyncio
async def test_the_key_reaches_no_log(caplog):
    with caplog.at_level(logging.INFO):
        async with open_desk() as desk:
            await desk.client("s3cretkey").quote("AAPL")
            desk.faults.set("reset")
            with pytest.raises(VendorUnavailable) as raised:
                await desk.client("s3cretkey").quote("AAPL")
    assert "s3cretkey" not in caplog.text + str(raised.value) + repr(raised.value.fields)


def test_limits_follow_the_plan():
    assert AlphaVantageLimits.of(AlphaVantageSettings()) == AlphaVantageLimits(25, 10)
    assert AlphaVantageLimits.of(AlphaVantageSettings(plan="delayed")).calls_per_day == 0
