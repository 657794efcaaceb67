"""How facts change a plan: fills, stop echoes, ends of procedures, and the books after a restart.

Rules of this file:
- facts carry running totals; one told twice, or told late, changes nothing;
- a step row is written when its fact is here: the fill is booked, the stop is echoed;
- nothing is asked of the order path here: decisions are plan_machine.py's.
"""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import assert_never

from tradebox.domain.orders import OrderRole
from tradebox.domain.path import (
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    EntryCorrected,
    EntryFilled,
    PathEvent,
    ProcedureDone,
    ReduceFilled,
    ReductionCorrected,
    RequestDenied,
    RequestRejected,
    StopWorking,
)
from tradebox.domain.plan_levels import fraction_until
from tradebox.domain.plan_state import Phase, PlanState, SliceWork, StepKind, Tally
from tradebox.domain.plan_turn import Adjusted, Recovered, Turn
from tradebox.domain.session import MINUTE_NS, SECOND_NS

ENTER = EnterRequest.__name__
CANCEL_ENTRY = CancelEntryRequest.__name__

PASSING_CHECKS = frozenset(
    {
        "audit", "busy", "clock", "freshness", "halt", "link", "rate", "repeat", "session",
        "spread", "unproven",
    }
)  # fmt: skip
"""Checks of the order gate that a later moment may pass: the entry waits, within its time."""
UNKNOWN = "unknown"
"""What the gate says of an input it has not got yet: it may have it later."""
HOLDS = frozenset({"halt", "split"})
"""Refusals that say of the market that nothing can be done: the stop rests, the plan is held."""
FILL_GRACE_NS = 30 * SECOND_NS
"""How long the rest of a stop that began to fill may take before we leave ourselves."""

_FOUND_STOP = "the stop filled"
_FOUND_EXIT = "the order path left the position, which it could not cover"


def apply_fact(turn: Turn, fact: PathEvent) -> None:
    """Take one fact of the order path into the state."""
    match fact:
        case EntryFilled():
            _entry_filled(turn, fact)
        case EntryClosed():
            _entry_closed(turn, fact)
        case StopWorking():
            _stop_working(turn, fact)
        case EntryCorrected():
            _entry_corrected(turn, fact)
        case ReduceFilled():
            _reduce_filled(turn, fact)
        case ReductionCorrected():
            _reduction_corrected(turn, fact)
        case ProcedureDone():
            _procedure_done(turn, fact)
        case RequestDenied():
            _denied(turn, fact)
        case RequestRejected():
            _rejected(turn, fact)
        case _:
            assert_never(fact)


def _entry_filled(turn: Turn, fact: EntryFilled) -> None:
    state = turn.state
    fresh = fact.filled - state.entry.quantity
    if fresh <= 0:
        return
    was_final = state.phase.is_final
    turn.set(entry=state.entry.plus(fresh, fact.price))
    if was_final or state.phase in (Phase.REQUESTED, Phase.ARMED):
        phase = Phase.OPEN if state.is_entered else Phase.ENTERING
        turn.set(phase=phase, closed_ns=None, close_reason="", leaving=None)
    if was_final:
        turn.leave("the entry filled after the plan had ended", None)
    if fact.remaining == 0 or state.entry_is_closed:
        complete_entry(turn, fact.at_ns)


def _entry_corrected(turn: Turn, fact: EntryCorrected) -> None:
    """Take over what the entry gave after the broker amended it; a whole bust ends the plan.

    Shares that left already stay counted: where more left than came, none is held.
    """
    state = turn.state
    if state.phase.is_final:
        return
    entry, gone = Tally(fact.filled, fact.cost), state.sliced.quantity + state.closing.quantity
    if entry.quantity < gone:
        entry = entry.plus(gone - entry.quantity, state.entry.average)
    if entry == state.entry:
        return
    turn.set(entry=entry)
    _fit_slice(turn, fact.at_ns)
    if entry.quantity == 0 and state.is_entered:
        turn.end(Phase.CANCELLED, "the broker took back every share of the entry", fact.at_ns)
    elif entry.quantity and state.entry_is_closed and not state.is_entered:
        complete_entry(turn, fact.at_ns)
    else:
        _finish_if_flat(turn, fact.at_ns)


