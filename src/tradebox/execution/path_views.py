"""What the order gate, the plans and the status screen see of one account, read from its books.

Rules of this file:
- read only; what is not known is None, and the gate refuses it;
- gross is computed from books and orders at each look, and so is the open risk of a plan whenever
  its orders, fills or stop changed: it stands before every entry, and plans are many.
"""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from tradebox.domain.events import PositionChanged
from tradebox.domain.gate_values import AccountView, PriceView, ReduceView, SymbolView
from tradebox.domain.market import Quality
from tradebox.domain.money import to_decimal
from tradebox.domain.orders import AccountName, OrderRole, Side
from tradebox.domain.path import AccountState, Holding
from tradebox.domain.splits import is_split_ratio
from tradebox.execution.account_day import AccountDay
from tradebox.execution.buckets import Buckets
from tradebox.execution.intake import Intake
from tradebox.execution.kill_switch import KillSwitch
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.execution.order_link import OrderLink
from tradebox.execution.pace import KEPT_FOR_REDUCTIONS
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.procedures import PlanDesk
from tradebox.execution.symbol_facts import EntryLog

_NS_PER_S: Final = 1_000_000_000
_SPLIT_SHARE: Final = Decimal("0.2")
_HALT_NS_MAX: Final = 600 * _NS_PER_S
_CENT: Final = Decimal("0.0001")


def average_entry(book: OrderBook, plan_id: str, side: Side) -> Decimal | None:
    """Return the average price of the shares a plan opened, or None before any."""
    opened = [fill for fill in book.plan_fills(plan_id) if fill.side is side and fill.quantity]
    shares = sum(fill.quantity for fill in opened)
    if not shares:
        return None
    money = sum((fill.price * fill.quantity for fill in opened), Decimal(0))
    return (money / shares).quantize(_CENT, rounding=ROUND_HALF_EVEN)


