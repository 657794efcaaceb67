"""The plan machine: one pure function from a plan, its state and an event to state and actions.

Rules of this file:
- the machine asks for whole procedures and never for orders; at most one at a time;
- only a live price opens, moves or closes anything; time and a person close without a price;
- a stop only tightens; a step fires once, in order, on the tick that reaches it;
- an exit goes before everything else, and no earlier failure delays it.

Public name: step.
"""

from decimal import Decimal
from fractions import Fraction
from typing import assert_never

from tradebox.domain.money import Rounding, round_to_increment
from tradebox.domain.orders import OrderType, Side, Tif
from tradebox.domain.path import (
    CancelEntryRequest,
    EnterRequest,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    ScaleOutRequest,
)
from tradebox.domain.plan_document import BREAK_EVEN, PlanDocument
from tradebox.domain.plan_facts import (
    ENTER,
    apply_adjustment,
    apply_books,
    apply_fact,
    end_procedure,
    end_unfilled,
    slice_left,
)
from tradebox.domain.plan_levels import (
    atr_of,
    fraction_until,
    levels_at,
    quantity_for,
    step_price,
)
from tradebox.domain.plan_state import (
    Crossing,
    Phase,
    PlanState,
    SliceWork,
    StepKind,
    StopWish,
    Trail,
)
from tradebox.domain.plan_turn import (
    Adjusted,
    Armed,
    ArmingRefused,
    CancelAsked,
    ClockReached,
    PlanAction,
    PlanEvent,
    PriceSeen,
    Recovered,
    Turn,
    is_live,
)
from tradebox.domain.session import SECOND_NS
from tradebox.domain.sizing import towards_profit
from tradebox.errors import PlanInvalid

SESSION_CLOSE_LEAD_NS = 120 * SECOND_NS
"""How long before the close a session_close exit starts."""
STOP_GRACE_NS = 30 * SECOND_NS
"""How long prices may stand through a stop that does not fill before we leave ourselves."""
TRAIL_STEP_R = Decimal("0.1")
"""A trailing stop moves by at least this share of R: every move is a message to the broker."""

_ORDER_TYPES = {"market": OrderType.MARKET, "limit": OrderType.LIMIT, "stop": OrderType.STOP}


def step(
    plan: PlanDocument, state: PlanState, event: PlanEvent
) -> tuple[PlanState, tuple[PlanAction, ...]]:
    """Return the state after an event, and what to do: steps to record, requests to send.

    Holds:   requested stops only tighten; shares entered = held + sliced + closed, none negative;
             slices never exceed their fractions; each step of the document fires at most once;
             a price that is not live causes no action; no request while one is under way.
    """
    turn = Turn(plan, state)
    match event:
        case PriceSeen():
            _decide(turn, event, event.evidence if is_live(event.evidence) else None)
        case ClockReached():
            _decide(turn, event, None)
        case Armed():
            if state.phase is Phase.REQUESTED:
                turn.set(phase=Phase.ARMED, terms=event.terms)
        case ArmingRefused():
            if state.phase is Phase.REQUESTED:
                turn.end(Phase.REFUSED, event.reason, event.now_ns)
        case CancelAsked():
            _cancel(turn, event)
        case Recovered():
            apply_books(turn, event)
        case Adjusted():
            apply_adjustment(turn, event)
        case _:
            apply_fact(turn, event)
    return turn.state, tuple(turn.actions)


def _cancel(turn: Turn, event: CancelAsked) -> None:
    match turn.state.phase:
        case Phase.REQUESTED | Phase.ARMED:
            turn.end(Phase.CANCELLED, event.reason, event.now_ns)
        case Phase.ENTERING | Phase.OPEN:
            turn.leave(event.reason, None)
        case Phase.EXITING | Phase.CLOSED | Phase.CANCELLED | Phase.REFUSED:
            pass
        case _:
            assert_never(turn.state.phase)


