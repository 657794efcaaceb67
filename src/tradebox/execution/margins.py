"""What the broker says an entry would bind: asked by what-if orders, which place nothing.

Rules of this file:
- asked ahead of need, once per symbol, side and market day, one question at a time, when entries
  may be sent; an entry never waits for an answer: the gate assumes a share of its own till then;
- a what-if is no order: it has no row, no orderRef that counts, and the port alone sets its flag;
- an answer that is no number is no answer, and is not asked for again that day.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from tradebox.domain.market_day import market_day
from tradebox.domain.money import to_decimal
from tradebox.domain.orders import OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.errors import BrokerUnavailable
from tradebox.execution.order_link import OrderLink
from tradebox.execution.path_world import PathWorld
from tradebox.ports.orders import MarginFact, OrderTicket

SHARES: Final = 100
ANSWER_S_MAX: Final = 10.0
_Key = tuple[str, Side]


class Margins:
    """The initial margin of an account's symbols, as shares of the notional."""

    def __init__(self, link: OrderLink, world: PathWorld, take_order_id: Callable[[], int]) -> None:
        self._link = link
        self._world = world
        self._take_order_id = take_order_id
        self._day = ""
        self._shares: dict[_Key, Decimal] = {}
        self._asked: set[_Key] = set()
        self._open: tuple[int, _Key, Decimal] | None = None
        self._until_s = 0.0

    def share(self, symbol: str, side: Side) -> Decimal:
        """Return what the broker named, 0 where it was not asked or did not say."""
        return self._shares.get((symbol, side), Decimal(0))

    def ask_next(self, symbols: Iterable[str], sides: Iterable[Side]) -> None:
        """Ask for one that is not known today, if none is being asked and entries may be sent."""
        now_s, day = self._world.clock.now(), market_day(self._world.market_clock.now_ns())
        if day != self._day:
            self._day = day
            self._shares.clear()
            self._asked.clear()
        if self._open is not None and now_s < self._until_s:
            return
        self._open = None
        if not self._link.can_enter:
            return
        wanted = [(symbol, side) for symbol in symbols for side in sides]
        for key in wanted:
            if key not in self._asked and self._ask(key):
                self._until_s = now_s + ANSWER_S_MAX
                return

    def _ask(self, key: _Key) -> bool:
        symbol, side = key
        tick, instrument = self._world.prices.last(symbol), self._world.instrument(symbol)
        if tick is None or instrument is None:
            return False
        order_id = self._take_order_id()
        intent = OrderIntent(
            order_ref=f"whatif-{order_id:x}",
            plan_id="",
            account=self._link.identity.name,
            symbol=symbol,
            con_id=instrument.con_id,
            role=OrderRole.ENTRY,
            side=side,
            quantity=SHARES,
            order_type=OrderType.MARKET,
            tif=Tif.DAY,
        )
        ticket = OrderTicket(
            order_id, intent, self._link.account_id, instrument, SHARES, OrderType.MARKET, Tif.DAY,
            None, None, 0, transmit=True,
        )  # fmt: skip
        try:
            self._link.ask_margin(ticket)
        except BrokerUnavailable:
            return False
        self._asked.add(key)
        self._open = (order_id, key, to_decimal(tick.price_micros))
        return True

    def learn(self, fact: MarginFact) -> None:
        """Take an answer over."""
        if self._open is None or fact.order_id != self._open[0]:
            return
        (_, key, price), self._open = self._open, None
        if fact.initial_usd is not None and fact.initial_usd >= 0 and price > 0:
            self._shares[key] = fact.initial_usd / (price * SHARES)