class Views:
    """Everything that is read, none of it kept."""

    def __init__(
        self,
        book: OrderBook,
        intake: Intake,
        link: OrderLink,
        world: PathWorld,
        rules: PathRules,
        money: AccountDay,
    ) -> None:
        self._book = book
        self._intake = intake
        self._link = link
        self._world = world
        self._rules = rules
        self.money = money
        self.entries = EntryLog()
        self.desks: dict[str, PlanDesk] = {}
        self.rejects_by_symbol: dict[str, int] = {}
        self.margin_share: Callable[[str, Side], Decimal] = lambda _symbol, _side: Decimal(0)
        self.halts: dict[str, int] = {}
        """Market time at which a halt was last heard of: a source's word, or a refused order."""
        self._risks: dict[str, Decimal] = {}
        self._open_risk = Decimal(0)
        """The sum of them: exact, for these sums stay far below the digits of a Decimal."""
        self._at_market: set[str] = set()
        """Plans whose risk moves with the price: an entry at the market that has no fill."""

    def price(self, symbol: str) -> PriceView | None:
        """Return what the last price of a symbol is worth now.

        Its age is by the exchange's time and by the time since it came, whichever is more: a
        clock that was set back makes no price younger.
        """
        tick = self._world.prices.last(symbol)
        if tick is None:
            return None
        clock = self._world.market_clock
        age_ns = clock.now_ns() - tick.event_ns
        age_s = Decimal(age_ns) / _NS_PER_S / Decimal(str(max(1.0, clock.speed)))
        if tick.mono_ns and age_s >= 0:
            age_s = max(age_s, Decimal(self._link.mono_ns() - tick.mono_ns) / _NS_PER_S)
        quality = self._world.prices.quality_now(symbol)
        return PriceView(to_decimal(tick.price_micros), quality, age_s)

    def mark(self, symbol: str) -> Decimal | None:
        """Return a price to value shares by: the last one, else the last fill's."""
        tick = self._world.prices.last(symbol)
        if tick is not None:
            return to_decimal(tick.price_micros)
        return self._book.last_price(symbol)

    def account(
        self, kill: KillSwitch, buckets: Buckets, *, audit_is_up: bool, symbol: str = ""
    ) -> AccountView:
        """Return the account as the gate sees it for an entry into a symbol."""
        now_s, now_ns = self._world.clock.now(), self._world.market_clock.now_ns()
        room = self._link.room()
        entry_room = max(0, room - KEPT_FOR_REDUCTIONS)
        return AccountView(
            account_agrees=self._link.account_agrees,
            link=self._link.state,
            is_killed=kill.is_set(self._link.identity.name, symbol),
            is_halted=self._link.halted is not None,
            audit_is_up=audit_is_up,
            short_is_allowed=self._rules.short_is_allowed,
            session_is_open=self._world.session_is_open(now_ns),
            net_liquidation_usd=self.money.net_liquidation,
            day_start_usd=self.money.day_start,
            gross_notional_usd=self.gross(),
            open_risk_usd=self.open_risk(),
            rejects=self.money.rejects,
            entry_tokens=min(buckets.entry_tokens(now_s), entry_room),
            reduce_tokens=min(buckets.reduce_tokens(now_s), room),
            peak_usd=self.money.peak,
            stops_in_row=self.money.stops_in_row,
            available_usd=self.money.available,
            clock_skew_s=self._link.clock_skew_s,
            is_first_day=self.money.is_first_day,
            currency=self.money.currency,
        )

    def symbol(self, symbol: str, plan_id: str, side: Side, quantity: int = 0) -> SymbolView:
        """Return a symbol as the gate sees it for a plan that wants this side."""
        instrument, now_s = self._world.instrument(symbol), self._world.clock.now()
        entries = [
            record
            for record in self._book.open_orders(symbol)
            if record.row.role is OrderRole.ENTRY
        ]
        return SymbolView(
            increment=None if instrument is None else instrument.increment,
            price=self.price(symbol),
            position=self._book.position(symbol),
            plan_position=self._book.plan_position(plan_id),
            has_live_entry=bool(entries),
            opposing_orders=sum(record.row.side is not side for record in entries),
            blocked=self._book.quarantined.get(symbol, ""),
            unproven=self._intake.unproven(symbol),
            rejects=self.rejects_by_symbol.get(symbol, 0),
            known_refs=self._book.orders.keys(),
            day_volume=self._world.facts.day_volume(symbol),
            ex_date=self._world.facts.ex_date(symbol),
            repeat_age_s=self.entries.age_s(symbol, side, quantity, now_s),
            entries_last_min=self.entries.count(symbol, now_s),
            margin_share=self.margin_share(symbol, side),
            spread_share=self._world.spread_share(symbol),
            last_close=self._world.facts.last_close(symbol),
            is_halted=self.is_halted(symbol),
        )

    def reduce(self, desk: PlanDesk, apart_from: OrderRecord | None = None) -> ReduceView:
        """Return what a plan holds, as the narrow gate sees it."""
        return ReduceView(desk.position, desk.other_live_quantity(apart_from))

    def gross(self) -> Decimal | None:
        """Return the money in positions and working entries; None where a price is missing.

        Summed up in micros: it stands before every entry and grows with the plans.
        """
        total, micros, last = Decimal(0), 0, self._world.prices.last
        for symbol, quantity in self._book.positions().items():
            tick = last(symbol)
            if tick is not None:
                micros += abs(quantity) * tick.price_micros
                continue
            mark = self.mark(symbol)
            if mark is None:
                return None
            total += abs(quantity) * mark
        for record in self._book.open_entries():
            mark = record.row.limit_price or self.mark(record.row.symbol)
            if mark is None:
                return None
            total += record.remaining * mark
        return total + to_decimal(micros)

    def open_risk(self) -> Decimal:
        """Return the loss if all stops hit, entries counted as filled."""
        for plan_id in self._book.take_touched() | self._at_market:
            self._weigh(plan_id)
        return self._open_risk

    def _weigh(self, plan_id: str) -> None:
        """Take over what a plan risks now."""
        self._open_risk -= self._risks.pop(plan_id, Decimal(0))
        self._at_market.discard(plan_id)
        desk = self.desks.get(plan_id)
        if desk is None:
            return
        risk, is_lasting = self._plan_risk(desk)
        self._risks[plan_id] = risk
        self._open_risk += risk
        if not is_lasting:
            self._at_market.add(plan_id)

    def forget(self, plan_id: str) -> None:
        """Let go of a plan's desk and of what is known of it."""
        self.desks.pop(plan_id, None)
        self._weigh(plan_id)

    def _plan_risk(self, desk: PlanDesk) -> tuple[Decimal, bool]:
        """Return a plan's open risk, and whether it holds until its orders change."""
        shares, is_lasting = desk.held, True
        entry = desk.entry
        price = average_entry(self._book, desk.plan_id, desk.side)
        if entry is not None and not entry.is_over:
            shares += entry.remaining
            price = price or entry.row.limit_price
            is_lasting = price is not None
            price = price or self.mark(desk.symbol)
        if shares <= 0 or price is None or desk.stop_level is None:
            return Decimal(0), is_lasting
        return max(Decimal(0), (price - desk.stop_level) * desk.side.sign * shares), is_lasting

    def holding(self, plan_id: str) -> Holding:
        """Return what a plan holds."""
        desk = self.desks.get(plan_id)
        if desk is None:
            return Holding(plan_id, "")
        stops = [record for record in desk.working(OrderRole.STOP) if record.is_armed]
        return Holding(
            plan_id=plan_id,
            symbol=desk.symbol,
            position=desk.position,
            average_price=average_entry(self._book, plan_id, desk.side) if desk.position else None,
            stop_quantity=desk.armed_quantity,
            stop_price=stops[0].row.stop_price if stops else None,
            in_flight_quantity=desk.in_flight_quantity,
            covered=desk.is_covered,
        )

    def holdings(self, account: AccountName) -> list[PositionChanged]:
        """Return cover per symbol, over all plans of the account."""
        rows = []
        for symbol in sorted({desk.symbol for desk in self.desks.values()}):
            held = [self.holding(key) for key, desk in self.desks.items() if desk.symbol == symbol]
            held = [holding for holding in held if holding.position or holding.stop_quantity]
            quantity = self._book.position(symbol)
            stop = sum(holding.stop_quantity for holding in held)
            in_flight = sum(holding.in_flight_quantity for holding in held)
            prices = [holding.average_price for holding in held if holding.position]
            row = PositionChanged(
                account=account,
                symbol=symbol,
                quantity=quantity,
                stop_quantity=stop,
                in_flight_quantity=in_flight,
                covered=stop + in_flight == abs(quantity),
                average_price=prices[0] if prices else None,
                at_ns=self._world.market_clock.now_ns(),
            )
            rows.append(row)
        return rows

    def account_state(self) -> AccountState:
        """Return money and link."""
        return AccountState(
            link=self._link.state,
            account_id=self._link.account_id,
            net_liquidation_usd=self.money.net_liquidation,
            cash_usd=self.money.cash,
            realised_day_usd=self.money.realised,
            open_risk_usd=self.open_risk(),
            currency=self.money.currency,
        )

    def looks_split(self, desk: PlanDesk) -> bool:
        """Return whether shares and price changed as by a split: not ours to trade on.

        The broker holds another number of shares, and the price stands far through a stop that
        did not fill; or the stop was ended by the broker and the shares changed at the ratio of a
        split, whatever is known of the price (the first one after a split is held back): a stop
        placed at the old level, or an exit, would sell at a wrong moment.
        """
        price, level = self.exit_price(desk.symbol), desk.stop_level
        if level is None or not self._intake.is_gapped(desk.symbol):
            return False
        gap = self._intake.shown_gap(desk.symbol)
        if gap is not None and desk.stop_was_taken and is_split_ratio(gap.books, gap.broker):
            return True
        return price is not None and (level - price) * desk.side.sign / level > _SPLIT_SHARE

    def is_beyond(self, desk: PlanDesk, quantity: int) -> bool:
        """Return whether an order would take off more than the broker is known to hold.

        The plan's book alone would open a position on the other side.
        """
        gap = self._intake.confirmed_gap(desk.symbol)
        if gap is None:
            return False
        held = gap.broker + self._book.position(desk.symbol) - gap.books
        return quantity > max(0, held * (1 if desk.position > 0 else -1))

    def is_halted(self, symbol: str) -> bool:
        """Return whether a symbol is halted, or was and no price says yet that it trades again.

        After ten minutes of market time the broker is asked again, price or none.
        """
        if self._world.is_halted(symbol):
            self.halts[symbol] = self._world.market_clock.now_ns()
            return True
        since_ns = self.halts.get(symbol)
        if since_ns is None:
            return False
        tick, now_ns = self._world.prices.last(symbol), self._world.market_clock.now_ns()
        has_traded = tick is not None and tick.event_ns > since_ns
        if has_traded or now_ns - since_ns >= _HALT_NS_MAX:
            del self.halts[symbol]
            return False
        return True

    def exit_price(self, symbol: str) -> Decimal | None:
        """Return the reference of a marketable limit; None where no price is usable."""
        price = self.price(symbol)
        if price is None or price.quality in (Quality.EOD, Quality.DISPUTED):
            return None
        return price.price
