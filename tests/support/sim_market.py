"""The shipped market on a clock that a test moves by hand."""

from dataclasses import dataclass

from tradebox.sim.exchange.market_port import MarketEvent, Trade
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.market.market import Market
from tradebox.sim.market.replay import Replay

SYMBOLS = ("SPY", "AAPL", "NFLX")


@dataclass
class HandClock:
    """Market time that stands where it was put."""

    at_ns: int

    def now_ns(self) -> int:
        return self.at_ns

    def is_open(self, now_ns: int, /) -> bool:
        return hours.is_open(now_ns)

    def is_tradable(self, now_ns: int, /) -> bool:
        return hours.is_tradable(now_ns)

    def next_change_ns(self, at_ns: int, /) -> int:
        return hours.next_change_ns(at_ns)


def market_at(at_ns: int, seed: int = 1, symbols: tuple[str, ...] = SYMBOLS) -> Market:
    """Return a market that has begun at a time."""
    market = Market(Replay(load().only(symbols), seed), HandClock(at_ns))
    market.begin(at_ns)
    return market


def run(market: Market, until_ns: int) -> list[MarketEvent]:
    """Move the clock and the market, in small steps; return what was delivered."""
    events: list[MarketEvent] = []
    end = market.subscribe(events.append)
    market.clock.at_ns = until_ns
    while not market.advance(until_ns, 7):
        pass
    end()
    return events


def trades(events: list[MarketEvent]) -> list[Trade]:
    return [event for event in events if isinstance(event, Trade)]
