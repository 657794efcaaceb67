"""Reads each wanted symbol's past daily bars from the broker into PostgreSQL, once a market day.

Rules of this file:
- volume limits and average true ranges need bars of closed days; the stand-in world brings its own,
  a real broker is asked, one symbol after another;
- who does not answer is asked again later; an answer without bars counts, and a person is told;
- a bar that cannot be true (check 20) is not kept: PostgreSQL would refuse its whole batch;
- a plan is not armed before its symbol was asked for: `PastBarBook.is_read`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tradebox.domain.bar_check import sound_bars
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Bar
from tradebox.domain.market_day import market_day
from tradebox.errors import BrokerUnavailable, StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.reference import ReferencePort
from tradebox.supervision.actor import Actor, Context

LOOK_S: Final = 0.5
RETRY_S: Final = 5.0
DEFECTS_TOLD: Final = 5

AskBars = Callable[[str], Awaitable[Sequence[Bar]]]
"""Takes a symbol, returns the daily bars of closed days. Raises BrokerUnavailable."""


class PastBarBook:
    """Who can be asked for past bars, and what was read for which day; outlives the actor.

    brokers: by the account's name; any one answers for all.
    Holds:   one day a symbol: what was read on an earlier day is not read for this one.
    """

    def __init__(self) -> None:
        self.brokers: dict[str, AskBars] = {}
        self._days: dict[str, str] = {}

    def is_read(self, symbol: str, now_ns: int) -> bool:
        """Say whether a symbol's bars were read on the market day of this time."""
        return self._days.get(symbol) == market_day(now_ns)

    def note(self, symbol: str, now_ns: int) -> None:
        """Take down that a symbol was read."""
        self._days[symbol] = market_day(now_ns)


class _Look:
    """To self: see what is not read yet."""


class PastBars(Actor[_Look]):
    """Fills the table of bars. wanted: the symbols that somebody trades or watches now."""

    mailbox_capacity = 4

    def __init__(
        self,
        book: PastBarBook,
        wanted: Callable[[], frozenset[str]],
        reference: ReferencePort,
        market_clock: MarketClock,
    ) -> None:
        self._book = book
        self._wanted = wanted
        self._reference = reference
        self._market_clock = market_clock

    async def init(self, ctx: Context) -> None:
        """Begin after the tree has gone on starting."""
        self._ctx = ctx
        ctx.send_after(LOOK_S, _Look())

    async def handle(self, msg: _Look) -> None:
        """Read one symbol, so that each answer is a sign of life."""
        del msg
        now_ns = self._market_clock.now_ns()
        waiting = sorted(one for one in self._wanted() if not self._book.is_read(one, now_ns))
        wait_s = LOOK_S
        if waiting:
            is_read = await self._read(waiting[0], now_ns)
            wait_s = RETRY_S if not is_read else LOOK_S if len(waiting) == 1 else 0.0
        self._ctx.send_after(wait_s, _Look())

    async def _read(self, symbol: str, now_ns: int) -> bool:
        bars = await self._ask(symbol)
        if bars is None:
            return False
        closed = [bar for bar in bars if bar.end_ns <= now_ns]
        sound, defects = sound_bars(closed)
        if defects:
            text = "; ".join(defects[:DEFECTS_TOLD])
            self._ctx.events.publish(AlertRaised("warning", "bar_refused", text, at_ns=now_ns))
        try:
            await self._reference.put_bars(sound, "broker")
        except StoreUnavailable:
            return False
        self._book.note(symbol, now_ns)
        if not closed:
            text = f"{symbol}: the broker told no daily bars: see docs/plans.md, past bars"
            self._ctx.events.publish(AlertRaised("warning", "no_past_bars", text, at_ns=now_ns))
        return True

    async def _ask(self, symbol: str) -> Sequence[Bar] | None:
        """Return the first broker's answer; None where nobody answered."""
        for ask in self._book.brokers.values():
            try:
                return await ask(symbol)
            except BrokerUnavailable:
                continue
        return None
