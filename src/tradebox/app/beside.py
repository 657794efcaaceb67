"""What the active feed knows of a symbol beside its price: how wide its quote is, and a halt.

Rules of this file:
- a quote of the last minute says how wide a market is; where nobody quotes, the price is judged
  alone;
- a halt is believed while its teller is there: who is gone cannot say that it has ended.
"""

from decimal import Decimal
from typing import Final

from tradebox.actors.feed_slot import FeedMemory, FeedSlot
from tradebox.domain.market import Source
from tradebox.domain.tick_filter import is_halted
from tradebox.ports.clock import MarketClock

QUOTE_S_MAX: Final = 60
_NS_PER_S: Final = 1_000_000_000


class Beside:
    """Answers for both accounts; asked at each entry and exit, from the feed's memory."""

    def __init__(self, slot: FeedSlot, clock: MarketClock) -> None:
        self._slot = slot
        self._clock = clock

    def spread_share(self, symbol: str) -> Decimal | None:
        """Return ask minus bid, of their middle; 0 where nobody quotes, None without a feed.

        Units: QUOTE_S_MAX in seconds of the wall; market time passes faster in the simulator.
        """
        memory = self._memory()
        if memory is None:
            return None
        state = memory.states.get(symbol)
        quote = None if state is None else state.rest.shown
        if quote is None:
            return Decimal(0)
        limit_ns = QUOTE_S_MAX * _NS_PER_S * max(1.0, self._clock.speed)
        if self._clock.now_ns() - quote.recv_ns > limit_ns:
            return Decimal(0)
        return (
            2 * Decimal(quote.ask_micros - quote.bid_micros) / (quote.ask_micros + quote.bid_micros)
        )

    def is_halted(self, symbol: str) -> bool:
        """Say whether the broker's quotes tell of a halt, and are there to tell its end."""
        memory = self._memory()
        state = None if memory is None else memory.states.get(symbol)
        if memory is None or state is None:
            return False
        return is_halted(state) and memory.tiers.is_up(Source.IB)

    def _memory(self) -> FeedMemory | None:
        return self._slot.memories.get(self._slot.active or "")
