"""The calendar of splits on its way to the feeds."""

import asyncio
from datetime import date
from types import SimpleNamespace

import pytest

from support.ticks import Market
from tradebox.actors.split_keeper import SplitKeeper, _Look, day_of, known_split
from tradebox.errors import StoreUnavailable
from tradebox.ports.splits import SplitRow

S, HOUR_S = 1_000_000_000, 3600
MIDNIGHT_S = 1_795_478_400  # 2026-11-24, UTC
ROW = SplitRow("NVDA", date(2026, 11, 24), 4, 1, "person")


class Calendar:
    """A calendar that can be away."""

    def __init__(self):
        self.is_up, self.asked = True, []

    async def splits(self, from_day, until_day):
        if not self.is_up:
            raise StoreUnavailable("PostgreSQL is away", reason="away")
        self.asked.append(from_day)
        return [ROW] if from_day <= ROW.day <= until_day else []


@pytest.fixture
def keeper():
    calendar, market, told = Calendar(), Market(MIDNIGHT_S * S), []
    made = SplitKeeper(calendar, market, lambda *one: told.append(one))
    box = []
    ctx = SimpleNamespace(ref=SimpleNamespace(tell=box.append), send_after=lambda *_: None)
    asyncio.run(made.init(ctx))
    assert len(box) == 1

    def look(hour):
        market.ns = (MIDNIGHT_S + round(hour * HOUR_S)) * S
        told.clear()
        asyncio.run(made.handle(_Look()))
        return list(told)

    return SimpleNamespace(look=look, calendar=calendar)


def test_a_split_is_told_on_its_day_in_new_york_and_again_at_each_look(keeper):
    assert keeper.look(3.9) == []
    for hour in (4, 14.5, 27.9):
        [(symbol, split)] = keeper.look(hour)
        assert (symbol, split[:2]) == ("NVDA", (4, 1))
    assert keeper.look(28) == []


def test_a_split_counts_within_its_day():
    split = known_split(ROW)
    assert split.from_ns == (MIDNIGHT_S + 4 * HOUR_S) * S
    assert split.until_ns - split.from_ns == 24 * HOUR_S * S
    assert day_of(split.from_ns) == ROW.day
    assert day_of(split.until_ns - 1) == ROW.day


def test_without_postgresql_nothing_is_told_and_it_is_asked_again(keeper):
    keeper.calendar.is_up = False
    assert keeper.look(14) == []
    keeper.calendar.is_up = True
    assert len(keeper.look(14)) == 1
