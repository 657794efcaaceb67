"""What one account's day looks like to the order gate: its money, its highest value, its losses.

Rules of this file:
- the broker streams the figures; PostgreSQL keeps what must outlive a restart: the value the day
  began with, the highest value, stops in a row, refusals, open risk;
- what could not be read is None, and the gate refuses it;
- every figure is in dollars: an account that is kept in another currency tells none.
"""

from decimal import Decimal
from typing import Final

from tradebox.domain.gate_values import USD
from tradebox.domain.market_day import market_day
from tradebox.domain.orders import AccountName
from tradebox.errors import StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.order_store import DaySeen, OrderStore
from tradebox.ports.orders import AccountValueFact
from tradebox.supervision.clock import Clock

_BASE: Final = "BASE"
"""What the broker calls the currency that an account is kept in, in some of its rows."""
_STORE_PERIOD_S: Final = 60.0


class AccountDay:
    """The account's own figures, as the broker streams them and the books remember them."""

    def __init__(
        self, account: AccountName, store: OrderStore, clock: Clock, market_clock: MarketClock
    ) -> None:
        self._account = account
        self._store = store
        self._clock = clock
        self._market_clock = market_clock
        self.currency: str | None = None
        """What the account is kept in; None before the broker told."""
        self.net_liquidation: Decimal | None = None
        self.cash: Decimal | None = None
        self.available: Decimal | None = None
        self.realised: Decimal | None = None
        self.open_risk = Decimal(0)
        self.day = ""
        self.day_start: Decimal | None = None
        self.peak: Decimal | None = None
        self.stops_in_row: int | None = None
        self.is_first_day: bool | None = None
        self.rejects = 0
        self._stored_s = float("-inf")

    def take(self, fact: AccountValueFact) -> None:
        """Take over one figure in USD."""
        if fact.tag == "NetLiquidation" and fact.currency not in ("", _BASE):
            self.currency = fact.currency
        if (self.currency if fact.currency == _BASE else fact.currency) != USD:
            return
        try:
            value = Decimal(fact.value)
        except ArithmeticError:
            return
        if not value.is_finite():
            return
        if fact.tag == "NetLiquidation":
            self.net_liquidation = value
            if self.peak is not None:
                self.peak = max(self.peak, value)
        elif fact.tag in ("TotalCashValue", "TotalCashBalance"):
            self.cash = value
        elif fact.tag == "AvailableFunds":
            self.available = value
        elif fact.tag == "RealizedPnL":
            self.realised = value

    async def start(self) -> None:
        """Read what the books know of this day; without PostgreSQL it stays unknown."""
        day = market_day(self._market_clock.now_ns())
        try:
            known = await self._store.day_so_far(self._account, day)
        except StoreUnavailable:
            return
        value = self.net_liquidation
        self.day_start = value if known.start_usd is None else known.start_usd
        peaks = [peak for peak in (known.peak_usd, self.day_start, value) if peak is not None]
        self.peak = max(peaks, default=None)
        self.stops_in_row, self.rejects = known.stops_in_row, known.rejects
        self.is_first_day = not known.has_traded_before
        if self.day_start is not None:
            self.day = day

    async def seen(self) -> DaySeen | None:
        """Return the row to store after a new figure, or None while none is due."""
        if self.net_liquidation is None:
            return None
        day = market_day(self._market_clock.now_ns())
        is_new = day != self.day
        if is_new:
            await self.start()
        now_s = self._clock.now()
        if day == self.day and not is_new and now_s - self._stored_s < _STORE_PERIOD_S:
            return None
        self._stored_s = now_s
        return self.row(day)

    def row(self, day: str | None = None) -> DaySeen | None:
        """Return the day as it is stored; None before the broker named a value."""
        if self.net_liquidation is None:
            return None
        return DaySeen(
            day=day or market_day(self._market_clock.now_ns()),
            net_liquidation_usd=self.net_liquidation,
            realised_usd=self.realised or Decimal(0),
            rejects=self.rejects,
            peak_usd=self.peak,
            open_risk_usd=self.open_risk,
            stops_in_row=self.stops_in_row or 0,
        )

    def plan_ended(self, *, by_stop: bool, won: bool) -> bool:
        """Count a plan that went flat; True if the count of stops in a row changed."""
        before = self.stops_in_row
        if by_stop and not won:
            self.stops_in_row = (before or 0) + 1
        elif won:
            self.stops_in_row = 0
        return self.stops_in_row != before

    def resume(self) -> None:
        """A person has looked: count from here."""
        self.stops_in_row, self.rejects, self.peak = 0, 0, self.net_liquidation