def _fit_slice(turn: Turn, at_ns: int) -> None:
    """Let a slice under way take no more than its fraction of an entry that became smaller."""
    state, work = turn.state, turn.state.slice
    if work is None:
        return
    due = fraction_until(turn.plan, state.next_step - 1) * Fraction(state.entry.quantity)
    done = state.sliced.minus(work.before).quantity
    quantity = max(done, min(work.quantity, int(due) - work.before.quantity))
    if quantity <= 0:
        turn.set(slice=None)
        return
    turn.set(slice=replace(work, quantity=quantity))
    _grant_slice(turn, at_ns)


def _entry_closed(turn: Turn, fact: EntryClosed) -> None:
    if turn.state.is_entered or turn.state.phase.is_final:
        return
    turn.set(entry_is_closed=True, is_cancelling=False)
    if fact.filled > turn.state.entry.quantity:
        return
    if turn.state.entry.quantity > 0:
        complete_entry(turn, fact.at_ns)
        return
    end_unfilled(turn, fact.reason, fact.at_ns)


def end_unfilled(turn: Turn, reason: str, at_ns: int) -> None:
    """End a plan whose entry gave no share."""
    state = turn.state
    if state.reject_reason is not None:
        turn.end(Phase.REFUSED, state.reject_reason, at_ns)
    else:
        turn.end(Phase.CANCELLED, reason if state.leaving is None else state.leaving.reason, at_ns)


def complete_entry(turn: Turn, at_ns: int) -> None:
    """Fix R and note the entry: no more shares will come."""
    turn.set(entry_is_closed=True, is_cancelling=False)
    state, terms = turn.state, turn.state.terms
    if state.is_entered or terms is None:
        return
    stop = state.initial_stop if state.initial_stop is not None else state.stop_price
    risk = None if stop is None else _risk_per_share(turn, stop, terms.increment)
    exit_at_ns = terms.exit_at_ns
    time_exit = turn.plan.time_exit
    if time_exit is not None and time_exit.after_minutes is not None:
        exit_at_ns = at_ns + int(time_exit.after_minutes * MINUTE_NS)
    turn.set(
        is_entered=True, phase=Phase.OPEN, opened_ns=at_ns, risk_per_share=risk,
        exit_at_ns=exit_at_ns,
    )  # fmt: skip
    turn.succeed()
    evidence = state.entry_evidence
    seen = "" if evidence is None else f" on {evidence.price} from {evidence.source.value}"
    rest = state.quantity - state.entry.quantity
    short = f", {rest} of {state.quantity} not filled" if rest > 0 else ""
    reason = f"{turn.plan.entry.type} entry{seen}, stop {stop}{short}"
    turn.take(StepKind.ENTRY, state.entry, evidence, reason, at_ns)
    _finish_if_flat(turn, at_ns)


def _risk_per_share(turn: Turn, stop: Decimal, least: Decimal) -> Decimal:
    """Return R per share: what was risked as filled or, where that is more, as planned.

    An entry that fills near its stop, or beyond it, risks hardly anything by its own price: its
    levels would stand next to the market, and its result would be a multiple of nothing.
    """
    state = turn.state
    planned = turn.plan.entry.price
    if planned is None and state.entry_evidence is not None:
        planned = state.entry_evidence.price
    prices = [state.entry.average] if planned is None else [state.entry.average, planned]
    return max(least, *(turn.sign * (price - stop) for price in prices))


