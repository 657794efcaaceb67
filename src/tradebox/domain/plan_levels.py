"""Where a plan's stop, steps and size stand once its entry has a price.

Rules of this file:
- R is |entry - initial stop| per share; every level in R is exact, never rounded;
- what does not fit the entry price is PlanInvalid: the plan is refused, no order leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from tradebox.domain.plan_document import BREAK_EVEN, Distance, PlanDocument, StepTerms, refusal
from tradebox.domain.plan_state import Terms
from tradebox.domain.sizing import size_by_r, stop_below


@dataclass(frozen=True, slots=True)
class Levels:
    """The initial stop and the price of each step, for one entry price."""

    entry: Decimal
    stop: Decimal
    steps: tuple[Decimal, ...]


def levels_at(document: PlanDocument, entry: Decimal, terms: Terms) -> Levels:
    """Return the levels for that entry price.

    Holds:   the stop is on the losing side; steps never go back towards the entry.
    Raises:  PlanInvalid where the document does not fit the price, or its ATR is not known.
    """
    side = document.order_side
    stop = _initial_stop(document, entry, terms)
    if stop <= 0 or side.sign * (entry - stop) <= 0:
        word = "below" if side.sign > 0 else "above"
        fix = f"put it {word} the entry at {entry}"
        raise refusal("stop", stop, f"it is on the wrong side of the entry at {entry}", fix)
    for number, step in enumerate(document.steps):
        if step.trail is not None and step.trail.ranges is not None:
            atr_of(step.trail, terms, f"steps.{number}.trail")
    risk = abs(entry - stop)
    prices = tuple(step_price(document, i, entry, risk) for i in range(len(document.steps)))
    _check_steps(document, entry, stop, prices)
    return Levels(entry, stop, prices)


def step_price(document: PlanDocument, index: int, entry: Decimal, risk: Decimal) -> Decimal:
    """Return the price at which a step is taken."""
    at = document.steps[index].at
    if at.price is not None:
        return at.price
    assert at.r is not None, at
    return entry + document.order_side.sign * at.r * risk


def quantity_for(document: PlanDocument, levels: Levels, terms: Terms) -> int:
    """Return how many shares to enter.

    Raises:  PlanInvalid where the risk does not pay for one share, or the account is not known.
    """
    if document.size.quantity is not None:
        return document.size.quantity
    share = document.size.risk_share_of_nlv
    assert share is not None, document.size
    field = "size.risk_share_of_nlv"
    if terms.net_liquidation_usd is None or terms.net_liquidation_usd <= 0:
        raise refusal(field, share, "the account's value is not known", "give size.quantity")
    quantity = size_by_r(levels.entry, levels.stop, share * terms.net_liquidation_usd)
    if quantity < 1:
        problem = f"it does not pay for one share with a stop at {levels.stop}"
        raise refusal(field, share, problem, "raise it or tighten the stop")
    return quantity


def distance_of(distance: Distance, price: Decimal, terms: Terms, field: str) -> Decimal:
    """Return a distance in USD from that price. Raises PlanInvalid if its ATR is not known."""
    if distance.percent is not None:
        return price * distance.percent / 100
    assert distance.atr_multiple is not None, distance
    return distance.atr_multiple * atr_of(distance, terms, field)


def atr_of(distance: Distance, terms: Terms, field: str) -> Decimal:
    """Return the average true range that was read when the plan was armed."""
    for period, interval_s, value in terms.atr:
        if (period, interval_s) == (distance.atr_period, distance.interval_s):
            return value
    problem = f"there are too few bars of {distance.interval_s} s for it"
    raise refusal(f"{field}.atr_period", distance.atr_period, problem, "use percent")


def fraction_until(document: PlanDocument, index: int) -> Fraction:
    """Return the sum of the fractions of the steps up to and including that one, exact."""
    steps = document.steps[: index + 1]
    return sum((Fraction(s.take.fraction) for s in steps if s.take is not None), Fraction(0))


def _initial_stop(document: PlanDocument, entry: Decimal, terms: Terms) -> Decimal:
    if document.stop.price is not None:
        return document.stop.price
    distance = distance_of(document.stop, entry, terms, "stop")
    return stop_below(entry, distance, document.order_side, terms.increment)


def _check_steps(
    document: PlanDocument, entry: Decimal, stop: Decimal, prices: Sequence[Decimal]
) -> None:
    sign = document.order_side.sign
    before = entry
    for number, (step, price) in enumerate(zip(document.steps, prices, strict=True)):
        if sign * (price - entry) <= 0:
            problem = f"it is on the wrong side of the entry at {entry}"
            raise refusal(f"steps.{number}.at", price, problem, "put it on the winning side")
        if sign * (price - before) < 0:
            problem = f"it comes before the step above, at {before}"
            fix = "write the steps in the order the price reaches them"
            raise refusal(f"steps.{number}.at", price, problem, fix)
        before = price
        _check_target(step, number, sign, stop, price)


def _check_target(step: StepTerms, number: int, sign: int, stop: Decimal, price: Decimal) -> None:
    if step.move_stop is None or step.move_stop.to == BREAK_EVEN:
        return
    target = step.move_stop.to
    assert isinstance(target, Decimal), step
    if sign * (target - stop) <= 0 or sign * (price - target) <= 0:
        problem = f"it is not between the stop at {stop} and the step at {price}"
        raise refusal(f"steps.{number}.move_stop.to", target, problem, "put it between them")
