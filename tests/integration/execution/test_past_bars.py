"""A year of days over the order link: exact, dated, and nothing for an unknown stock."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from support.tws_bench import TwsBench
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.adapters.ibkr.orders import port as port_module
from tradebox.errors import BrokerUnavailable
from tradebox.sim.exchange.market_port import Bar
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio


def close_ns(day):
    moment = datetime(2025, 5, day, 16, tzinfo=ZoneInfo("America/New_York"))
    return int(moment.timestamp()) * 1_000_000_000


async def test_days_come_oldest_first_with_their_closes_and_an_unknown_stock_has_none():
    bench = await TwsBench(None).start()
    bench.market.bar_rows = [
        Bar(close_ns(day), 100_010_000, 102_500_000, 99_990_000, 101_230_000, 1_000 + day)
        for day in (28, 29, 30)
    ]
    port = IbOrderPort(*bench.address, 30, MonotonicClock())
    await port.connect(lambda _fact: None)
    try:
        bars = await port.daily_bars("AAPL", 5.0)
        assert [(bar.end_ns, bar.volume) for bar in bars] == [
            (close_ns(day), 1_000 + day) for day in (28, 29, 30)
        ]
        first = bars[0]
        corners = (first.open, first.high, first.low, first.close)
        assert corners == tuple(map(Decimal, ("100.01", "102.5", "99.99", "101.23")))
        assert (first.symbol, first.interval_s) == ("AAPL", 86_400)
        assert await port.daily_bars("NOSUCH", 5.0) == ()
        bench.market.bar_rows = []
        assert await port.daily_bars("AAPL", 5.0) == ()
    finally:
        port.close()
        await bench.stop()
    with pytest.raises(BrokerUnavailable):
        await port.daily_bars("AAPL", 5.0)


async def test_a_warning_about_a_question_does_not_answer_it():
    session = port_module._Session(lambda _fact: None, ZoneInfo("UTC"), lambda: None)
    answers = []

    def asked():
        session.reader.error(session._request_id, 2176, "sizes are whole shares")
        session.reader.historicalDataEnd(session._request_id, "", "")
        answers.append("sent")

    assert await session.ask("bars", asked, session.new_request_id()) == []
    assert answers == ["sent"]