def _stop_working(turn: Turn, fact: StopWorking) -> None:
    if turn.state.phase.is_final:
        return
    best = turn.state.best_stop
    if turn.is_better(fact.stop_price, best):
        best = fact.stop_price
    turn.set(stop_price=fact.stop_price, stop_quantity=fact.quantity, best_stop=best)
    _grant_wish(turn, fact.at_ns)


def _grant_wish(turn: Turn, at_ns: int) -> None:
    wish, stop = turn.state.wish, turn.state.stop_price
    if wish is None or stop is None or turn.is_better(wish.price, stop):
        return
    turn.set(wish=None)
    turn.succeed()
    quantity = turn.state.stop_quantity or turn.state.position
    if quantity > 0:
        moved = Tally(quantity, quantity * stop)
        turn.take(wish.kind, moved, wish.evidence, wish.reason, at_ns)


def _reduce_filled(turn: Turn, fact: ReduceFilled) -> None:
    state = turn.state
    fresh = state.position - abs(fact.position_left)
    if fresh <= 0:
        return
    turn.set(held_by="")
    if fact.role is OrderRole.SLICE:
        turn.set(sliced=state.sliced.plus(fresh, fact.price))
        _grant_slice(turn, fact.at_ns)
    else:
        stopped = fresh if fact.role is OrderRole.STOP else 0
        turn.set(closing=state.closing.plus(fresh, fact.price), stopped=state.stopped + stopped)
        if state.phase is Phase.OPEN:
            turn.set(phase=Phase.EXITING)
            turn.leave(_FOUND_STOP if stopped else _FOUND_EXIT, None)
            turn.set(retry_ns=fact.at_ns + FILL_GRACE_NS)
    _finish_if_flat(turn, fact.at_ns)


def _reduction_corrected(turn: Turn, fact: ReductionCorrected) -> None:
    """Take over what left after the broker amended it; shares that came back are held again.

    A plan that had ended goes on: behind its stop where that was all that had taken it out, with
    its trail as far as it had come; else it leaves once more. Shares that no execution explains
    stay counted with those that left.
    """
    state = turn.state
    if state.entry.quantity == 0 or state.terms is None:
        return
    gone = max(0, state.entry.quantity - fact.sliced - fact.position_left)
    closing = Tally(fact.closed, fact.closed_cost)
    if gone != fact.closed:
        price = state.closing.average if state.closing.quantity else state.entry.average
        closing = closing.plus(gone - fact.closed, price)
    was_by_stop = 0 < state.stopped == state.closing.quantity and not _was_leaving(state)
    set_sliced(turn, Tally(fact.sliced, fact.sliced_cost))
    turn.set(closing=closing, stopped=min(fact.stopped, gone))
    if not state.phase.is_final:
        _finish_if_flat(turn, fact.at_ns)
        return
    if turn.state.position == 0:
        return
    turn.set(
        phase=Phase.OPEN if was_by_stop else Phase.EXITING,
        closed_ns=None, close_reason="", leaving=None, through_since_ns=None,
    )  # fmt: skip
    turn.succeed()
    if not was_by_stop:
        turn.leave(f"the broker took back {turn.state.position} shares of the exit", None)


def _was_leaving(state: PlanState) -> bool:
    """Say whether the plan wanted out by itself: its stop may be what it left by."""
    return state.leaving is not None and state.leaving.reason != _FOUND_STOP


def set_sliced(turn: Turn, sliced: Tally) -> None:
    """Set what slices took in all; a slice under way never begins above that."""
    work = turn.state.slice
    if work is not None and sliced.quantity < work.before.quantity:
        turn.set(slice=replace(work, before=sliced))
    turn.set(sliced=sliced)


def apply_adjustment(turn: Turn, event: Adjusted) -> None:
    """Take note of shares that left without an execution; their price is assumed."""
    state = turn.state
    fresh = state.position - event.position_left
    if fresh <= 0 or state.phase.is_final:
        return
    last = None if state.last is None else state.last.price
    price = state.stop_price or last or state.entry.average
    turn.set(closing=state.closing.plus(fresh, price), phase=Phase.EXITING, leaving=None)
    turn.leave(f"the broker holds {fresh} fewer and reports no fill; {price} is assumed", None)
    _finish_if_flat(turn, event.now_ns)