def _decide(turn: Turn, moment: PriceSeen | ClockReached, live: Evidence | None) -> None:
    state = turn.state
    if state.phase.is_final or state.terms is None:
        return
    if live is not None:
        turn.set(last=live)
    if not moment.is_busy:
        _note_silent_end(turn, moment.now_ns)
    if state.phase is Phase.ARMED:
        _enter(turn, moment, live)
    elif not state.is_entered:
        _withdraw(turn, moment)
    elif state.position > 0:
        _manage(turn, moment, live)


def _note_silent_end(turn: Turn, now_ns: int) -> None:
    """The path works on nothing of ours: an answer that has not come will not come."""
    if turn.state.pending not in (None, ENTER):
        end_procedure(turn, now_ns)
    if turn.state.is_cancelling:
        turn.set(is_cancelling=False)
        turn.fail(now_ns)


def _enter(turn: Turn, moment: PriceSeen | ClockReached, live: Evidence | None) -> None:
    state, plan, now_ns = turn.state, turn.plan, moment.now_ns
    terms = state.terms
    assert terms is not None
    if terms.valid_until_ns is not None and now_ns >= terms.valid_until_ns:
        turn.end(Phase.CANCELLED, "the entry's time passed before it could be sent", now_ns)
        return
    if terms.exit_at_ns is not None and now_ns >= terms.exit_at_ns:
        turn.end(Phase.CANCELLED, "the time to leave passed before the entry", now_ns)
        return
    may_send = isinstance(moment, PriceSeen) and moment.is_ready and not moment.is_busy
    if live is None or not may_send or now_ns < state.retry_ns:
        return
    entry = live.price if plan.entry.price is None else plan.entry.price
    try:
        levels = levels_at(plan, entry, terms)
        quantity = quantity_for(plan, levels, terms)
    except PlanInvalid as invalid:
        turn.end(Phase.REFUSED, invalid.message, now_ns)
        return
    if turn.sign * (live.price - levels.stop) <= 0:
        reason = f"the price {live.price} is already through the stop at {levels.stop}"
        turn.end(Phase.REFUSED, reason, now_ns)
        return
    if plan.entry.type == "stop" and turn.sign * (live.price - entry) >= 0:
        reason = f"the price {live.price} is already beyond the entry stop at {entry}"
        turn.end(Phase.REFUSED, reason, now_ns)
        return
    turn.set(
        phase=Phase.ENTERING, quantity=quantity, initial_stop=levels.stop, best_stop=levels.stop,
        entry_evidence=live, entry_is_closed=False, reject_reason=None,
    )  # fmt: skip
    turn.ask(
        EnterRequest(
            plan_id=state.plan_id,
            symbol=plan.symbol,
            side=plan.order_side,
            quantity=quantity,
            order_type=_ORDER_TYPES[plan.entry.type],
            tif=Tif.DAY if terms.is_day_entry else Tif.GTC,
            limit_price=plan.entry.price if plan.entry.type == "limit" else None,
            entry_stop_price=plan.entry.price if plan.entry.type == "stop" else None,
            protective_stop=levels.stop,
            evidence=live,
            reason=f"{plan.entry.type} entry of {quantity} on {live.price}",
        )
    )


def _withdraw(turn: Turn, moment: PriceSeen | ClockReached) -> None:
    """Take an entry back that is not wanted any more; the plan ends when it is gone."""
    state, now_ns = turn.state, moment.now_ns
    if state.reject_reason is not None and state.entry.quantity == 0 and not moment.is_busy:
        end_unfilled(turn, state.reject_reason, now_ns)
        return
    if state.entry_is_closed or state.is_cancelling or now_ns < state.retry_ns:
        return
    reason = None if state.leaving is None else state.leaving.reason
    terms = state.terms
    assert terms is not None
    if terms.valid_until_ns is not None and now_ns >= terms.valid_until_ns:
        reason = reason or "the entry's time has passed"
    late = _time_to_leave(turn, moment)
    if late is not None:
        turn.leave(late, None)
        reason = reason or late
    if reason is not None:
        turn.actions.append(CancelEntryRequest(state.plan_id, reason))
        turn.set(is_cancelling=True)


