"""The trading desk: what happens to an order from its release to its end.

Rules of this file:
- no clock is read: every change happens at the market time it is told;
- every change of an order is a ledger row before it is an event;
- a fill is said as execDetails, openOrder, orderStatus, commissionReport, in this order;
- paper and live never share liquidity: each account trades as if alone.
"""

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tradebox.sim.exchange import checks
from tradebox.sim.exchange.accounts import PPM
from tradebox.sim.exchange.book import Book
from tradebox.sim.exchange.days import trading_day
from tradebox.sim.exchange.deadlines import end_of_life_ns
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.market_port import MarketView, Quote, Trade
from tradebox.sim.exchange.orders import (
    AccountChanged,
    CommissionCharged,
    ExchangeEvent,
    Execution,
    Order,
    OrderError,
    OrderExecuted,
    OrderOpened,
    OrderStatusChanged,
    OrderType,
    Refusal,
    Side,
    Status,
    Tif,
)
from tradebox.sim.exchange.rows import execution_row, state_row, ticket_row
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.trailing import followed_stop

PERM_ID_FLOOR = 100_000_000
CANCEL_TEXT = "Order Canceled - reason:"


@dataclass(slots=True)
class _Depth:
    """What one account may still take of the displayed quote."""

    shown: Quote
    bid_left: int
    ask_left: int