def _grant_slice(turn: Turn, at_ns: int) -> None:
    """Note the scale-out once its whole slice is booked; a slice that empties is the exit."""
    work = turn.state.slice
    if work is None or turn.state.position == 0:
        return
    done = turn.state.sliced.minus(work.before)
    if done.quantity >= work.quantity:
        turn.set(slice=None)
        turn.succeed()
        turn.take(StepKind.SCALE_OUT, done, work.evidence, work.reason, at_ns)


def _finish_if_flat(turn: Turn, at_ns: int) -> None:
    state = turn.state
    if state.position != 0 or state.entry.quantity == 0:
        return
    if not state.is_entered:
        turn.leave("the position closed while the entry still worked", None)
        return
    work, closing, evidence = state.slice, state.closing, None
    done = Tally() if work is None else state.sliced.minus(work.before)
    if closing.quantity == 0:
        closing = done if done.quantity > 0 else state.sliced
    elif work is not None and done.quantity > 0:
        part = f"{work.reason}; {done.quantity} of {work.quantity} before the exit"
        turn.take(StepKind.SCALE_OUT, done, work.evidence, part, at_ns)
    if state.stopped > 0 and state.stopped == state.closing.quantity:
        reason = f"the stop at {state.stop_price} filled at {closing.average}"
    elif state.leaving is not None:
        reason, evidence = state.leaving.reason, state.leaving.evidence
    else:
        reason = "the last slice closed the position"
        evidence = None if work is None else work.evidence
    turn.take(StepKind.EXIT, closing, evidence, reason, at_ns)
    turn.end(Phase.CLOSED, reason, at_ns)
    turn.set(stop_quantity=0)


def _procedure_done(turn: Turn, fact: ProcedureDone) -> None:
    if turn.state.phase.is_final:
        return
    if fact.kind == CANCEL_ENTRY:
        turn.set(is_cancelling=False)
        if not turn.state.entry_is_closed:
            turn.fail(fact.at_ns)  # nothing could be taken back yet: never ask again at once
    elif fact.kind == turn.state.pending:
        turn.set(held_by="")
        end_procedure(turn, fact.at_ns)


def end_procedure(turn: Turn, at_ns: int) -> None:
    """Note that no answer to the pending request will come; what it left undone waits a while."""
    kind = turn.state.pending
    turn.set(pending=None)
    state = turn.state
    if kind == ENTER:
        if state.reject_reason is not None and state.entry.quantity == 0:
            turn.end(Phase.REFUSED, state.reject_reason, at_ns)
        return
    is_move_left = state.wish is not None and state.wish.was_asked
    is_exit_left = state.leaving is not None and state.phase is Phase.EXITING
    if is_move_left or state.slice is not None or (is_exit_left and state.position > 0):
        turn.fail(at_ns)


def _denied(turn: Turn, fact: RequestDenied) -> None:
    if turn.state.phase.is_final:
        return
    if fact.kind == CANCEL_ENTRY:
        turn.set(is_cancelling=False)
        turn.fail(fact.at_ns)
        return
    if fact.kind != turn.state.pending:
        return
    turn.set(pending=None, held_by=fact.denied.check if fact.denied.check in HOLDS else "")
    if fact.kind != ENTER or turn.state.entry.quantity > 0:
        turn.fail(fact.at_ns)
    elif fact.denied.check in PASSING_CHECKS or fact.denied.observed == UNKNOWN:
        turn.set(phase=Phase.ARMED)
        turn.fail(fact.at_ns)
    else:
        denied = fact.denied
        reason = f"denied by {denied.check}: {denied.reason}"
        turn.end(Phase.REFUSED, f"{reason} ({denied.observed}, limit {denied.limit})", fact.at_ns)


