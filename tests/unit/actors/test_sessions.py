from decimal import Decimal

import pytest

from tradebox.actors.sessions import DAY_NS, InstrumentBook, SessionBook, SessionKeeper
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Instrument, Session
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import ManualClock
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.tree import Runtime


class MarketTime:
    speed = 1.0

    def __init__(self, now_ns):
        self.ns = now_ns

    def now_ns(self):
        return self.ns


class Reference:
    def __init__(self, rows):
        self.rows = rows
        self.is_up = True
        self.asked = 0

    async def sessions(self, venue, from_ns, until_ns):
        self.asked += 1
        if not self.is_up:
            raise StoreUnavailable("down")
        return tuple(row for row in self.rows if row.close_ns > from_ns and row.open_ns < until_ns)

    async def instruments(self):
        return (Instrument("SPY", 1, "ARCA", "USD", Decimal("0.01"), "SPDR"),)


def day(number, *, early=False):
    return Session("XNYS", str(number), number * DAY_NS + 10, number * DAY_NS + 20, early)


def test_hours_that_no_row_covers_are_unknown_not_closed():
    book = SessionBook()
    assert book.is_open(5) is None
    book.rows = (day(1), day(2))
    assert book.is_open(DAY_NS + 15) is True
    assert book.is_open(DAY_NS + 25) is False
    assert book.is_open(DAY_NS + 9) is None
    assert book.is_open(2 * DAY_NS + 21) is None
    assert book.next_close_ns(DAY_NS + 25) == 2 * DAY_NS + 20
    assert book.last_close_ns(2 * DAY_NS + 15) == DAY_NS + 20
    assert book.last_close_ns(DAY_NS + 15) is None
    assert book.last_close_ns(2 * DAY_NS + 21) is None


@pytest.mark.asyncio
async def test_the_keeper_retries_until_rows_are_there_and_keeps_them_when_the_store_goes():
    clock, book, reference = ManualClock(), SessionBook(), Reference([])
    market, instruments = MarketTime(3 * DAY_NS + 15), InstrumentBook()
    runtime = Runtime(clock)
    alerts = runtime.events.subscribe(AlertRaised)
    spec = ChildSpec(id="root", start=lambda: SessionKeeper(book, instruments, reference, market))
    await runtime.start(spec)
    await clock.run_for(2)
    assert book.is_open(market.ns) is None
    assert reference.asked >= 3
    reference.rows = [day(number) for number in range(1, 6)]
    await clock.run_for(1)
    assert book.is_open(market.ns) is True
    assert [alert.kind for alert in alerts.drain()] == ["session_horizon"]
    assert instruments.get("SPY").con_id == 1
    assert instruments.get("QQQ") is None
    reference.is_up = False
    await clock.run_for(61)
    assert book.is_open(market.ns) is True
    await runtime.stop()
