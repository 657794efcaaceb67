"""Volume and what is due are read once a market day, and again when the past bars have come."""

from decimal import Decimal

import pytest

from support.plan_bench import MarketTime, MemoryReference
from tradebox.domain.market import Bar
from tradebox.execution.symbol_facts import SymbolFacts

pytestmark = pytest.mark.asyncio


class CountingReference(MemoryReference):
    reads = 0

    async def bars(self, *asked, **named):
        self.reads += 1
        return await super().bars(*asked, **named)


def day(volume):
    price = Decimal(10)
    return Bar("AAPL", 86_400, 1, price, price, price, price, volume)


async def test_bars_that_come_late_are_read_and_then_no_more_that_day():
    reference, now_ns, came = CountingReference(), MarketTime().now_ns(), set()
    facts = SymbolFacts(lambda symbol, _now_ns: symbol in came)
    for _ in range(3):
        await facts.refresh(["AAPL"], reference, now_ns)
    assert (facts.day_volume("AAPL"), facts.ex_date("AAPL"), reference.reads) == (None, "", 1)
    came.add("AAPL")
    reference.bar_rows = (day(100), day(301))
    for _ in range(3):
        await facts.refresh(["AAPL"], reference, now_ns)
    assert (facts.day_volume("AAPL"), reference.reads) == (200, 2)


async def test_yesterdays_figures_stand_until_those_of_today_are_read():
    reference, now_ns, came = CountingReference(), MarketTime().now_ns(), {"AAPL"}
    reference.bar_rows = (day(100),)
    facts = SymbolFacts(lambda symbol, _now_ns: symbol in came)
    await facts.refresh(["AAPL"], reference, now_ns)
    tomorrow_ns = now_ns + 86_400_000_000_000
    came.clear()
    await facts.refresh(["AAPL"], reference, tomorrow_ns)
    assert facts.day_volume("AAPL") == 100
    came.add("AAPL")
    reference.bar_rows = (day(500),)
    await facts.refresh(["AAPL"], reference, tomorrow_ns)
    assert (facts.day_volume("AAPL"), facts.day_volume("MSFT")) == (500, None)
