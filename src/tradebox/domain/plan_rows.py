"""A plan as people see it: one row of figures, from document, state and last price.

Rules of this file:
- nothing here decides anything; R-multiples are floats because they are only shown;
- open profit is judged at the last price whatever its quality, and the row says the quality.
"""

from decimal import Decimal

from tradebox.domain.events import PlanRow
from tradebox.domain.market import AdmittedTick, Quality
from tradebox.domain.money import shortest, to_decimal
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_levels import step_price
from tradebox.domain.plan_state import PlanState

WATCHED, WORKING, DONE = "watched", "working", "done"


def plan_row(
    account: AccountName,
    plan: PlanDocument,
    state: PlanState,
    *,
    tick: AdmittedTick | None,
    quality: Quality,
    now_ns: int,
    is_demo: bool,
) -> PlanRow:
    """Return the row of a plan; what is not known yet is None."""
    entry = state.entry.average if state.entry.quantity else None
    last = None if tick is None else shortest(to_decimal(tick.price_micros))
    realised = realised_usd(plan, state)
    pnl = None
    if entry is not None:
        mark = entry if last is None else last
        pnl = realised + plan.order_side.sign * state.position * (mark - entry)
    r_multiple = None
    if pnl is not None and state.risk_per_share:
        r_multiple = float(pnl / (state.risk_per_share * state.entry.quantity))
    return PlanRow(
        account=account,
        plan_id=state.plan_id,
        symbol=plan.symbol,
        side=plan.order_side,
        state=state.phase.value,
        quantity=state.position,
        initial_quantity=state.entry.quantity or state.quantity or plan.size.quantity or 0,
        entry_price=entry,
        stop_price=state.stop_price or state.initial_stop,
        initial_stop=state.initial_stop,
        last_price=last,
        last_source=None if tick is None else tick.source.value,
        last_quality=None if tick is None else quality.value,
        last_event_ns=None if tick is None else tick.event_ns,
        r_multiple=r_multiple,
        pnl_usd=None if pnl is None else pnl.quantize(Decimal("0.01")),
        realised_usd=realised.quantize(Decimal("0.01")),
        levels=_levels(plan, state, entry),
        opened_ns=state.opened_ns,
        updated_ns=now_ns,
        is_demo=is_demo,
    )


def realised_usd(plan: PlanDocument, state: PlanState) -> Decimal:
    """Return the profit of the shares that have left, before commissions."""
    gone = state.sliced.quantity + state.closing.quantity
    if gone == 0 or state.entry.quantity == 0:
        return Decimal(0)
    paid = state.entry.cost * gone / state.entry.quantity
    return plan.order_side.sign * (state.sliced.cost + state.closing.cost - paid)


def _levels(
    plan: PlanDocument, state: PlanState, entry: Decimal | None
) -> tuple[tuple[str, Decimal, str], ...]:
    rows: list[tuple[str, Decimal, str]] = []
    price = entry if entry is not None else plan.entry.price
    if price is not None:
        entry_state = DONE if state.is_entered else WORKING if state.quantity else WATCHED
        rows.append(("E", price, entry_state))
    stop = state.stop_price or state.initial_stop
    if stop is not None:
        is_over = state.phase.is_final
        rows.append(("S", stop, DONE if is_over else WORKING if state.stop_price else WATCHED))
    if entry is None or state.risk_per_share is None:
        return tuple(rows)
    waiting = {crossing.index for crossing in state.crossed}
    taken = 0
    for index, step in enumerate(plan.steps):
        if step.take is not None:
            taken += 1
            label = f"T{taken}"
        else:
            label = "TR" if step.trail is not None else "MS"
        reached = DONE if index not in waiting else WORKING
        level = step_price(plan, index, entry, state.risk_per_share)
        rows.append((label, shortest(level), reached if index < state.next_step else WATCHED))
    return tuple(rows)