def _time_to_leave(turn: Turn, moment: PriceSeen | ClockReached) -> str | None:
    state, time_exit = turn.state, turn.plan.time_exit
    if time_exit is None:
        return None
    terms, close_ns = state.terms, moment.session_close_ns
    exit_at_ns = state.exit_at_ns if state.is_entered or terms is None else terms.exit_at_ns
    if exit_at_ns is not None and moment.now_ns >= exit_at_ns:
        after = time_exit.after_minutes
        return f"time exit after {after} minutes" if after else f"time exit at {time_exit.at}"
    is_near = close_ns is not None and moment.now_ns >= close_ns - SESSION_CLOSE_LEAD_NS
    return "time exit before the session's close" if time_exit.session_close and is_near else None


def _manage(turn: Turn, moment: PriceSeen | ClockReached, live: Evidence | None) -> None:
    if live is not None:
        _watch(turn, live, moment.now_ns)
    late = _time_to_leave(turn, moment)
    if late is not None:
        turn.leave(late, turn.state.last)
    state = turn.state
    if state.pending not in (None, ENTER) or moment.is_busy or moment.now_ns < state.retry_ns:
        return
    if state.pending == ENTER:
        turn.set(pending=None)
    if turn.state.leaving is None:
        _advance(turn)
    leaving = turn.state.leaving
    if leaving is not None and turn.state.pending is None:
        turn.set(phase=Phase.EXITING, crossed=(), wish=None, trail=None)
        turn.ask(ExitRequest(state.plan_id, leaving.evidence, leaving.reason))


def _watch(turn: Turn, live: Evidence, now_ns: int) -> None:
    """Note what a live price means: steps reached, a new best price, a stop that does not fill."""
    state, sign = turn.state, turn.sign
    risk, reached = state.risk_per_share, list(state.crossed)
    index = state.next_step
    while risk is not None and index < len(turn.plan.steps):
        level = step_price(turn.plan, index, state.entry.average, risk)
        if sign * (live.price - level) < 0:
            break
        reached.append(Crossing(index, live))
        index += 1
    trail = state.trail
    if trail is not None and sign * (live.price - trail.best) > 0:
        trail = Trail(live.price, trail.is_share, trail.distance)
    best = state.best_price
    if best is None or sign * (live.price - best) > 0:
        best = live.price
    since = None
    stop = state.stop_price
    if stop is not None and sign * (live.price - stop) < 0:
        since = now_ns if state.through_since_ns is None else state.through_since_ns
    turn.set(crossed=tuple(reached), next_step=index, trail=trail, through_since_ns=since,
        best_price=best,
    )  # fmt: skip
    if since is not None and now_ns - since >= STOP_GRACE_NS:
        turn.leave(f"the price has been through the stop at {stop} and it did not fill", live)


def _advance(turn: Turn) -> None:
    """Carry out the next thing in order; at most one request leaves."""
    while turn.state.pending is None and turn.state.leaving is None:
        state = turn.state
        if state.wish is not None:
            _move_stop(turn, state.wish)
        elif state.slice is not None:
            work = state.slice
            left = slice_left(work, state.sliced)
            if left >= state.position:
                turn.leave(work.reason, work.evidence)
                return
            turn.ask(ScaleOutRequest(state.plan_id, left, work.evidence, work.reason))
        elif state.crossed:
            turn.set(crossed=state.crossed[1:])
            _begin_step(turn, state.crossed[0])
        elif not _wish_by_trail(turn) and not _wish_repair(turn):
            return


def _move_stop(turn: Turn, wish: StopWish) -> None:
    state = turn.state
    if wish.kind is StepKind.TRAIL:
        wish = _trailed(turn, wish)
    last = state.last
    if last is not None and turn.sign * (last.price - wish.price) <= 0:
        turn.leave(f"the price {last.price} is through the new stop {wish.price}", last)
        return
    turn.set(wish=StopWish(wish.price, wish.kind, wish.evidence, wish.reason, was_asked=True))
    turn.ask(MoveStopRequest(state.plan_id, wish.price, wish.evidence, wish.reason))


