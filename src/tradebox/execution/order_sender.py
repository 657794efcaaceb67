"""From a decision to bytes: mint, gate, commit, write; in this order and nowhere else.

Rules of this file:
- the orderRef is minted and committed before the send, and never used again;
- an order id is above everything the gateway or PostgreSQL ever saw;
- an entry that PostgreSQL did not take is not sent; a reduction goes through the spool;
- bytes that certainly did not leave make an order NEVER_SENT, everything else is unknown;
- a refusal moves no money: it is shown at once; one is written at once, a storm of them in
  batches, so that it holds no exit up: what a crash may lose is a quarter of a second of a storm.
"""

import secrets
from collections import deque
from dataclasses import replace
from typing import Final

from tradebox.domain.events import IntentDenied, OrderChanged
from tradebox.domain.gate_values import EntryProposal, StopChange, unknown
from tradebox.domain.market import Instrument
from tradebox.domain.money import Rounding, round_to_increment
from tradebox.domain.order_gate import (
    Approved,
    approve_change,
    approve_entry,
    approve_reduction,
)
from tradebox.domain.order_table import Move
from tradebox.domain.orders import (
    Denied,
    OrderIntent,
    OrderRole,
    OrderState,
    OrderType,
    Side,
    Tif,
)
from tradebox.domain.path import (
    EnterRequest,
    ExitRequest,
    LinkState,
    MoveStopRequest,
    PathRequest,
    RequestDenied,
    ScaleOutRequest,
)
from tradebox.errors import BrokerUnavailable, StoreUnavailable
from tradebox.execution.buckets import Buckets
from tradebox.execution.kill_switch import KillSwitch, kill_name
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.execution.order_intents import intent_of, never_sent, stop_intent
from tradebox.execution.order_link import OrderLink
from tradebox.execution.path_views import Views
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.procedures import (
    CancelOrder,
    ChangeStop,
    FireStop,
    PlaceReducer,
    PlaceStop,
    PlanDesk,
)
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.execution.send_times import SendTimes, evidence_text
from tradebox.ports.order_store import (
    Change,
    IntentRefused,
    Noted,
    OrderRecorded,
    OrderRow,
)
from tradebox.ports.orders import OrderTicket

_PAIR: Final = 2
"""The messages of an entry: itself and its stop."""
_TAIL_BYTES: Final = 3
_STORM_S: Final = 1.0
_DENIALS_A_BATCH: Final = 200
_DENIALS_GAP_S: Final = 0.05
"""A refusal is written at once; those that follow within this time go together."""
_SPLIT: Final = Denied(
    "split", "the same shares", "others", "it looks like a split: a person must settle the symbol"
)
_MISSING: Final = Denied(
    "position", "what the broker holds", "less", "books and broker differ: a person must settle it"
)
_HALT: Final = Denied(
    "halt", "trading", "halted", "the broker takes no order in a halt: the stop rests until it ends"
)


