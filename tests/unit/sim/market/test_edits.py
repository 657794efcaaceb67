"""Price gaps and halts: what is delivered, what the past says, and what a restart knows."""

from itertools import pairwise
from random import Random

import pytest

from tradebox.sim.exchange.market_port import Trade
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.market.edits import Edits
from tradebox.sim.market.market import Market
from tradebox.sim.market.paths import fold
from tradebox.sim.market.replay import Replay

DATA = load().only(("AAPL", "SPY"))
FIRST = hours.session(0)


class Clock:
    def __init__(self) -> None:
        self.time_ns = FIRST.open_ns

    def now_ns(self) -> int:
        return self.time_ns

    def is_open(self, now_ns: int) -> bool:
        return hours.is_open(now_ns)

    def is_tradable(self, now_ns: int) -> bool:
        return hours.is_tradable(now_ns)

    def next_change_ns(self, at_ns: int) -> int:
        return hours.next_change_ns(at_ns)


def market_with(seen: list[Trade], replay: Replay | None = None) -> Market:
    market = Market(replay or Replay(DATA, 5), Clock())
    market.begin(FIRST.open_ns)

    def keep(event: object) -> None:
        if isinstance(event, Trade) and event.symbol == "AAPL":
            seen.append(event)

    market.subscribe(keep)
    return market


def advance(market: Market, until_s: float) -> int:
    """Advance to so many seconds after the open, some of it prepared ahead."""
    until_ns = FIRST.open_ns + round(until_s * hours.SECOND_NS)
    market.clock.time_ns = until_ns
    while not market.advance(until_ns, 50):
        market.prepare()
    market.prepare()
    return until_ns


@pytest.mark.parametrize("seed", range(6))
def test_what_is_delivered_is_what_the_past_says_and_folds_to_its_bars(seed: int) -> None:
    dice, seen = Random(seed), list[Trade]()
    market = market_with(seen)
    at_s = 0.0
    for _ in range(12):
        at_s += dice.uniform(0.0, 200.0)
        advance(market, at_s)
        match dice.randrange(3):
            case 0:
                market.halt("AAPL")
            case 1:
                market.resume("AAPL")
            case _:
                market.gap("AAPL", dice.choice((900_000, 1_100_000, 1_001_000)))
    end_ns = advance(market, at_s // 60 * 60 + 120)
    told = market.ticks("AAPL", FIRST.open_ns - 1, end_ns, 10**5)
    assert [tick.trade for tick in told] == seen
    bars = [one for one in market.bars("AAPL", 60, end_ns, 100) if one.end_ns > FIRST.open_ns]
    prices = [(bar.open_micros, bar.high_micros, bar.low_micros, bar.close_micros) for bar in bars]
    for bar, four in zip(bars, prices, strict=True):
        inside = [one for one in seen if bar.end_ns - hours.MINUTE_NS <= one.event_ns < bar.end_ns]
        made = [one.price_micros for one in inside]
        assert four == (made[0], max(made), min(made), made[-1])
        assert bar.volume == sum(one.size for one in inside)
    assert sum(bar.volume for bar in bars) == sum(one.size for one in seen)


def test_nothing_of_a_halt_happens_and_the_other_symbols_go_on() -> None:
    seen, told = list[Trade](), list[str]()
    market = market_with(seen)
    market.listen_halts(told.append)
    begin_ns = advance(market, 100)
    assert market.halt("AAPL")
    assert not market.halt("AAPL")
    end_ns = advance(market, 400)
    assert market.is_halted("AAPL")
    assert not market.is_halted("SPY")
    assert seen
    assert max(one.event_ns for one in seen) <= begin_ns
    assert market.ticks("SPY", begin_ns, end_ns, 10)
    assert market.resume("AAPL")
    assert not market.resume("AAPL")
    advance(market, 700)
    assert min(one.event_ns for one in seen if one.event_ns > begin_ns) > end_ns
    assert told == ["AAPL", "AAPL"]


def test_a_gap_lasts_over_the_days_and_is_in_their_bars() -> None:
    plain, market = market_with([]), market_with([])
    for one in (plain, market):
        advance(one, 3_000)
    market.gap("AAPL", 1_500_000)
    for one in (plain, market):
        one.clock.time_ns = hours.session(4).open_ns
    before, after = (one.bars("AAPL", 86_400, 2**62, 4) for one in (plain, market))
    assert len(before) == len(after) == 4
    for old, new in zip(before[1:], after[1:], strict=True):
        assert new.close_micros == pytest.approx(1.5 * old.close_micros, abs=10_000)
    assert before[0].open_micros == after[0].open_micros
    assert after[0].close_micros == pytest.approx(1.5 * before[0].close_micros, abs=10_000)


def test_a_replay_with_the_same_edits_is_the_same_market() -> None:
    seen = list[Trade]()
    market = market_with(seen)
    advance(market, 90)
    market.gap("AAPL", 970_000)
    advance(market, 130)
    market.halt("AAPL")
    replay = Replay(DATA, 5)
    replay.edits["AAPL"] = Edits([*market._replay.edits["AAPL"].gaps], [(market.present_ns, 2**62)])
    again = Market(replay, market.clock)
    again.begin(market.present_ns)
    assert again.is_halted("AAPL")
    assert again.quote("AAPL") == market.quote("AAPL")
    assert again.day("AAPL").volume == market.day("AAPL").volume
    more = list[Trade]()
    again.subscribe(lambda event: more.append(event) if isinstance(event, Trade) else None)
    for one in (market, again):
        advance(one, 300)
    assert not [trade for trade in more if trade.symbol == "AAPL"]
    assert [trade for trade in more if trade.symbol == "SPY"]


def test_ticks_are_the_oldest_or_the_latest_and_never_of_the_future() -> None:
    market = market_with([])
    end_ns = advance(market, 300)
    begin_ns = FIRST.open_ns - 1
    every = market.ticks("AAPL", begin_ns, 2**62, 10**5)
    assert every
    assert all(older.trade.event_ns < newer.trade.event_ns for older, newer in pairwise(every))
    assert every[-1].trade.event_ns <= end_ns
    assert market.ticks("AAPL", begin_ns, 2**62, 3) == every[:3]
    assert market.ticks("AAPL", 0, 2**62, -3) == every[-3:]
    middle_ns = every[len(every) // 2].trade.event_ns
    assert market.ticks("AAPL", middle_ns, 2**62, 2)[0].trade.event_ns > middle_ns
    assert market.ticks("AAPL", 0, middle_ns, -1)[0].trade.event_ns == middle_ns
    assert market.ticks("AAPL", 5, 4, 9) == market.ticks("NONE", 0, 2**62, 9) == []
    assert fold([_corner(one) for one in every]).close == every[-1].trade.price_micros


def _corner(tick):
    from tradebox.sim.market.paths import Corners

    price = tick.trade.price_micros
    return Corners(price, price, price, price, tick.trade.size)