class Desk:
    """Changes orders, books fills, and collects the events that say so."""

    def __init__(
        self,
        market: MarketView,
        ledger: Ledger,
        settings: ExchangeSettings,
        seed: int,
        books: Mapping[str, Book],
    ) -> None:
        self._market = market
        self._ledger = ledger
        self._settings = settings
        self._seed = seed
        self._books = books
        self._depths: dict[tuple[str, str], _Depth] = {}
        self._recorded: dict[int, dict[str, object]] = {}
        self._report_count = 0
        self.last_perm_id = PERM_ID_FLOOR + zlib.crc32(f"perm:{seed}".encode()) % PERM_ID_FLOOR
        self.last_execution = 0
        self.events: list[ExchangeEvent] = []
        self.parts: dict[tuple[str, int, int], list[int]] = {}

    # -- saying ---------------------------------------------------------------------------

    def report(self, order: Order, at_ns: int, *, is_ack: bool = False) -> None:
        """Record the order's state and say it; sometimes twice, as real gateways do."""
        self.record(order, at_ns)
        self._report_count += 1
        copy = dataclasses.replace(order)
        said: list[ExchangeEvent] = [OrderOpened(copy, is_ack), OrderStatusChanged(copy, is_ack)]
        token = f"{self._seed}:{order.perm_id}:{self._report_count}"
        is_repeated = zlib.crc32(token.encode()) % PPM < self._settings.repeat_status_ppm
        self.events += said * (2 if is_repeated else 1)

    def record(self, order: Order, at_ns: int) -> None:
        """Put the order's state into the ledger, if it changed."""
        row = state_row(order)
        if self._recorded.get(order.perm_id) != row:
            self._recorded[order.perm_id] = row
            self._ledger.append("order_state", at_ns, **row)
        if order.status.is_done:
            # Nothing more is to be compared: a long run must not keep every order twice.
            self._recorded.pop(order.perm_id, None)

    def refuse(self, order: Order, refusal: Refusal, at_ns: int) -> None:
        """Say a refusal about an order or a request for one."""
        self.say((order.account, order.client_id, order.order_id), refusal, at_ns)

    def say(self, ids: tuple[str, int, int], refusal: Refusal, at_ns: int) -> None:
        """Say a code about an order id of an account's client, and keep it."""
        account, client_id, order_id = ids
        code, text = refusal.code, refusal.text
        self._ledger.append(
            "order_code",
            at_ns,
            account=account,
            client_id=client_id,
            order_id=order_id,
            code=code,
            text=text,
        )
        self.events.append(OrderError(account, client_id, order_id, code, text))

    # -- life -----------------------------------------------------------------------------

    def release(self, order: Order, parent: Order | None, at_ns: int) -> None:
        """Give the order its perm id and put it into the book."""
        book = self._books[order.account]
        self.last_perm_id += 1
        order.perm_id, order.placed_ns = self.last_perm_id, at_ns
        order.total = order.ticket.quantity
        order.parent_perm_id = parent.perm_id if parent else 0
        order.oca_group, order.oca_type = order.ticket.oca_group, order.ticket.oca_type
        if order.oca_group and order.oca_type == 0:
            order.oca_type = 3
        order.armed = 0 if parent else order.total
        order.status = Status.PRE_SUBMITTED
        clock, ticket = self._market.clock, order.ticket
        is_in = clock.is_tradable(at_ns) if ticket.works_outside else clock.is_open(at_ns)
        is_in = is_in and ticket.tif is not Tif.OPG
        order.session_day = trading_day(at_ns) if is_in else ""
        order.expires_ns = end_of_life_ns(order.ticket, at_ns)
        book.add(order)
        self._ledger.append(
            "order_placed",
            at_ns,
            account=order.account,
            client_id=order.client_id,
            order_id=order.order_id,
            perm_id=order.perm_id,
            parent_perm_id=order.parent_perm_id,
            ticket=ticket_row(order.ticket),
        )

    def reject(self, order: Order, parent: Order | None, refusal: Refusal, at_ns: int) -> None:
        """Refuse a new order; what the broker rejects (201) becomes an inactive order."""
        if refusal.code != checks.REJECTED:
            self.refuse(order, refusal, at_ns)
            return
        self.release(order, parent, at_ns)
        self.end(order, Status.INACTIVE, at_ns, refusal)

    def group_children(self, parent: Order) -> None:
        """Put the children of one parent into the group that the gateway makes of them."""
        children = self._books[parent.account].children(parent)
        if self._settings.gateway_oca_groups == "none":
            return
        if len(children) < (1 if self._settings.oca_for_single_child else 2):
            return
        for child in children:
            if not child.ticket.oca_group:
                child.oca_group, child.oca_type = str(parent.perm_id), 3

    def activate(self, order: Order, at_ns: int, *, is_ack: bool = False) -> None:
        """Say the order, and let it take part in the market."""
        self.announce(order, at_ns, is_ack=is_ack)
        self.try_trade(order, at_ns)

    def announce(self, order: Order, at_ns: int, *, is_ack: bool = False) -> None:
        """Say an order that was just placed, changed (both acknowledge a message) or armed."""
        quote = self._market.quote(order.ticket.symbol)
        if quote is not None and not order.is_waiting and not order.is_triggered:
            self._follow(order, quote.last_micros, at_ns)
        if not order.is_waiting and order.ticket.order_type is OrderType.LMT:
            is_tradable = self._is_tradable(order, at_ns)
            order.status = Status.SUBMITTED if is_tradable else Status.PRE_SUBMITTED
        self.report(order, at_ns, is_ack=is_ack)

    def try_trade(self, order: Order, at_ns: int) -> None:
        """Trigger or fill the order by the present quote, as far as it can be."""
        if order.status.is_done or order.workable == 0 or not self._is_tradable(order, at_ns):
            return
        kind = order.ticket.order_type
        quote = self._market.quote(order.ticket.symbol)
        if quote is None:
            return
        if kind.has_trigger and not order.is_triggered:
            last = quote.last_micros
            self._follow(order, last, at_ns)
            is_through = checks.is_through(order.ticket.side, order.trigger_micros, last)
            if order.is_stuck or not is_through:
                return
            order.is_triggered = True
            order.status = Status.SUBMITTED
            self.report(order, at_ns)
        if order.status is Status.PRE_SUBMITTED and kind is not OrderType.MKT:
            order.status = Status.SUBMITTED
            self.report(order, at_ns)
        if self._is_too_far(order, quote):
            text = f"{CANCEL_TEXT}{checks.TOO_FAR}"
            self.end(order, Status.CANCELLED, at_ns, Refusal(202, text))
            return
        self._take(order, quote, at_ns)
        if order.ticket.tif is Tif.IOC and not order.status.is_done:
            order.status = Status.PENDING_CANCEL
            self.report(order, at_ns)
            self.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))

    def end(self, order: Order, status: Status, at_ns: int, refusal: Refusal | None) -> None:
        """End the order, say so, and settle what becomes of its children.

        A rejection's code is said before its status, a cancel's after it.
        """
        order.status = status
        order.done_ns = at_ns
        order.done_text = "Cancelled by System" if refusal is None else refusal.text
        book = self._books[order.account]
        book.retire(order)
        is_rejected = status is Status.INACTIVE
        if refusal is not None and is_rejected:
            self.refuse(order, refusal, at_ns)
        self.report(order, at_ns)
        if refusal is not None and not is_rejected:
            self.refuse(order, refusal, at_ns)
        for child in book.children(order):
            self._orphan(child, order, at_ns)

    def fill(
        self, order: Order, shares: int, price_micros: int, at_ns: int, liquidity: int
    ) -> None:
        """Book one execution of the order and let its consequences follow."""
        assert 0 < shares <= order.remaining, (shares, order.remaining)
        book = self._books[order.account]
        execution = self._execution(order, shares, price_micros, at_ns, liquidity)
        book.account.apply(execution)
        book.executions.append(execution)
        order.filled = execution.cum_quantity
        order.notional_micros = execution.cum_notional_micros
        order.commission_micros += execution.commission_micros
        order.last_fill_micros = price_micros
        order.status = Status.FILLED if order.remaining == 0 else Status.SUBMITTED
        self._ledger.append("execution", at_ns, **execution_row(execution))
        if order.remaining == 0:
            order.done_ns, order.done_text = at_ns, f"Filled Size: {order.filled}"
            book.retire(order)
        self.events.append(OrderExecuted(execution))
        self.report(order, at_ns)
        self.events.append(CommissionCharged(execution))
        self.events.append(AccountChanged(order.account))
        self._settle_children(order, at_ns)
        self._settle_group(order, shares, at_ns)

    # -- the market -----------------------------------------------------------------------

    def on_trade(self, account: str, trade: Trade) -> None:
        """Trigger stops by a print, and fill resting limits out of its volume."""
        left = trade.size
        for order in self._books[account].live(trade.symbol):
            if order.ticket.tif is Tif.OPG and order.session_day:
                self.at_auction(order, trade.price_micros, trade.event_ns)
                continue
            if order.status.is_done or not self._is_tradable(order, trade.event_ns):
                continue
            ticket = order.ticket
            is_resting = order.has_limit and (
                order.is_triggered or not ticket.order_type.has_trigger
            )
            if is_resting and order.workable and trade.event_ns > order.placed_ns and left > 0:
                reach = (order.limit_micros - trade.price_micros) * ticket.side.sign
                if reach >= 0:
                    shares = min(order.workable, left)
                    left -= shares
                    self._fill_parts(order, shares, order.limit_micros, trade.event_ns, 1)
            elif ticket.order_type.has_trigger and not order.is_triggered:
                self._try_trigger(order, trade)

    def _try_trigger(self, order: Order, trade: Trade) -> None:
        if order.workable == 0:
            return
        self._follow(order, trade.price_micros, trade.event_ns)
        is_through = checks.is_through(order.ticket.side, order.trigger_micros, trade.price_micros)
        if order.is_stuck:
            order.is_stuck = is_through
        elif is_through:
            order.is_triggered = True
            order.status = Status.SUBMITTED
            self.report(order, trade.event_ns)
            self.try_trade(order, trade.event_ns)

    def at_auction(self, order: Order, price_micros: int, at_ns: int) -> None:
        """Fill an order of the opening or closing auction whole at its price, or cancel it."""
        reach = (order.limit_micros - price_micros) * order.ticket.side.sign
        if order.workable and price_micros > 0 and (not order.has_limit or reach >= 0):
            self.fill(order, order.workable, price_micros, at_ns, liquidity=2)
        if not order.status.is_done:
            self.end(order, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))

    def _follow(self, order: Order, last_micros: int, at_ns: int) -> None:
        """Let a trailing stop follow the price."""
        if not order.ticket.order_type.is_trailing:
            return
        instrument = self._market.instrument(order.ticket.symbol)
        assert instrument is not None, order.ticket.symbol
        stop = followed_stop(order, last_micros, instrument.increment_micros)
        if stop != order.stop_micros:
            order.stop_micros = stop
            self.record(order, at_ns)

    def _is_tradable(self, order: Order, at_ns: int) -> bool:
        ticket = order.ticket
        if ticket.tif is Tif.OPG or ticket.order_type.is_on_close:
            return False
        clock = self._market.clock
        is_in_time = clock.is_open(at_ns) or (ticket.works_outside and clock.is_tradable(at_ns))
        return is_in_time and not self._market.is_halted(ticket.symbol)

    def _is_too_far(self, order: Order, quote: Quote) -> bool:
        ticket = order.ticket
        if ticket.order_type is not OrderType.LMT or order.filled:
            return False
        slack_ppm = self._settings.limit_collar_ppm
        if ticket.side is Side.BUY:
            ask = quote.ask_micros
            return ask > 0 and ticket.limit_micros * PPM > ask * (PPM + slack_ppm)
        bid = quote.bid_micros
        return bid > 0 and ticket.limit_micros * PPM < bid * (PPM - slack_ppm)

    def _take(self, order: Order, quote: Quote, at_ns: int) -> None:
        """Fill the order from the displayed size, if its price allows."""
        key = (order.account, order.ticket.symbol)
        depth = self._depths.get(key)
        shown = dataclasses.replace(quote, last_micros=0, last_size=0)
        if depth is None or depth.shown != shown:
            depth = _Depth(shown, quote.bid_size, quote.ask_size)
            self._depths[key] = depth
        is_buy = order.ticket.side is Side.BUY
        price = quote.ask_micros if is_buy else quote.bid_micros
        left = depth.ask_left if is_buy else depth.bid_left
        if price <= 0 or left <= 0:
            return
        if order.has_limit and (order.limit_micros - price) * order.ticket.side.sign < 0:
            return
        shares = min(order.workable, left)
        if is_buy:
            depth.ask_left -= shares
        else:
            depth.bid_left -= shares
        self._fill_parts(order, shares, price, at_ns, 2)
        if not order.has_limit and self._settings.market_depth == "walks":
            self._walk(order, price, quote.ask_size if is_buy else quote.bid_size, at_ns)

    def _fill_parts(
        self, order: Order, shares: int, price: int, at_ns: int, liquidity: int
    ) -> None:
        """Fill at once, or in the parts that a fault script wants."""
        key = (order.account, order.client_id, order.order_id)
        while shares and (parts := self.parts.get(key)):
            part = min(shares, parts.pop(0))
            shares -= part
            self.fill(order, part, price, at_ns, liquidity)
        if shares:
            self.fill(order, shares, price, at_ns, liquidity)

    def _walk(self, order: Order, price: int, size: int, at_ns: int) -> None:
        """Fill a market order beyond the display, each level one increment worse."""
        instrument = self._market.instrument(order.ticket.symbol)
        assert instrument is not None, order.ticket.symbol
        step = instrument.increment_micros * order.ticket.side.sign
        while order.workable and price + step > 0:
            price += step
            self.fill(order, min(order.workable, max(size, 1)), price, at_ns, liquidity=2)

    # -- consequences ---------------------------------------------------------------------

    def _execution(
        self, order: Order, shares: int, price_micros: int, at_ns: int, liquidity: int
    ) -> Execution:
        self.last_execution += 1
        account = self._books[order.account].account
        stem = zlib.crc32(f"{self._seed}:{account.account_id}".encode())
        filled = order.filled + shares
        settings = self._settings
        due = max(settings.commission_min_micros, filled * settings.commission_per_share_micros)
        fee = due - order.commission_micros
        ticket = order.ticket
        return Execution(
            exec_id=f"{stem:08x}.{self.last_execution:08x}.01.01",
            perm_id=order.perm_id,
            account=order.account,
            client_id=order.client_id,
            order_id=order.order_id,
            symbol=ticket.symbol,
            con_id=ticket.con_id,
            side=ticket.side,
            shares=shares,
            price_micros=price_micros,
            at_ns=at_ns,
            cum_quantity=filled,
            cum_notional_micros=order.notional_micros + shares * price_micros,
            order_ref=ticket.order_ref,
            liquidity=liquidity,
            commission_micros=fee,
            realized_micros=account.realized_by(
                ticket.symbol, ticket.side, shares, price_micros, fee
            ),
        )

    def _settle_children(self, order: Order, at_ns: int) -> None:
        mode = self._settings.child_on_partial_parent
        for child in self._books[order.account].children(order):
            if child.armed >= child.total:
                continue
            if order.remaining == 0 or mode == "armed_full":
                child.armed = child.total
            elif mode == "armed_part":
                child.armed = min(order.filled, child.total)
            else:
                continue
            self.activate(child, at_ns)

    def _settle_group(self, order: Order, shares: int, at_ns: int) -> None:
        for other in self._books[order.account].group(order):
            if other.status.is_done:
                continue
            if order.oca_type == 1 or other.remaining <= shares:
                self.end(other, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
                continue
            other.total -= shares
            other.armed = min(other.armed, other.total)
            self.report(other, at_ns)

    def _orphan(self, child: Order, parent: Order, at_ns: int) -> None:
        """Settle a child whose parent ended without a full fill."""
        mode = self._settings.child_on_parent_cancel
        if parent.filled == 0 or mode == "dies":
            self.end(child, Status.CANCELLED, at_ns, Refusal(202, CANCEL_TEXT))
            return
        if mode == "shrinks":
            child.total = min(child.total, parent.filled)
        child.armed = child.total
        self.activate(child, at_ns)