def _rejected(turn: Turn, fact: RequestRejected) -> None:
    """Remember the broker's refusal; what became of the order comes as another fact."""
    state = turn.state
    if fact.kind == ENTER and state.entry.quantity == 0 and state.phase is Phase.CANCELLED:
        reason = f"rejected by the broker: {fact.code} {fact.text}".strip()
        turn.set(phase=Phase.REFUSED, close_reason=reason)
        return
    if state.phase.is_final:
        return
    if fact.kind == ENTER:
        turn.set(reject_reason=f"rejected by the broker: {fact.code} {fact.text}".strip())
    elif fact.kind in (turn.state.pending, CANCEL_ENTRY):
        turn.fail(fact.at_ns)


def apply_books(turn: Turn, event: Recovered) -> None:
    """Set the totals to what the books say; catch up with the steps they prove.

    Holds:   a request whose intent was never recorded is forgotten, and may be decided anew;
             one that was recorded is never asked again before its outcome is known.
    """
    state, book, at_ns = turn.state, event.book, event.book.at_ns or event.now_ns
    if state.terms is None or state.phase.is_final:
        return
    turn.set(pending=None, is_cancelling=False, retry_ns=0, through_since_ns=None)
    if not book.entry_is_known and book.entry.quantity == 0:
        if state.phase is Phase.ENTERING:
            turn.set(phase=Phase.ARMED)
        return
    if state.phase is Phase.ARMED:
        turn.set(phase=Phase.ENTERING)
    if state.wish is not None:
        turn.set(wish=replace(state.wish, was_asked=False))
    best = state.best_stop
    if book.stop_price is not None and turn.is_better(book.stop_price, best):
        best = book.stop_price
    extra = book.sliced.minus(state.sliced)
    set_sliced(turn, book.sliced)
    turn.set(
        entry=book.entry, closing=book.closing, stopped=book.stopped,
        entry_is_closed=book.entry_is_closed, stop_price=book.stop_price or state.stop_price,
        stop_quantity=book.stop_quantity, best_stop=best,
    )  # fmt: skip
    if book.entry_is_closed and not state.is_entered:
        if book.entry.quantity == 0:
            end_unfilled(turn, "the entry closed without a fill", at_ns)
            return
        complete_entry(turn, at_ns)
    if turn.state.phase.is_final:
        return
    _grant_wish(turn, at_ns)
    if turn.state.slice is not None:
        _grant_slice(turn, at_ns)
    elif extra.quantity > 0:
        _take_found_slice(turn, extra, at_ns)
    if book.closing.quantity > 0 and turn.state.leaving is None:
        turn.set(phase=Phase.EXITING)
        turn.leave(_FOUND_STOP if book.stopped else _FOUND_EXIT, None)
    _finish_if_flat(turn, at_ns)


def _take_found_slice(turn: Turn, found: Tally, at_ns: int) -> None:
    """Note a slice that was booked but never saved with the plan, and the step it came from."""
    steps = turn.plan.steps
    waiting = [c.index for c in turn.state.crossed if steps[c.index].take is not None]
    ahead = (i for i in range(turn.state.next_step, len(steps)) if steps[i].take is not None)
    index = waiting[0] if waiting else next(ahead, None)
    if index is not None:
        crossed = tuple(c for c in turn.state.crossed if c.index > index)
        turn.set(crossed=crossed, next_step=max(turn.state.next_step, index + 1))
    if turn.state.position > 0:
        reason = "a slice that the books hold and the plan had not noted"
        turn.take(StepKind.SCALE_OUT, found, None, reason, at_ns)


def slice_left(work: SliceWork, sliced: Tally) -> int:
    """Return how many shares of a slice are still to be taken."""
    return work.quantity - sliced.minus(work.before).quantity
