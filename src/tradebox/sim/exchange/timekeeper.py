"""What time alone does to accounts and orders: days, splits, dividends, the ends of orders.

Rules of this file:
- each thing happens at its own time, not when somebody looks: the same events give the same rows
  at any speed;
- the times are those at which the session opens or closes, the New York day changes, and the
  orders end by their time in force.
"""

from collections.abc import Callable, Mapping

from tradebox.sim.exchange.accounts import AccountFigures
from tradebox.sim.exchange.amendments import pay_dividend, split_position
from tradebox.sim.exchange.book import Book
from tradebox.sim.exchange.days import trading_day
from tradebox.sim.exchange.desk import CANCEL_TEXT, Desk
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.market_port import MarketView
from tradebox.sim.exchange.orders import AccountChanged, Order, Refusal, Status, Tif


class Timekeeper:
    """Knows the next time at which something happens, and lets it happen."""

    def __init__(
        self,
        market: MarketView,
        ledger: Ledger,
        books: Mapping[str, Book],
        desk: Desk,
        figures: Callable[[str], AccountFigures],
    ) -> None:
        self._market = market
        self._ledger = ledger
        self._books = books
        self._desk = desk
        self._figures = figures
        self._next_ns = 0
        self.actions_until_ns = 0

    def is_due(self, at_ns: int) -> bool:
        """Say whether something happens at or before that time."""
        return at_ns >= self._next_ns

    def note_end(self, order: Order) -> None:
        """Take note of an order that ends by its time in force."""
        if order.expires_ns:
            self._next_ns = min(self._next_ns, order.expires_ns)

    def sweep(self, at_ns: int) -> None:
        """Let happen what time alone brings, each thing at its own time, up to this one."""
        while at_ns >= self._next_ns:
            # Only the first look has no time of its own.
            due_ns = self._next_ns or at_ns
            self._look(due_ns)
            ends = [
                order.expires_ns
                for book in self._books.values()
                for order in book.all_live()
                if order.expires_ns > due_ns
            ]
            self._next_ns = min([self._market.clock.next_change_ns(due_ns), *ends])

    def _look(self, at_ns: int) -> None:
        """Start the day's profit, split shares, and end the orders whose time has come."""
        is_open = self._market.clock.is_open(at_ns)
        day = trading_day(at_ns)
        self._act(at_ns)
        for name, book in self._books.items():
            if book.account.day != day:
                book.account.start_day(day, self._figures(name).net_liquidation)
                self._ledger.append(
                    "day_started",
                    at_ns,
                    account=name,
                    day=day,
                    net_liquidation=book.account.day_start_micros,
                )
            for order in book.all_live():
                self._expire(order, at_ns, is_open=is_open, day=day)

    def _act(self, at_ns: int) -> None:
        """Let splits and dividends happen to positions; a split ends the symbol's orders."""
        since_ns, self.actions_until_ns = self.actions_until_ns or at_ns, at_ns
        for action in self._market.actions_between(since_ns, at_ns):
            symbol = action.symbol
            for name, book in self._books.items():
                fields: dict[str, object] = {"account": name, "symbol": symbol}
                if action.kind == "dividend":
                    pay_dividend(book.account, symbol, action.amount_micros)
                    fields["amount_micros"] = action.amount_micros
                else:
                    ratio = action.numerator, action.denominator
                    split_position(book.account, symbol, *ratio)
                    fields.update(numerator=action.numerator, denominator=action.denominator)
                self._ledger.append(action.kind, at_ns, **fields)
                self._desk.events.append(AccountChanged(name))
                for order in book.live(symbol) if action.kind == "split" else ():
                    if not order.status.is_done:
                        self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))

    def _expire(self, order: Order, at_ns: int, *, is_open: bool, day: str) -> None:
        ticket = order.ticket
        if order.status.is_done:
            return
        if 0 < order.expires_ns <= at_ns:
            self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
            return
        if ticket.tif not in (Tif.DAY, Tif.OPG):
            return
        is_in = self._market.clock.is_tradable(at_ns) if ticket.works_outside else is_open
        is_over = order.session_day != "" and (not is_in or order.session_day != day)
        if is_over and ticket.order_type.is_on_close:
            quote = self._market.quote(ticket.symbol)
            self._desk.at_auction(order, quote.last_micros if quote else 0, at_ns)
        elif is_over:
            self._desk.end(order, Status.CANCELLED, at_ns, None)
        elif is_in and not order.session_day:
            order.session_day = day
            self._desk.record(order, at_ns)
