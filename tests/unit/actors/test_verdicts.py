"""Verdicts on their way: counted or listed, bounded, kept while PostgreSQL is away."""

import asyncio
from types import SimpleNamespace

import pytest

from support.ticks import Market, tick
from tradebox.actors.verdicts import (
    COUNTED_KEYS_MAX,
    COUNTED_S,
    FORGET_S,
    ROWS_WAITING_MAX,
    SINGLE_EACH_MAX,
    SINGLE_ROWS_MAX,
    VerdictBook,
    VerdictWriter,
    _Flush,
)
from tradebox.domain.filter_values import Check, Judged, Verdict
from tradebox.domain.market import Quality
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import ManualClock
from tradebox.supervision.reasons import Shutdown

SPIKE = Judged(Verdict.HOLD, Check.SPIKE, Quality.SUSPECT)
ODD_LOT = Judged(Verdict.FLAG, Check.ODD_LOT, Quality.LIVE)
FUTURE = Judged(Verdict.DROP, Check.FUTURE, Quality.SUSPECT)
TWICE = Judged(Verdict.DROP, Check.DUPLICATE, Quality.SUSPECT)


class Table:
    """A verdict table that can be away."""

    def __init__(self):
        self.rows, self.batches, self.forgotten, self.is_up = [], [], 0, True

    async def write(self, rows):
        if not self.is_up:
            raise StoreUnavailable("PostgreSQL is away", reason="away")
        self.rows += rows
        self.batches.append(len(rows))

    async def forget(self, flag_days, refusal_days):
        assert (flag_days, refusal_days) == (2, 30)
        self.forgotten += 1
        return 7


class Bench:
    """A book, its writer and its table, with a clock set by hand."""

    def __init__(self):
        self.book, self.table, self.clock = VerdictBook(), Table(), ManualClock(0.0)
        self.received, self.alerts = 0, []
        self.renew()

    def renew(self):
        """A writer, as the supervisor makes another."""
        self.writer = VerdictWriter(self.book, self.table, Market(), received=lambda: self.received)
        events = SimpleNamespace(publish=self.alerts.append)
        ctx = SimpleNamespace(clock=self.clock, send_after=lambda *_: None, events=events)
        asyncio.run(self.writer.init(ctx))

    def pass_time(self, seconds=0.5):
        self.clock.advance(seconds)
        asyncio.run(self.writer.handle(_Flush()))


@pytest.fixture
def bench():
    return Bench()


def test_refusals_are_listed_and_flags_are_counted(bench):
    for n in range(5):
        bench.book.note(tick(100 + n, n), SPIKE)
        bench.book.note(tick(200 + n, n, symbol="QQQ"), ODD_LOT)
        bench.book.note(tick(300 + n, n), TWICE)
    bench.pass_time()
    assert [(row.check, row.price_micros, row.ticks) for row in bench.table.rows] == [
        ("spike", (100 + n) * 1_000_000, 1) for n in range(5)
    ]
    bench.pass_time(COUNTED_S)
    flags = {row.check: row for row in bench.table.rows[5:]}
    assert set(flags) == {"odd_lot", "duplicate"}
    odd = flags["odd_lot"]
    assert (odd.symbol, odd.ticks, odd.price_micros) == ("QQQ", 5, 204_000_000)
    assert odd.event_ns - odd.first_event_ns == 4_000_000_000
    assert (odd.verdict, odd.quality) == ("flag", "live")


def test_a_flood_of_refusals_is_counted_and_nothing_is_lost(bench):
    for n in range(SINGLE_ROWS_MAX + 500):
        bench.book.note(tick(100, n / 1000, symbol=f"S{n % 100}"), SPIKE)
    assert bench.book.waiting == bench.book.noted == SINGLE_ROWS_MAX + 500
    bench.pass_time(COUNTED_S)
    assert sum(row.ticks for row in bench.table.rows) == SINGLE_ROWS_MAX + 500
    assert len(bench.table.rows) == SINGLE_ROWS_MAX + 100
    assert max(bench.table.batches) <= 500
    assert bench.book.waiting == 0


def test_one_symbol_s_flood_is_listed_for_a_while_then_counted_until_the_minute_is_over(bench):
    for n in range(500):
        bench.book.note(tick(100, n / 1000), SPIKE)
        if n % 100 == 99:
            bench.pass_time()
    assert len(bench.table.rows) == SINGLE_EACH_MAX
    bench.pass_time(COUNTED_S)
    assert sum(row.ticks for row in bench.table.rows) == 500
    bench.book.note(tick(100, 9), SPIKE)
    bench.pass_time()
    assert bench.table.rows[-1].ticks == 1


def test_too_many_kinds_are_lost_and_said_so(bench):
    for n in range(COUNTED_KEYS_MAX + 3):
        bench.book.note(tick(100, symbol=f"S{n}"), ODD_LOT)
    assert (bench.book.lost, bench.book.waiting) == (3, COUNTED_KEYS_MAX)


def test_while_postgresql_is_away_rows_wait_bounded_and_then_come(bench):
    bench.table.is_up = False
    sent = 0
    while sent <= ROWS_WAITING_MAX + 1000:
        for n in range(1000):
            bench.book.note(tick(100, sent, symbol=f"S{n}"), SPIKE)
            sent += 1
        bench.pass_time()
    figures = bench.book.figures()
    assert figures["rows_waiting"] == ROWS_WAITING_MAX
    assert figures["rows_dropped"] == sent - ROWS_WAITING_MAX
    assert figures["failures"] > 0
    bench.table.is_up = True
    bench.pass_time()
    figures = bench.book.figures()
    assert (figures["rows_written"], figures["rows_waiting"]) == (ROWS_WAITING_MAX, 0)
    assert figures["rows_taken"] == figures["rows_written"] + figures["rows_dropped"]
    assert bench.table.rows[-1].event_ns == tick(100, sent - 1).event_ns


@pytest.mark.parametrize(("future", "alerts"), [(19, 0), (50, 0), (51, 1)])
def test_prices_from_the_future_are_an_alarm_when_they_are_many(bench, future, alerts):
    bench.received = 1000 if future > 19 else 20
    for n in range(future):
        bench.book.note(tick(100, n), FUTURE)
    bench.pass_time(COUNTED_S)
    assert [alert.kind for alert in bench.alerts] == ["vendor_clock"] * alerts
    bench.pass_time(COUNTED_S)
    assert len(bench.alerts) == alerts


def test_old_rows_are_forgotten_now_and_then(bench):
    bench.pass_time()
    bench.pass_time()
    assert bench.table.forgotten == 1
    bench.pass_time(FORGET_S)
    assert (bench.table.forgotten, bench.book.rows_forgotten) == (2, 14)


def test_an_ordered_end_writes_what_waits(bench):
    bench.book.note(tick(100), ODD_LOT)
    asyncio.run(bench.writer.terminate(Shutdown("stop")))
    assert len(bench.table.rows) == 1


def test_an_ordered_end_without_postgresql_counts_what_is_lost(bench):
    bench.table.is_up = False
    bench.book.note(tick(100), SPIKE)
    asyncio.run(bench.writer.terminate(Shutdown("stop")))
    assert bench.book.rows_dropped == 1


def test_a_restarted_writer_finds_what_waits(bench):
    bench.table.is_up = False
    bench.book.note(tick(100), SPIKE)
    bench.pass_time()
    bench.table.is_up = True
    bench.renew()
    bench.pass_time()
    assert [row.price_micros for row in bench.table.rows] == [100_000_000]
    figures = bench.book.figures()
    assert (figures["rows_taken"], figures["rows_written"], figures["failures"]) == (1, 1, 1)