def _trailed(turn: Turn, wish: StopWish) -> StopWish:
    """Return a trail's wish at its present target: the best price may have moved on meanwhile."""
    target = _trail_target(turn)
    if target is None or not turn.is_better(target, wish.price):
        return wish
    return _trail_wish(turn, target)


def _begin_step(turn: Turn, crossing: Crossing) -> None:
    """Turn a reached step into a wish, a slice, a trail or an exit; or skip it as done already."""
    state, index, evidence = turn.state, crossing.index, crossing.evidence
    terms, part = state.terms, turn.plan.steps[index]
    assert terms is not None
    assert state.risk_per_share is not None
    level = step_price(turn.plan, index, state.entry.average, state.risk_per_share)
    name = f"{part.at.r} R" if part.at.r is not None else "price"
    reason = f"price {evidence.price} reached {name} at {level.normalize():f}"
    if part.move_stop is not None:
        is_entry = part.move_stop.to == BREAK_EVEN
        target = part.move_stop.to
        if not isinstance(target, Decimal):
            target = towards_profit(state.entry.average, turn.plan.order_side, terms.increment)
        if turn.is_better(target, state.best_stop):
            kind = StepKind.BREAK_EVEN if is_entry else StepKind.MOVE_STOP
            turn.set(wish=StopWish(target, kind, evidence, reason))
    elif part.take is not None:
        wanted = int(fraction_until(turn.plan, index) * Fraction(state.entry.quantity))
        quantity = wanted - state.sliced.quantity
        if quantity >= state.position:
            turn.leave(f"{reason}: take the rest", evidence)
        elif quantity > 0:
            turn.set(slice=SliceWork(quantity, state.sliced, evidence, f"{reason}: take"))
    elif part.trail is not None:
        best = evidence.price
        if state.last is not None and turn.sign * (state.last.price - best) > 0:
            best = state.last.price
        if part.trail.percent is not None:
            turn.set(trail=Trail(best, is_share=True, distance=part.trail.percent / 100))
        elif part.trail.ranges is not None:
            atr = atr_of(part.trail, terms, f"steps.{index}.trail")
            if part.trail.chandelier_multiple is not None and state.best_price is not None:
                best = max(best, state.best_price, key=lambda price: turn.sign * price)
            turn.set(trail=Trail(best, is_share=False, distance=part.trail.ranges * atr))


def _trail_target(turn: Turn) -> Decimal | None:
    trail, terms = turn.state.trail, turn.state.terms
    if trail is None or terms is None:
        return None
    away = trail.best * trail.distance if trail.is_share else trail.distance
    rounding = Rounding.DOWN if turn.plan.order_side is Side.BUY else Rounding.UP
    target = round_to_increment(trail.best - turn.sign * away, terms.increment, rounding)
    return target if target > 0 else None


def _trail_wish(turn: Turn, target: Decimal) -> StopWish:
    trail = turn.state.trail
    assert trail is not None
    away = f"{(trail.distance * 100).normalize():f} %" if trail.is_share else f"{trail.distance}"
    reason = f"trail by {away} from the best price {trail.best}"
    return StopWish(target, StepKind.TRAIL, turn.state.last, reason)


def _wish_by_trail(turn: Turn) -> bool:
    state, target = turn.state, _trail_target(turn)
    if target is None or state.terms is None or state.risk_per_share is None:
        return False
    floor = state.best_stop
    least = max(state.terms.increment, TRAIL_STEP_R * state.risk_per_share)
    if floor is not None and turn.sign * (target - floor) < least:
        return False
    turn.set(wish=_trail_wish(turn, target))
    return True


def _wish_repair(turn: Turn) -> bool:
    """Ask for the tightest stop again where the broker shows a looser one."""
    state = turn.state
    if state.best_stop is None or state.stop_price is None:
        return False
    if not turn.is_better(state.best_stop, state.stop_price):
        return False
    reason = f"the stop stood at {state.stop_price}, looser than {state.best_stop} before"
    turn.set(wish=StopWish(state.best_stop, StepKind.MOVE_STOP, None, reason))
    return True
