"""What a plan's orders must do next: small state machines advanced by facts and timers.

Rules of this file:
- pure: `advance` looks at the book and the time and names the next actions; the order path
  gates, records and sends them, and says what was denied;
- nothing is decided while an order of the plan is unknown, or a fill is counted but not booked:
  the broker's lists are asked instead;
- never two stops for the same shares: a stop is placed only when no other stop of the plan may
  still live, and every reducing order is counted against the position;
- a procedure that cannot go on gives the shares their stop back;
- in a halt the broker takes no order: no stop is taken off, and one that is gone is asked for again
  and again until it is back.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from tradebox.domain.capabilities import UNPROVEN
from tradebox.domain.orders import OrderRole, OrderState, Side
from tradebox.execution.codes import HALTED
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.execution.plan_orders import PlanOrders
from tradebox.execution.procedure_words import (
    Action,
    Alarm,
    CancelOrder,
    ChangeStop,
    Enter,
    Exit,
    Finish,
    FireStop,
    Look,
    MoveStop,
    Patience,
    PlaceReducer,
    PlaceStop,
    Procedure,
    ScaleOut,
)

__all__ = [
    "Action",
    "Alarm",
    "CancelOrder",
    "ChangeStop",
    "Enter",
    "Exit",
    "Finish",
    "FireStop",
    "Look",
    "MoveStop",
    "Patience",
    "PlaceReducer",
    "PlaceStop",
    "PlanDesk",
    "Procedure",
    "ScaleOut",
]

_EPSILON_S: Final = 1e-9


class PlanDesk(PlanOrders):
    """The orders of one plan and the procedure under way.

    Holds:   working stops + working slices never exceed the position; at most one stop of the
             plan is sent at a time; with facts flowing and nothing denied, cover returns.
    """

    def __init__(self, plan_id: str, symbol: str, side: Side, book: OrderBook) -> None:
        super().__init__(plan_id, symbol, side, book)
        self.procedure: Procedure | None = None
        self._stop_level: Decimal | None = None
        self.patience = Patience()
        self.proven = UNPROVEN
        """What this gateway was seen to do; what was not seen is done the safe way."""
        self.is_halted: Callable[[], bool] = lambda: False
        """Whether the symbol is known to be halted now."""
        self.is_killed: Callable[[], bool] = lambda: False
        """Whether the kill switch stops entries into the symbol."""
        self.read_done_ns = 0
        """Monotonic start of the last snapshot whose position agreed with the book."""
        self._awaited = ""
        self._awaited_s = 0.0
        self._was_awaited = ""
        self._retry_s = float("-inf")
        self._lost: tuple[str, float, int] | None = None
        """The stop that the broker ended by itself, and since when that is known: s, ns."""
        book.touch(plan_id)

    @property
    def stop_level(self) -> Decimal | None:
        """Where the stop is to stand."""
        return self._stop_level

    @stop_level.setter
    def stop_level(self, level: Decimal | None) -> None:
        self._stop_level = level
        self._book.touch(self.plan_id)

    @property
    def cause(self) -> str:
        """Why it may be uncovered now: the window's name."""
        if isinstance(self.procedure, Enter):
            return "entry_partial"
        if isinstance(self.procedure, Exit):
            return "exit"
        if isinstance(self.procedure, MoveStop | ScaleOut):
            return "stop_replacement"
        return "repair"

    def why_closed(self, entry: OrderRecord) -> str:
        """Return why an entry works no more: our own reason, the broker's words, or its state."""
        if entry.state is OrderState.NEVER_SENT:
            return entry.code_text or "it never reached the broker"
        wanted = self.procedure.cancel_wanted if isinstance(self.procedure, Enter) else ""
        is_asked = wanted and entry.state is OrderState.CANCELLED
        return (wanted if is_asked else entry.code_text) or entry.state.value

    # what is next

    def advance(self, now_s: float, now_ns: int) -> list[Action]:
        """Return the next actions; empty where a fact or more time is awaited."""
        self._was_awaited, self._awaited = self._awaited, ""
        records = self.records
        if any(record.is_unknown for record in records):
            return self._await(now_s, "an order is unknown")
        if any(not record.is_settled for record in records):
            return self._await(now_s, "a fill is counted but not booked")
        if now_s < self._retry_s:
            return []
        if self.held < 0 and not isinstance(self.procedure, Exit):
            self.procedure = Exit("more was sold than held")
            text = f"{self.plan_id} {self.symbol}: position {self.position} is on the wrong side"
            return [Alarm("critical", "oversold", text)]
        procedure = self.procedure
        if isinstance(procedure, Enter):
            return self._enter(procedure, now_s, now_ns)
        if isinstance(procedure, MoveStop):
            return self._move_stop(procedure, now_s, now_ns)
        if isinstance(procedure, ScaleOut):
            return self._scale_out(procedure, now_s, now_ns)
        if isinstance(procedure, Exit):
            return self._exit(procedure, now_s, now_ns)
        return self._cover(now_s, now_ns)

    def denied(self, action: Action, now_s: float) -> None:
        """Take note that the gate refused an action, or that it could not be recorded."""
        self._retry_s = now_s + self.patience.retry_s
        procedure = self.procedure
        if isinstance(action, ChangeStop):
            action.record.change_failures += 1
        if isinstance(action, PlaceReducer) and isinstance(procedure, ScaleOut):
            procedure.phase = "restore"
            self._retry_s = now_s
        if isinstance(action, PlaceReducer) and isinstance(procedure, Exit):
            procedure.phase = "restore"
            self._retry_s = now_s

    def _await(self, now_s: float, what: str) -> list[Action]:
        """Wait; ask for a look each time the same wait has lasted its time."""
        self._awaited = what
        if what != self._was_awaited:
            self._awaited_s = now_s
            return []
        if now_s - self._awaited_s < self.patience.look_s - _EPSILON_S:
            return []
        self._awaited_s = now_s
        return [Look(what)]

    def _finish(self, kind: str, filled: int, reason: str) -> list[Action]:
        self.procedure = None
        return [Finish(kind, filled, reason)]

    def _cancel(self, record: OrderRecord, reason: str, now_s: float) -> list[Action]:
        """Ask once, and again only after the lists were read without an end."""
        asked_s = record.cancel_asked_s
        if asked_s is not None:
            if now_s - asked_s > 2 * self.patience.look_s:
                record.cancel_asked_s = None
            return self._await(now_s, "a cancel is not answered")
        return [CancelOrder(record, reason)]

    def _replace(self, stop: OrderRecord, reason: str, now_s: float) -> list[Action]:
        """Take a stop off for another one to stand there; in a halt it stays as it is."""
        return [] if self.is_halted() else self._cancel(stop, reason, now_s)

    # entry

    def _enter(self, enter: Enter, now_s: float, now_ns: int) -> list[Action]:
        entry = self.entry
        assert entry is not None, self.plan_id
        if not entry.is_over:
            return self._enter_working(enter, entry, now_s)
        if enter.ended_s is None:
            enter.ended_s = now_s
        if self.held == 0:
            stops = self.working(OrderRole.STOP)
            if stops and entry.booked == 0:
                if now_s - enter.ended_s < self.patience.cascade_s:
                    return []
                return self._cancel(stops[0], "the entry is gone", now_s)
            actions = self._stop_to(0, now_s, now_ns)
            return (
                self._finish("EnterRequest", entry.booked, "flat") if actions is None else actions
            )
        actions = self._stop_to(self.held, now_s, now_ns)
        if actions is None:
            if enter.cancel_wanted and now_s - enter.ended_s < self.patience.cascade_s:
                return []  # its child may yet be taken along
            return self._finish("EnterRequest", entry.booked, enter.cancel_wanted or "covered")
        return actions

    def _enter_working(self, enter: Enter, entry: OrderRecord, now_s: float) -> list[Action]:
        if entry.booked and enter.partial_since_s is None:
            enter.partial_since_s = now_s
        if self.armed_quantity >= self.held:
            enter.bare_since_s = None
        elif enter.bare_since_s is None:
            enter.bare_since_s = now_s
        if not enter.cancel_wanted and enter.partial_since_s is not None:
            if self._is_over_due(enter, now_s):
                enter.cancel_wanted = "partly filled for too long"
            elif self.armed_quantity > self.held:
                enter.cancel_wanted = "the stop is armed for more than is held"
            elif entry.booked and not self.working(OrderRole.STOP):
                enter.cancel_wanted = "the stop is gone"
        if not enter.cancel_wanted and self.is_killed():
            enter.cancel_wanted = "the kill switch is set"
        if enter.cancel_wanted:
            shrink = self._shrink_child(enter, entry, now_s)
            return self._cancel(entry, enter.cancel_wanted, now_s) if shrink is None else shrink
        if not self.working(OrderRole.STOP):
            enter.cancel_wanted = "the stop was refused"
            return self._cancel(entry, enter.cancel_wanted, now_s)
        return []

    def _is_over_due(self, enter: Enter, now_s: float) -> bool:
        """Say whether the rest of a partly filled entry had its time: less where it is bare."""
        patience = self.patience
        waits = [(enter.partial_since_s, patience.entry_partial_s)]
        waits.append((enter.bare_since_s, patience.entry_bare_s))
        return any(
            since_s is not None and now_s - since_s >= limit_s - _EPSILON_S
            for since_s, limit_s in waits
        )

    def _shrink_child(self, enter: Enter, entry: OrderRecord, now_s: float) -> list[Action] | None:
        """Fit the child to the filled part before the rest is cancelled; None: go on.

        What a broker does with the child of a partly filled, cancelled parent is not known:
        where it arms the child as it is, more than what is held would be for sale. A fill that is
        heard of when the cancel is under way already is fitted, too: it may be in time.
        """
        stops = self.working(OrderRole.STOP)
        if self.proven.allows("child_on_parent_cancel"):
            return None
        if len(stops) != 1 or not entry.booked:
            return None
        stop = stops[0]
        if stop.change_wanted is not None:
            is_late = now_s - stop.change_asked_s >= self.patience.entry_bare_s
            return None if is_late or stop.change_doubted_ns is not None else []
        if enter.is_shrunk or stop.remaining <= self.held or self.stop_level is None:
            return None
        enter.is_shrunk = True
        return [ChangeStop(stop, stop.filled + self.held, self.stop_level, "fit what is filled")]

    # the stop

    def _stop_to(self, quantity: int, now_s: float, now_ns: int) -> list[Action] | None:
        """Return what brings the stop to this size at the stop level; None: it is there."""
        self._ratchet()
        stops = self.working(OrderRole.STOP)
        if quantity == 0:
            return self._cancel(stops[0], "nothing is held", now_s) if stops else None
        if not stops:
            look = self._look_first(now_s, now_ns)
            return self._place_stop(quantity, now_s) if look is None else look
        if len(stops) > 1:
            surplus = min(stops, key=lambda record: (record.is_armed, record.remaining))
            return self._cancel(surplus, "one stop is enough", now_s)
        stop = stops[0]
        if stop.cancel_asked_s is not None:
            return self._cancel(stop, "", now_s)
        if stop.copies.is_forked:
            return None  # a change could make a third copy: a person cancels one of the two
        if stop.change_wanted is not None:
            return self._await_change(stop, now_s, now_ns)
        if not stop.is_armed:
            return self._await_armed(stop, now_s)
        fits = stop.remaining == quantity and stop.row.stop_price == self.stop_level
        is_sound = stop.echo is None or stop.echo.tif == stop.row.tif
        if fits and is_sound and not stop.is_ageing:
            return None
        assert self.stop_level is not None, self.plan_id
        if stop.change_failures:
            return self._replace(stop, "the change was refused: replace", now_s)
        total = stop.filled + quantity
        reason = "renew its date" if fits and is_sound else "fit the position"
        return [ChangeStop(stop, total, self.stop_level, reason)]

    def _look_first(self, now_s: float, now_ns: int) -> list[Action] | None:
        """Have the position read before a stop replaces one that the broker ended; None: go on.

        A split takes the stop and changes shares and price: a new one at the old level would
        fire at once. Where no read comes in time, or books and broker differ by something else,
        the stop is placed all the same.
        """
        last = self.taken_stop()
        if last is None or (last.was_over and self.read_done_ns):
            return None  # of one that ended in an earlier life, the first read of this is later
        if self._lost is None or self._lost[0] != last.ref:
            self._lost = (last.ref, now_s, now_ns)
            return [Look("the broker ended a stop", is_pressing=True)]
        _ref, since_s, since_ns = self._lost
        if self.read_done_ns > since_ns or now_s - since_s >= self.patience.change_s:
            return None
        return []

    def _ratchet(self) -> None:
        """Take over a tighter level that a stop already had.

        Over a restart the echo of a move may come after the books were read.
        """
        for record in self.records:
            if record.row.role is not OrderRole.STOP:
                continue
            echoed = None if record.echo is None else record.echo.stop_price
            for price in (record.row.stop_price, echoed):
                if price is None:
                    continue
                level = self.stop_level
                if level is None or (price - level) * self.side.sign > 0:
                    self.stop_level = price

    def _place_stop(self, quantity: int, now_s: float) -> list[Action]:
        last = [record for record in self.records if record.row.role is OrderRole.STOP]
        if self.stop_level is None and last:
            self.stop_level = last[-1].row.stop_price
        refused = 0
        for record in reversed(last):
            if not record.is_refused or record.row.parent_ref is not None:
                break
            has_left = record.state is OrderState.REJECTED or record.sent_s > 0
            refused += has_left and record.code != HALTED
        was_halted = bool(last) and last[-1].is_refused and last[-1].code == HALTED
        if was_halted and now_s - last[-1].sent_s < self.patience.halt_s:
            return []
        if self.stop_level is None or refused >= self.patience.stop_failures_max:
            kind = "ExitRequest"
            if isinstance(self.procedure, Exit):
                return []
            self.procedure = Exit("no stop can be had", kind)
            text = f"{self.plan_id} {self.symbol}: {refused} stops refused, leaving"
            return [Alarm("critical", "stop_refused", text)]
        side = self.side.opposite
        return [PlaceStop(side, quantity, self.stop_level, "cover the position")]

    def _await_change(self, stop: OrderRecord, now_s: float, now_ns: int) -> list[Action]:
        """Wait for a modify's echo; after a refusal or silence the lists decide."""
        doubted_ns = stop.change_doubted_ns
        if doubted_ns is None:
            if now_s - stop.change_asked_s < self.patience.change_s:
                return []
            stop.change_doubted_ns = now_ns
            return [Look("a modify is not echoed")]
        if stop.seen_ns > doubted_ns:
            # The lists were read since, and still show the old stop: it lives as it was.
            stop.change_wanted = stop.change_doubted_ns = None
            stop.change_failures += 1
            return self._replace(stop, "the change was refused: replace", now_s)
        return self._await(now_s, "a modify was refused or not echoed")

    def _await_armed(self, stop: OrderRecord, now_s: float) -> list[Action]:
        """Give a stop time to arm; a child whose parent is over may never do so."""
        parent = self._book.orders.get(stop.row.parent_ref or "")
        enter = self.procedure
        ended_s = enter.ended_s if isinstance(enter, Enter) else stop.sent_s
        waited_s = now_s - (stop.sent_s if ended_s is None else ended_s)
        if waited_s < self.patience.cascade_s:
            return []
        if parent is not None and waited_s > self.patience.look_s:
            return self._replace(stop, "the child did not arm", now_s)
        return self._await(now_s, "the stop is not armed")

    # procedures

    def _move_stop(self, move: MoveStop, now_s: float, now_ns: int) -> list[Action]:
        if self.held == 0:
            return self._finish("MoveStopRequest", 0, "the position is gone")
        self.stop_level = move.stop_price
        actions = self._stop_to(self.held, now_s, now_ns)
        if actions is None:
            return self._finish("MoveStopRequest", 0, move.reason)
        return actions

    def _scale_out(self, scale: ScaleOut, now_s: float, now_ns: int) -> list[Action]:
        slice_record = self._book.orders.get(scale.slice_ref)
        if slice_record is not None and not slice_record.is_over:
            return self._await(now_s, "the slice has not ended")
        if slice_record is not None and scale.phase == "slice":
            scale.phase = "restore"
        taken = slice_record.booked if slice_record is not None else 0
        if self.held == 0 or self.stop_has_fired:
            # The stop fired in between: what is left is an exit.
            if self.held == 0:
                return self._finish("ScaleOutRequest", taken, "the stop fired")
            self.procedure = Exit("the stop fired during a scale-out", "ScaleOutRequest")
            return []
        if self.is_forked and slice_record is None:
            return self._finish("ScaleOutRequest", 0, "the stop is there twice")
        if self.is_halted():
            scale.phase = "restore"
        if scale.phase == "restore":
            actions = self._stop_to(self.held, now_s, now_ns)
            if actions is None:
                return self._finish("ScaleOutRequest", taken, scale.reason)
            return actions
        if scale.quantity >= self.held:
            self.procedure = Exit(scale.reason, "ScaleOutRequest")
            return []
        if scale.phase == "shrink":
            actions = self._stop_to(self.held - scale.quantity, now_s, now_ns)
            if actions is not None:
                return actions
            scale.phase = "slice"
        side = self.side.opposite
        return [PlaceReducer(OrderRole.SLICE, side, scale.quantity, scale.reason)]

    def _exit(self, leave: Exit, now_s: float, now_ns: int) -> list[Action]:
        taken = sum(self._book.orders[ref].booked for ref in leave.refs)
        entries = self.working(OrderRole.ENTRY)
        if entries and entries[0].booked and self.is_halted():
            return self._finish(leave.kind, taken, "halted: the entry is followed to its end")
        if entries:
            stops = self.working(OrderRole.STOP)
            asked_s = stops[0].cancel_asked_s if stops else None
            is_late = asked_s is not None and now_s - asked_s >= self.patience.change_s
            if stops and entries[0].booked and not is_late:
                # The child goes first: alone it could be armed for more than is held.
                return self._cancel(stops[0], leave.reason, now_s)
            return self._cancel(entries[0], leave.reason, now_s)
        reducers = self.working(OrderRole.EXIT, OrderRole.SLICE)
        if reducers:
            return self._await(now_s, "an exit has not ended")
        if self.held > 0 and self.is_halted():
            leave.phase = "restore"
        if leave.phase == "restore":
            return self._exit_restore(leave, taken, now_s, now_ns)
        stops = self.working(OrderRole.STOP)
        if stops:
            fire = self._fire(leave, stops, now_s)
            if fire is not None:
                return fire
            if leave.since_s is None:
                leave.since_s = now_s
            leave.phase = "clear"
            return self._cancel(stops[0], leave.reason, now_s)
        if self.held == 0:
            return self._finish(leave.kind, taken, leave.reason)
        if leave.since_s is None:
            leave.since_s = now_s
        if leave.phase == "clear":
            leave.phase, leave.read_after_ns = "read", now_ns
            return [Look("the position before an exit", is_pressing=True)]
        late = now_s - leave.since_s >= self.patience.exit_s
        if leave.phase == "read" and self.read_done_ns < leave.read_after_ns:
            if late:
                leave.phase = "restore"
            return self._await(now_s, "the position before an exit")
        leave.phase = "send"
        if leave.tries >= self.patience.exit_tries_max or (late and leave.tries):
            leave.phase = "restore"
            return []
        leave.tries += 1
        side = Side.SELL if self.position > 0 else Side.BUY
        return [PlaceReducer(OrderRole.EXIT, side, abs(self.position), leave.reason)]

    def _fire(self, leave: Exit, stops: list[OrderRecord], now_s: float) -> list[Action] | None:
        """Leave by the stop itself where that is proven; None: by the long way."""
        stop = stops[0]
        if not leave.is_fired:
            is_whole = len(stops) == 1 and stop.is_armed and stop.remaining == self.held
            is_calm = stop.change_wanted is None and stop.cancel_asked_s is None
            way = "stop_through_market" if self.side is Side.BUY else "buy_stop_through_market"
            if not (self.proven.allows(way) and is_whole and is_calm):
                return None
            leave.is_fired = True
            return [FireStop(stop, leave.reason)]
        is_refused = stop.change_wanted is not None and stop.change_doubted_ns is not None
        is_late = now_s - stop.change_asked_s >= self.patience.change_s
        if is_refused or is_late or stop.cancel_asked_s is not None or leave.phase != "clear":
            return None
        return self._await(now_s, "the stop was moved through the market")

    def _exit_restore(self, leave: Exit, taken: int, now_s: float, now_ns: int) -> list[Action]:
        if self.held <= 0:
            leave.phase, leave.tries, leave.since_s = "clear", 0, None
            return [] if self.held else self._finish(leave.kind, taken, leave.reason)
        if self.is_halted() and not (leave.is_told or self.working(OrderRole.STOP)):
            leave.is_told = True
            text = f"halted before the exit, its stop is off: {self.held} shares wait for a stop"
            return [Alarm("critical", "uncovered", f"{self.plan_id} {self.symbol}: {text}")]
        actions = self._stop_to(self.held, now_s, now_ns)
        if actions is None:
            return self._finish(leave.kind, taken, "not all could be left; the rest has its stop")
        if not actions and not self.working(OrderRole.STOP):
            leave.phase, leave.tries, leave.since_s = "clear", 0, now_s
            self._retry_s = now_s + self.patience.retry_s
            text = f"{self.plan_id} {self.symbol}: {self.held} shares have no stop and no exit"
            return [Alarm("critical", "uncovered", text)]
        return actions

    def _cover(self, now_s: float, now_ns: int) -> list[Action]:
        """No procedure is under way: the stop must fit what is held."""
        if self.working(OrderRole.ENTRY):
            # An entry of an earlier life of this program: follow it to its end.
            self.procedure = Enter()
            return []
        if self.working(OrderRole.SLICE, OrderRole.EXIT):
            return self._await(now_s, "an exit has not ended")
        if self.stop_level is None and self.held:
            known = [record.row.stop_price for record in self.records]
            self.stop_level = next((price for price in reversed(known) if price), None)
        return self._stop_to(self.held, now_s, now_ns) or []