class OrderSender:
    """The only holder of the way to the wire in an order path."""

    def __init__(
        self,
        book: OrderBook,
        link: OrderLink,
        keeper: RecordKeeper,
        views: Views,
        kill: KillSwitch,
        rules: PathRules,
        world: PathWorld,
    ) -> None:
        self._book = book
        self._link = link
        self._keeper = keeper
        self._views = views
        self._kill = kill
        self._rules = rules
        self._world = world
        self._buckets = Buckets(
            rules.orders_per_s_max, rules.orders_per_min_max, rules.orders_per_day_max
        )
        self.orders_sent = 0
        self._storm: deque[float] = deque(maxlen=rules.rate_latch_max)
        self._denials: list[Change] = []
        self._denials_kept_s = float("-inf")
        self.times = SendTimes(world.clock)

    # entries

    async def enter(self, req: EnterRequest) -> Denied | None:
        """Send an entry with its stop as one pair, or return the refusal."""
        self.times.asked()
        instrument = self._world.instrument(req.symbol)
        if instrument is None:
            return unknown("fields", f"the broker's contract of {req.symbol}")
        order_id = self._next_order_id()
        entry = OrderIntent(
            order_ref=self._mint(order_id),
            plan_id=req.plan_id,
            account=self._link.identity.name,
            symbol=req.symbol,
            con_id=instrument.con_id,
            role=OrderRole.ENTRY,
            side=req.side,
            quantity=req.quantity,
            order_type=req.order_type,
            tif=req.tif,
            limit_price=req.limit_price,
            stop_price=req.entry_stop_price,
            transmit=False,
            reason=req.reason,
        )
        stop = stop_intent(
            entry, self._mint(order_id + 1), req.side.opposite, req.quantity, req.protective_stop,
            entry.order_ref,
        )  # fmt: skip
        account = self._views.account(
            self._kill, self._buckets, audit_is_up=self._keeper.is_up, symbol=req.symbol
        )
        symbol = self._views.symbol(req.symbol, req.plan_id, req.side, req.quantity)
        verdict = approve_entry(EntryProposal(entry, stop), account, symbol, self._rules.limits)
        now_s = self._world.clock.now()
        if isinstance(verdict, Denied):
            self._latch(verdict, now_s)
            if verdict.check == "kill_switch":
                return self._stopped(req.symbol) or verdict
            return verdict
        self._buckets.take_entry(_PAIR, now_s)
        self._views.entries.note(req.symbol, req.side, req.quantity, now_s)
        self.times.passed()
        denied = await self._send(verdict, instrument, order_id, evidence_text(req.evidence))
        if denied is None:
            self.times.tell(self._world.publish, entry.account, entry.order_ref, req)
        return denied

    def _stopped(self, symbol: str) -> Denied | None:
        """Return the refusal of an entry that a switch stops, by the switch's name."""
        account = self._link.identity.name
        name = self._kill.stopped_by(account, symbol)
        whose = f" {symbol}" if name == kill_name(symbol) else ""
        fix = f"`tradebox ctl resume{whose} --account {account}` lifts it"
        return Denied("kill_switch", "off", name, fix) if name else None

    def slow_down(self) -> None:
        """Let entries go at half their rate for a while."""
        self._buckets.slow_down(self._world.clock.now())

    def _latch(self, denied: Denied, now_s: float) -> None:
        """Set the kill switch when entries keep storming the rate limit: somebody is mad.

        Where the gateway's pace alone was short, our own looks took it: that is no storm.
        """
        if denied.check not in ("rate", "repeat"):
            return
        if denied.check == "rate" and self._buckets.entry_tokens(now_s) >= _PAIR:
            return
        self._storm.append(now_s)
        if len(self._storm) == self._storm.maxlen and now_s - self._storm[0] <= _STORM_S:
            name = self._link.identity.name
            count = len(self._storm)
            self._storm.clear()
            if self._kill.set(f"{name}: {count} entries over the rate limit within a second"):
                self._link.alert("critical", "kill_latch", self._kill.reason)

    def _next_order_id(self) -> int:
        info = self._link.info
        return max(self._book.order_id_max + 1, 1 if info is None else info.next_valid_id)

    def take_order_id(self) -> int:
        """Return an order id that nothing else will use."""
        self._book.order_id_max = self._next_order_id()
        return self._book.order_id_max

    def _mint(self, order_id: int) -> str:
        """Return an orderRef no home has used: account, order id, and a random tail."""
        letter = self._link.identity.name.value[0]
        return f"tb{letter}-{order_id:x}-{secrets.token_hex(_TAIL_BYTES)}"

    # reductions

    def reduction_fault(
        self, desk: PlanDesk, req: MoveStopRequest | ScaleOutRequest | ExitRequest
    ) -> Denied | None:
        """Return why a procedure should not even begin; its orders are gated one by one."""
        if not self._link.can_reduce:
            state = str(self._link.state)
            return Denied("link", LinkState.CLEAN, state, "orders move on a clean link only")
        if desk.is_forked and not isinstance(req, ExitRequest):
            return Denied(
                "unproven", "one stop", "copies of it", "the stop was forked: one must go"
            )
        if isinstance(req, MoveStopRequest):
            return self._move_fault(desk, req)
        if desk.held == 0 and isinstance(req, ExitRequest):
            return None
        if self._views.exit_price(desk.symbol) is None:
            return Denied("freshness", "a price", "none", "no price to leave by")
        if self._views.looks_split(desk):
            return _SPLIT
        if self._views.is_halted(desk.symbol):
            return _HALT
        if self._world.session_is_open(self._world.market_clock.now_ns()) is not True:
            return Denied("session", "open", "not open", "the market is not open")
        if isinstance(req, ScaleOutRequest) and req.quantity <= 0:
            return Denied("fields", "a size", str(req.quantity), "a slice needs shares")
        return None

    def _move_fault(self, desk: PlanDesk, req: MoveStopRequest) -> Denied | None:
        level = desk.stop_level
        if desk.held <= 0 or level is None:
            return Denied("position", "held", str(desk.position), "there is nothing to protect")
        if (req.stop_price - level) * desk.side.sign < 0:
            return Denied("ratchet", str(level), str(req.stop_price), "a stop only tightens")
        instrument = self._world.instrument(desk.symbol)
        if instrument is None or req.stop_price <= 0 or req.stop_price % instrument.increment:
            return Denied("fields", "on the increment", str(req.stop_price), "a malformed price")
        return None

    async def reduce(
        self, desk: PlanDesk, action: PlaceStop | PlaceReducer
    ) -> OrderRecord | Denied:
        """Send a standalone stop, a slice or an exit; return its record or the refusal."""
        instrument = self._world.instrument(desk.symbol)
        if instrument is None:
            return Denied("fields", "a known symbol", desk.symbol, "the contract is unknown")
        if isinstance(action, PlaceStop) and self._views.looks_split(desk):
            return _SPLIT
        if self._views.is_beyond(desk, action.quantity):
            return _MISSING
        order_id = self._next_order_id()
        intent = self._reduce_intent(desk, action, instrument, order_id)
        if isinstance(intent, Denied):
            return intent
        account = self._views.account(self._kill, self._buckets, audit_is_up=self._keeper.is_up)
        symbol = self._views.symbol(desk.symbol, desk.plan_id, intent.side)
        verdict = approve_reduction(
            intent, account, symbol, self._views.reduce(desk), self._rules.limits
        )
        if isinstance(verdict, Denied):
            return verdict
        self._buckets.take_reduce(1, self._world.clock.now())
        denied = await self._send(verdict, instrument, order_id, "")
        return denied if denied is not None else self._book.orders[intent.order_ref]

    def _reduce_intent(
        self,
        desk: PlanDesk,
        action: PlaceStop | PlaceReducer,
        instrument: Instrument,
        order_id: int,
    ) -> OrderIntent | Denied:
        like = OrderIntent(
            order_ref=self._mint(order_id),
            plan_id=desk.plan_id,
            account=self._link.identity.name,
            symbol=desk.symbol,
            con_id=instrument.con_id,
            role=OrderRole.EXIT,
            side=action.side,
            quantity=action.quantity,
            order_type=OrderType.LIMIT,
            tif=Tif.IOC,
            reason=action.reason,
        )
        if isinstance(action, PlaceStop):
            return stop_intent(
                like, like.order_ref, action.side, action.quantity, action.stop_price
            )
        price = self._views.exit_price(desk.symbol)
        if price is None:
            return Denied("freshness", "a price", "none", "no price to leave by")
        if self._world.session_is_open(self._world.market_clock.now_ns()) is not True:
            return Denied("session", "open", "not open", "the market is not open")
        collar = price * (1 + action.side.sign * self._rules.exit_collar_share)
        inward = Rounding.DOWN if action.side is Side.BUY else Rounding.UP
        limit = round_to_increment(collar, instrument.increment, inward)
        return replace(like, role=action.role, limit_price=limit)

    async def change(self, desk: PlanDesk, action: ChangeStop) -> Denied | None:
        """Modify a resting stop: restate it, with its new total and trigger."""
        record, instrument = action.record, self._world.instrument(desk.symbol)
        old = record.row.stop_price
        if instrument is None or old is None:
            return Denied("fields", "a known stop", record.ref, "the stop is not known")
        change = StopChange(
            order_ref=record.ref,
            plan_id=desk.plan_id,
            symbol=desk.symbol,
            side=record.row.side,
            quantity=action.quantity,
            filled=record.filled,
            stop_price=action.stop_price,
            old_stop_price=old,
            reason=action.reason,
        )
        account = self._views.account(self._kill, self._buckets, audit_is_up=self._keeper.is_up)
        symbol = self._views.symbol(desk.symbol, desk.plan_id, record.row.side)
        verdict = approve_change(change, account, symbol, self._views.reduce(desk, record))
        if isinstance(verdict, Denied):
            return verdict
        self._buckets.take_reduce(1, self._world.clock.now())
        return await self._send_change(verdict, record, instrument)

    async def fire(self, desk: PlanDesk, action: FireStop) -> Denied | None:
        """Move a stop's trigger through the market; the session must be open."""
        price, instrument = self._views.exit_price(desk.symbol), self._world.instrument(desk.symbol)
        if price is None or instrument is None:
            return Denied("freshness", "a price", "none", "no price to leave by")
        if self._world.session_is_open(self._world.market_clock.now_ns()) is not True:
            return Denied("session", "open", "not open", "the market is not open")
        sign = desk.side.sign
        through = price * (1 + sign * self._rules.exit_collar_share)
        outward = Rounding.UP if sign > 0 else Rounding.DOWN
        trigger = round_to_increment(through, instrument.increment, outward)
        record = action.record
        total = record.filled + abs(desk.position)
        return await self.change(desk, ChangeStop(record, total, trigger, action.reason))

    async def _send_change(
        self, approved: Approved, record: OrderRecord, instrument: Instrument
    ) -> Denied | None:
        change = approved.change
        assert change is not None
        data = (("quantity", str(change.quantity)), ("stop_price", str(change.stop_price)))
        noted = Noted("order_change", change.symbol, change.plan_id, change.order_ref, data)
        await self._keeper.commit([noted], may_spool=True)
        parent = self._book.orders.get(record.row.parent_ref or "")
        parent_lives = parent is not None and not parent.is_over
        ticket = OrderTicket(
            order_id=record.row.order_id,
            intent=intent_of(record),
            account_id=self._link.account_id,
            instrument=instrument,
            quantity=change.quantity,
            order_type=record.row.order_type,
            tif=record.row.tif,
            limit_price=None,
            stop_price=change.stop_price,
            parent_id=parent.row.order_id if parent is not None and parent_lives else 0,
            transmit=True,
        )
        record.change_wanted = (change.quantity, change.stop_price)
        record.change_asked_s, record.change_doubted_ns = self._world.clock.now(), None
        record.is_ageing, record.placed_ns = False, self._world.market_clock.now_ns()
        try:
            self._link.send(ticket)
        except BrokerUnavailable as error:
            record.change_wanted = None
            return Denied("link", LinkState.CLEAN, error.message, "the link broke before the send")
        return None

    async def cancel(self, action: CancelOrder) -> None:
        """Cancel an order; what becomes of it, facts say."""
        record = action.record
        data = (("reason", action.reason),)
        row = record.row
        noted = Noted("order_cancel", row.symbol, row.plan_id, record.ref, data)
        await self._keeper.commit([noted], may_spool=True)
        record.cancel_asked_s = self._world.clock.now()
        try:
            self._link.cancel(row.order_id)
        except BrokerUnavailable:
            record.cancel_asked_s = None
        else:
            record.is_ended_by_us = True

    # the send itself

    async def _send(
        self, approved: Approved, instrument: Instrument, order_id: int, evidence: str
    ) -> Denied | None:
        rows = [self._row(intent, order_id + index) for index, intent in enumerate(approved.orders)]
        self._book.order_id_max = max(self._book.order_id_max, order_id + len(rows) - 1)
        recorded: list[Change] = [OrderRecorded(row, evidence) for row in rows]
        tickets: list[OrderTicket] = []
        try:
            await self._keeper.commit(
                recorded,
                may_spool=not approved.is_entry,
                meanwhile=lambda: tickets.extend(self._prepared(approved, rows, instrument)),
            )
        except StoreUnavailable as error:
            await self._never_sent(rows, "PostgreSQL did not take the intent")
            return Denied("audit", "committed", error.message, "no record, no entry")
        self.times.committed()
        self._book.apply(recorded)
        stopped = self._stopped(rows[0].symbol) if approved.is_entry else None
        if stopped is not None:
            await self._unsent(rows, "entries were stopped before the send")
            return stopped
        may_send = self._link.can_enter if approved.is_entry else self._link.can_reduce
        if not may_send:
            await self._unsent(rows, "the link broke before the send")
            return Denied("link", LinkState.CLEAN, str(self._link.state), "the link broke")
        now_s = self._world.clock.now()
        tickets = tickets or self._tickets(approved, rows, instrument)
        for index, (row, ticket) in enumerate(zip(rows, tickets, strict=True)):
            try:
                self._link.send(ticket)
            except BrokerUnavailable as error:
                await self._unsent(rows[index:], error.message)
                return Denied("link", LinkState.CLEAN, error.message, "the link broke")
            record = self._book.orders[row.order_ref]
            record.sent_s, record.placed_ns = now_s, self._world.market_clock.now_ns()
            self.orders_sent += 1
        for row in rows:
            self._show(row)
        return None

    def _row(self, intent: OrderIntent, order_id: int) -> OrderRow:
        return OrderRow(
            order_ref=intent.order_ref,
            plan_id=intent.plan_id,
            account=intent.account,
            account_id=self._link.account_id,
            symbol=intent.symbol,
            con_id=intent.con_id,
            role=intent.role,
            side=intent.side,
            quantity=intent.quantity,
            order_type=intent.order_type,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            tif=intent.tif,
            parent_ref=intent.parent_ref,
            client_id=self._link.client_id,
            order_id=order_id,
            state=OrderState.SENDING,
            reason=intent.reason,
        )

    def _prepared(
        self, approved: Approved, rows: list[OrderRow], instrument: Instrument
    ) -> list[OrderTicket]:
        """Return the tickets, and have their bytes made."""
        tickets = self._tickets(approved, rows, instrument)
        for ticket in tickets:
            self._link.prepare(ticket)
        return tickets

    def _tickets(
        self, approved: Approved, rows: list[OrderRow], instrument: Instrument
    ) -> list[OrderTicket]:
        ids = {row.order_ref: row.order_id for row in rows}
        return [
            OrderTicket(
                order_id=row.order_id,
                intent=intent,
                account_id=row.account_id,
                instrument=instrument,
                quantity=row.quantity,
                order_type=row.order_type,
                tif=row.tif,
                limit_price=row.limit_price,
                stop_price=row.stop_price,
                parent_id=ids.get(intent.parent_ref or "", 0),
                transmit=intent.transmit,
            )
            for intent, row in zip(approved.orders, rows, strict=True)
        ]

    async def _never_sent(self, rows: list[OrderRow], cause: str) -> None:
        """Say of rows that are in no book, but maybe in PostgreSQL, that they never left."""
        moves = never_sent(rows, cause)
        await self._keeper.commit(moves, may_spool=True)

    async def _unsent(self, rows: list[OrderRow], cause: str) -> None:
        changes: list[Change] = []
        for row in rows:
            changes += self._book.move(self._book.orders[row.order_ref], Move.NOT_SENT, cause)
        await self._keeper.commit(changes, may_spool=True)
        self._book.apply(changes)

    def _show(self, row: OrderRow) -> None:
        self._world.publish(
            OrderChanged(
                row.account, row.order_ref, row.plan_id, row.symbol, row.role, row.side,
                row.quantity, 0, row.order_type, row.limit_price, row.stop_price, row.state,
                row.order_id, 0, self._world.market_clock.now_ns(),
            )
        )  # fmt: skip

    # refusals

    async def record_denial(
        self, plan_id: str, symbol: str, role: OrderRole, denied: Denied
    ) -> None:
        """Show a refusal and write it down: at once, or in a storm with the next batch."""
        now_ns = self._world.market_clock.now_ns()
        self._world.publish(
            IntentDenied(
                self._link.identity.name, plan_id, symbol, denied.check, denied.limit,
                denied.observed, denied.reason, now_ns,
            )
        )  # fmt: skip
        refused = IntentRefused(
            plan_id, symbol, role, denied.check, denied.limit, denied.observed, denied.reason
        )
        self._denials.append(refused)
        waited_s = self._world.clock.now() - self._denials_kept_s
        if waited_s >= _DENIALS_GAP_S or len(self._denials) >= _DENIALS_A_BATCH:
            await self.keep_denials()

    async def keep_denials(self) -> None:
        """Write the refusals that are not in PostgreSQL yet, in one batch."""
        if not self._denials:
            return
        denials, self._denials = self._denials, []
        await self._keeper.commit(denials, may_spool=True)
        # From its end: a commit that takes long would else be followed by one for each refusal.
        self._denials_kept_s = self._world.clock.now()

    def denied_event(self, req: PathRequest, denied: Denied) -> RequestDenied:
        """Return what the plan is told."""
        now_ns = self._world.market_clock.now_ns()
        return RequestDenied(req.plan_id, type(req).__name__, denied, now_ns)
