"""The exchange: commands and market events in, ordered events out.

Rules of this file:
- synchronous and without a clock: every command says the market time it happens at;
- the ledger is committed before an event leaves: what a listener hears is on disk;
- the same seed, commands and market events give the same ledger digest.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tradebox.sim.exchange import checks
from tradebox.sim.exchange.accounts import PPM, Account, AccountFigures, AccountSpec, Position
from tradebox.sim.exchange.amendments import (
    amend,
    corrected,
    latest_revision,
)
from tradebox.sim.exchange.book import Book
from tradebox.sim.exchange.days import day_bounds
from tradebox.sim.exchange.deadlines import ON_CLOSE_CUTOFF_NS, end_of_life_ns
from tradebox.sim.exchange.desk import CANCEL_TEXT, Desk
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.market_port import MICROS, MarketEvent, MarketView, Trade
from tradebox.sim.exchange.orders import (
    AccountChanged,
    CommissionCharged,
    ExchangeEvent,
    Execution,
    MarginPreview,
    Order,
    OrderError,
    OrderExecuted,
    OrderOpened,
    OrderStatusChanged,
    Refusal,
    Status,
    Ticket,
    Tif,
)
from tradebox.sim.exchange.rows import Replay, execution_row, ticket_row
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.timekeeper import Timekeeper

Listener = Callable[[Sequence[ExchangeEvent]], None]


class Exchange:
    """Accounts, their orders and their executions over one market.

    Holds: cash + cost of positions = deposits + realised profit; filled + remaining = total;
    an order never fills beyond its limit; what was committed is there after a restart.
    """

    def __init__(
        self,
        market: MarketView,
        accounts: Sequence[AccountSpec],
        ledger: Ledger,
        seed: int,
        settings: ExchangeSettings | None = None,
        opened_ns: int | None = None,
    ) -> None:
        self.market = market
        self.settings = settings or ExchangeSettings()
        self._ledger = ledger
        self._books = {spec.name: _new_book(spec) for spec in accounts}
        self._desk = Desk(market, ledger, self.settings, seed, self._books)
        self._listeners: dict[str, list[Listener]] = {spec.name: [] for spec in accounts}
        self._is_busy = False
        self._timekeeper = Timekeeper(market, ledger, self._books, self._desk, self.figures)
        self._detach: Callable[[], None] | None = None
        self._restore(accounts, market.clock.now_ns() if opened_ns is None else opened_ns)

    # -- life -----------------------------------------------------------------------------

    def open(self) -> None:
        """Listen to the market from now on."""
        assert self._detach is None
        self._detach = self.market.subscribe(self.on_market)

    def close(self) -> None:
        """Stop listening to the market and close the ledger."""
        if self._detach is not None:
            self._detach()
            self._detach = None
        self._ledger.close()

    def attach(self, account: str, listener: Listener) -> Callable[[], None]:
        """Deliver the account's events, in order and batch by batch; the result ends it."""
        listeners = self._listeners[account]
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    # -- commands -------------------------------------------------------------------------

    def on_market(self, event: MarketEvent) -> None:
        """Let one market event trade."""
        at_ns = event.event_ns if isinstance(event, Trade) else event.quote.event_ns
        is_due = self._timekeeper.is_due(at_ns)
        if not is_due and not any(book.has_live(event.symbol) for book in self._books.values()):
            return
        with self._step(at_ns):
            for name, book in self._books.items():
                if not book.has_live(event.symbol):
                    continue
                if isinstance(event, Trade):
                    self._desk.on_trade(name, event)
                else:
                    for order in book.live(event.symbol):
                        self._desk.try_trade(order, at_ns)

    def on_time(self, at_ns: int) -> None:
        """Let time pass: sessions end, orders expire."""
        if self._timekeeper.is_due(at_ns):
            with self._step(at_ns):
                pass

    def submit(
        self, account: str, client_id: int, order_id: int, ticket: Ticket, at_ns: int
    ) -> list[ExchangeEvent]:
        """Take a new order, or a changed ticket for a live one, and return what came of it."""
        with self._step(at_ns) as events:
            book = self._books[account]
            existing = book.find(client_id, order_id)
            order = Order(account, client_id, order_id, ticket, at_ns, total=ticket.quantity)
            if existing is not None and not existing.status.is_done:
                self._modify(existing, order, at_ns)
            elif existing is not None and existing.status is Status.FILLED:
                self._desk.refuse(order, checks.MODIFY_FILLED, at_ns)
            elif (client_id, order_id) in book.held:
                self._place(book, order, at_ns)
            elif order_id < book.next_order_id(client_id):
                self._desk.refuse(order, checks.DUPLICATE_ID, at_ns)
            else:
                self._ledger.append(
                    "id_used", at_ns, account=account, client_id=client_id, order_id=order_id
                )
                book.use_id(client_id, order_id)
                self._place(book, order, at_ns)
        return events

    def cancel(
        self, account: str, client_id: int, order_id: int, at_ns: int
    ) -> list[ExchangeEvent]:
        """Cancel an order of this client and return what came of it."""
        with self._step(at_ns) as events:
            book = self._books[account]
            order = book.find(client_id, order_id)
            if book.held.pop((client_id, order_id), None) is not None:
                self._say(account, client_id, order_id, Refusal(202, CANCEL_TEXT), at_ns)
            elif order is None:
                text = f"OrderId {order_id} that needs to be cancelled is not found."
                self._say(account, client_id, order_id, Refusal(10147, text), at_ns)
            elif order.status.is_done:
                text = (
                    f"OrderId {order_id} that needs to be cancelled cannot be cancelled, "
                    f"state: {order.status}."
                )
                self._say(account, client_id, order_id, Refusal(10148, text), at_ns)
            else:
                self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
        return events

    def end(self, account: str, perm_id: int, at_ns: int) -> list[ExchangeEvent]:
        """End one live order by the broker's own will; of a forked one only this copy."""
        with self._step(at_ns) as events:
            order = self._books[account].orders.get(perm_id)
            if order is not None and not order.status.is_done:
                self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
        return events

    def cancel_all(self, account: str, at_ns: int) -> list[ExchangeEvent]:
        """Cancel every order of the account, whoever placed it."""
        with self._step(at_ns) as events:
            book = self._books[account]
            book.held.clear()
            for order in book.all_live():
                if not order.status.is_done:
                    self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
        return events

    def reject(
        self, account: str, client_id: int, order_id: int, refusal: Refusal, at_ns: int
    ) -> list[ExchangeEvent]:
        """End a live order by the broker's own will, or refuse an id outright (fault scripts)."""
        with self._step(at_ns) as events:
            order = self._books[account].find(client_id, order_id)
            if order is None or order.status.is_done:
                self._say(account, client_id, order_id, refusal, at_ns)
            else:
                self._desk.end(order, Status.INACTIVE, at_ns, refusal)
        return events

    def fill_now(
        self, account: str, client_id: int, order_id: int, at_ns: int
    ) -> list[ExchangeEvent]:
        """Fill a live order whole, at its own price or the market's (fault scripts)."""
        with self._step(at_ns) as events:
            order = self._books[account].find(client_id, order_id)
            if order is not None and not order.status.is_done and order.remaining:
                ticket = order.ticket
                price = ticket.limit_micros or ticket.trigger_micros or self.mark(ticket.symbol)
                order.armed = order.total
                self._desk.fill(order, order.remaining, price, at_ns, liquidity=2)
        return events

    def fork(
        self, account: str, client_id: int, order_id: int, ticket: Ticket, at_ns: int
    ) -> list[ExchangeEvent]:
        """Place a second live order under used ids, and leave the first (fault scripts)."""
        with self._step(at_ns) as events:
            order = Order(account, client_id, order_id, ticket, at_ns, total=ticket.quantity)
            self._desk.release(order, None, at_ns)
            self._desk.activate(order, at_ns, is_ack=True)
        return events

    def fill_in_parts(
        self, account: str, client_id: int, order_id: int, sizes: Sequence[int]
    ) -> None:
        """Let an order's next fills be of these sizes, as far as they go (fault scripts)."""
        self._desk.parts[account, client_id, order_id] = [size for size in sizes if size > 0]

    def last_execution(self, account: str, order_id: int = 0) -> Execution | None:
        """Return the newest execution, of an order id where one is given."""
        found = [e for e in self._books[account].executions if order_id in (0, e.order_id)]
        return found[-1] if found else None

    def correct(
        self, account: str, exec_id: str, shares: int, price_micros: int, at_ns: int
    ) -> list[ExchangeEvent]:
        """Correct an execution; 0 shares bust it. An unknown id changes nothing."""
        with self._step(at_ns) as events:
            book = self._books[account]
            old = latest_revision(book, exec_id)
            if old is not None and (old.shares, old.price_micros) != (shares, price_micros):
                new = corrected(old, shares, price_micros)
                amend(book, old, new)
                self._ledger.append(
                    "correction", at_ns, executed_ns=old.at_ns, **execution_row(new)
                )
                events += [OrderExecuted(new), CommissionCharged(new), AccountChanged(account)]
        return events

    def heard(
        self, account: str, client_id: int, message_id: int, payload: bytes, at_ns: int
    ) -> None:
        """Keep the bytes of an order message as they came; `settle` puts them on disk."""
        self._ledger.append(
            "message",
            at_ns,
            account=account,
            client_id=client_id,
            message_id=message_id,
            payload=payload.hex(),
        )

    def settle(self) -> None:
        """Put on disk what was kept. Raises HomeUnusable if the disk refuses."""
        self._ledger.commit()

    def note(self, kind: str, at_ns: int, **fields: object) -> None:
        """Put a row of the market's own into the ledger."""
        self._ledger.append(kind, at_ns, account="", **fields)
        self._ledger.commit()

    # -- questions ------------------------------------------------------------------------

    def preview(self, account: str, ticket: Ticket) -> MarginPreview | Refusal:
        """Return what the order would do to the account's margin, without placing it."""
        refusal = checks.check_fields(ticket, self.market.instrument(ticket.symbol))
        if refusal is not None:
            return refusal
        book = self._books[account].account
        figures = self.figures(account)
        price = ticket.limit_micros or ticket.trigger_micros or self.mark(ticket.symbol)
        closing = book.closing_part(ticket.symbol, ticket.side, ticket.quantity)
        change = (ticket.quantity - 2 * closing) * price
        settings = self.settings
        due = ticket.quantity * settings.commission_per_share_micros
        fee = max(settings.commission_min_micros, due)
        return MarginPreview(
            initial_before=figures.initial_margin,
            initial_after=figures.initial_margin + change * settings.initial_margin_ppm // PPM,
            maintenance_before=figures.maintenance_margin,
            maintenance_after=figures.maintenance_margin
            + change * settings.maintenance_margin_ppm // PPM,
            equity_before=figures.net_liquidation,
            equity_after=figures.net_liquidation - fee,
            commission_micros=fee,
        )

    def account_id(self, account: str) -> str:
        """Return the account's id."""
        return self._books[account].account.account_id

    def next_order_id(self, account: str, client_id: int) -> int:
        """Return the lowest order id that the client may use."""
        return self._books[account].next_order_id(client_id)

    def find_open(self, account: str, client_id: int, order_id: int) -> Order | None:
        """Return the live order of these ids, or None."""
        order = self._books[account].find(client_id, order_id)
        return None if order is None or order.status.is_done else order

    def open_orders(self, account: str) -> list[Order]:
        """Return the account's orders that are not done, oldest first."""
        return self._books[account].all_live()

    def completed_orders(self, account: str, at_ns: int) -> list[Order]:
        """Return the orders that were done on the trading day of that time."""
        begin_ns, end_ns = day_bounds(at_ns)
        orders = self._books[account].orders.values()
        return [o for o in orders if o.status.is_done and begin_ns <= o.done_ns < end_ns]

    def executions(self, account: str, at_ns: int) -> list[Execution]:
        """Return the executions of the trading day of that time, oldest first."""
        begin_ns, end_ns = day_bounds(at_ns)
        return [e for e in self._books[account].executions if begin_ns <= e.at_ns < end_ns]

    def positions(self, account: str) -> dict[str, Position]:
        """Return every position by symbol, flat ones of this life included."""
        return dict(self._books[account].account.positions)

    def figures(self, account: str) -> AccountFigures:
        """Return the account's figures at the market's present prices."""
        settings = self.settings
        return self._books[account].account.figures(
            self.mark, settings.initial_margin_ppm, settings.maintenance_margin_ppm
        )

    def mark(self, symbol: str) -> int:
        """Return the price that positions are valued at; 0 if there is none. Units: micros."""
        quote = self.market.quote(symbol)
        if quote is None:
            return 0
        if quote.last_micros > 0:
            return quote.last_micros
        has_both = quote.bid_micros > 0 and quote.ask_micros > 0
        return (quote.bid_micros + quote.ask_micros) // 2 if has_both else 0

    def ledger_digest(self) -> str:
        """Return the hash of the ledger without its monotonic times."""
        return self._ledger.digest()

    # -- inside ---------------------------------------------------------------------------

    def _restore(self, accounts: Sequence[AccountSpec], opened_ns: int) -> None:
        replay = Replay(self._books)
        opened: set[object] = set()
        rows = list(self._ledger.rows())
        replay.apply(rows)
        opened.update(row["account"] for row in rows if row["kind"] == "account_opened")
        self._desk.last_perm_id = max(self._desk.last_perm_id, replay.last_perm_id)
        self._desk.last_execution = replay.last_execution
        self._timekeeper.actions_until_ns = replay.last_ns
        for spec in accounts:
            if spec.name not in opened:
                account = self._books[spec.name].account
                self._ledger.append(
                    "account_opened",
                    opened_ns,
                    account=spec.name,
                    account_id=account.account_id,
                    cash_micros=account.cash_micros,
                )
        self._ledger.commit()

    @contextmanager
    def _step(self, at_ns: int) -> Iterator[list[ExchangeEvent]]:
        """Run one command; then commit, then let the listeners hear what happened."""
        assert not self._is_busy, "a listener may not command the exchange"
        self._is_busy = True
        events: list[ExchangeEvent] = []
        self._desk.events = events
        try:
            self._timekeeper.sweep(at_ns)
            yield events
        finally:
            self._is_busy = False
            self._ledger.commit()
        for name, listeners in self._listeners.items():
            batch = [event for event in events if _account_of(event) == name]
            if batch:
                for listener in tuple(listeners):
                    listener(batch)

    def _check_hours(self, ticket: Ticket, at_ns: int) -> Refusal | None:
        """Check what depends on the time: halts, cut-offs, dates."""
        clock = self.market.clock
        if self.market.is_halted(ticket.symbol):
            return checks.HALTED
        if ticket.tif is Tif.GTD and ticket.good_till_ns <= at_ns:
            return checks.BAD_GOOD_TILL
        is_late = (
            ticket.order_type.is_on_close
            and clock.is_open(at_ns)
            and not clock.is_open(at_ns + ON_CLOSE_CUTOFF_NS)
        )
        return checks.TOO_LATE if is_late else None

    def _place(self, book: Book, order: Order, at_ns: int) -> None:
        """Check a new order; hold it, or release it with the group it completes."""
        ticket = order.ticket
        refusal = checks.check_fields(ticket, self.market.instrument(ticket.symbol))
        refusal = refusal or self._check_hours(ticket, at_ns)
        parent: Order | None = None
        if refusal is None and ticket.parent_id:
            held = book.held.get((order.client_id, ticket.parent_id))
            parent = held or book.find(order.client_id, ticket.parent_id)
            if parent is None:
                refusal = checks.no_such_parent(ticket.parent_id)
            elif parent.status.is_done or parent.status is Status.PENDING_CANCEL:
                refusal = checks.PARENT_GONE
        if refusal is not None:
            book.held.pop((order.client_id, order.order_id), None)
            self._desk.reject(order, parent, refusal, at_ns)
            return
        book.held[order.client_id, order.order_id] = order
        if not ticket.transmit:
            return
        root = parent if parent is not None else order
        family = book.held_family(root)
        for member in family:
            book.held.pop((member.client_id, member.order_id))
        self._release_family(book, root, family, at_ns)

    def _release_family(self, book: Book, root: Order, family: list[Order], at_ns: int) -> None:
        released: list[Order] = []
        for member in family:
            parent = None if member is root else root
            refusal = self._check_account(book, member)
            if refusal is None and member is not root and root.status.is_done:
                refusal = checks.PARENT_GONE
            if refusal is not None:
                self._desk.reject(member, parent, refusal, at_ns)
                continue
            self._desk.release(member, parent, at_ns)
            released.append(member)
        self._desk.group_children(root)
        for member in released:
            self._desk.announce(member, at_ns, is_ack=True)
            self._say_waiting(member, at_ns)
            self._timekeeper.note_end(member)
        for member in released:
            # Every member is in the book by now, so that a parent cannot fill before its children.
            self._desk.try_trade(member, at_ns)

    def _check_account(self, book: Book, order: Order) -> Refusal | None:
        """Check what the account can carry; a child is an exit and needs no margin."""
        ticket = order.ticket
        limit = self.settings.working_orders_per_side_max
        if book.count_working(ticket.symbol, ticket.side) >= limit:
            return checks.too_many(limit)
        if ticket.parent_id:
            return None
        closing = book.account.closing_part(ticket.symbol, ticket.side, ticket.quantity)
        opening = ticket.quantity - closing
        if opening and ticket.side.sign < 0 and self.settings.oversell == "refused":
            return checks.NO_SHORT
        return self._check_margin(book, ticket, opening)

    def _check_margin(self, book: Book, ticket: Ticket, opening: int) -> Refusal | None:
        """Check whether the account can carry so many more shares beside its other orders."""
        price = ticket.limit_micros or ticket.trigger_micros or self.mark(ticket.symbol)
        marks = {symbol: self.mark(symbol) for symbol in {o.ticket.symbol for o in book.all_live()}}
        pending = book.opening_notional(marks) + opening * price
        figures = self.figures(book.account.name)
        needed = figures.initial_margin + pending * self.settings.initial_margin_ppm // PPM
        if opening > 0 and needed > figures.net_liquidation:
            return checks.not_enough(figures.net_liquidation, needed)
        return None

    def _modify(self, order: Order, wanted: Order, at_ns: int) -> None:
        ticket = wanted.ticket
        book = self._books[order.account]
        parent = book.orders.get(order.parent_perm_id)
        refusal = checks.check_fields(
            ticket, self.market.instrument(ticket.symbol)
        ) or checks.check_modify(
            order,
            ticket,
            parent,
            may_restate_filled_parent=self.settings.restate_filled_parent == "accepted",
        )
        refusal = refusal or self._check_crossing(order, ticket)
        if refusal is None and not order.parent_perm_id and ticket.quantity > order.total:
            side, more = ticket.side, ticket.quantity - order.filled
            opening = more - book.account.closing_part(ticket.symbol, side, more)
            refusal = self._check_margin(book, ticket, min(opening, ticket.quantity - order.total))
        if refusal is None and self._is_resize_refused(order, ticket):
            refusal = checks.RESIZE_REFUSED
        if refusal is not None:
            self._desk.refuse(order, refusal, at_ns)
            if refusal is checks.RESIZE_REFUSED and self.settings.stop_resize == "cancels":
                self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
            return
        if not ticket.transmit:
            return
        if not ticket.parent_id:
            ticket = replace(ticket, parent_id=order.ticket.parent_id)
        is_armed = order.armed >= order.total
        self._restart_trail(order, ticket)
        order.ticket = ticket
        order.expires_ns = end_of_life_ns(ticket, at_ns)
        self._timekeeper.note_end(order)
        is_held = self.settings.stop_through_market == "held"
        order.is_stuck = is_held and self._is_across(order, ticket)
        order.total = ticket.quantity
        order.armed = order.total if is_armed else min(order.armed, order.total)
        self._ledger.append(
            "order_modified",
            at_ns,
            account=order.account,
            perm_id=order.perm_id,
            ticket=ticket_row(ticket),
        )
        if order.remaining == 0:
            self._desk.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
            return
        self._desk.activate(order, at_ns, is_ack=True)

    def _is_resize_refused(self, order: Order, ticket: Ticket) -> bool:
        mode = self.settings.stop_resize
        if mode == "accepted" or not ticket.order_type.has_trigger or order.is_triggered:
            return False
        return ticket.quantity > order.total or (
            mode != "reduce_only" and ticket.quantity != order.total
        )

    def _check_crossing(self, order: Order, ticket: Ticket) -> Refusal | None:
        is_refused = self.settings.stop_through_market == "refused"
        return checks.BAD_STOP if is_refused and self._is_across(order, ticket) else None

    def _is_across(self, order: Order, ticket: Ticket) -> bool:
        """Say whether the ticket moves a waiting trigger through the market."""
        kind = ticket.order_type
        if not kind.has_trigger or kind.is_trailing or order.is_triggered:
            return False
        return checks.is_through(ticket.side, ticket.trigger_micros, self.mark(ticket.symbol))

    def _restart_trail(self, order: Order, ticket: Ticket) -> None:
        """Let a trailing stop start again where a change says another distance or stop."""
        old = order.ticket
        before = (old.trail_micros, old.trail_ppm, old.trail_stop_micros)
        if (ticket.trail_micros, ticket.trail_ppm, ticket.trail_stop_micros) != before:
            order.stop_micros = 0

    def _say_waiting(self, order: Order, at_ns: int) -> None:
        """Say that an order of the closed hours waits for the open."""
        clock, ticket = self.market.clock, order.ticket
        if ticket.is_outside_ignored:
            self._say(order.account, order.client_id, order.order_id, checks.OUTSIDE_IGNORED, at_ns)
        if clock.is_open(at_ns) or (ticket.works_outside and clock.is_tradable(at_ns)):
            return
        text = (
            f"Order Message:\n{ticket.side} {order.total} {ticket.symbol}\nWarning: Your order "
            "will not be placed at the exchange until the next regular session."
        )
        self._say(order.account, order.client_id, order.order_id, Refusal(399, text), at_ns)

    def _say(
        self, account: str, client_id: int, order_id: int, refusal: Refusal, at_ns: int
    ) -> None:
        self._desk.say((account, client_id, order_id), refusal, at_ns)


def _new_book(spec: AccountSpec) -> Book:
    cash = spec.cash_usd * MICROS
    return Book(Account(spec.name, spec.account_id, deposited_micros=cash, cash_micros=cash))


def _account_of(event: ExchangeEvent) -> str:
    """Return the name of the account that an event belongs to."""
    match event:
        case OrderOpened(order=order) | OrderStatusChanged(order=order):
            return order.account
        case OrderExecuted(execution=execution) | CommissionCharged(execution=execution):
            return execution.account
        case OrderError() | AccountChanged():
            return event.account
