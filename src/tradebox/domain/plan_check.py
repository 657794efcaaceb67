"""What a plan document must fulfil beyond its keys: alone, and against the market it names.

Rules of this file:
- check_alone needs the document only; check_instrument needs the instrument, check_times needs the
  time and the sessions;
- what depends on the entry price is checked again when the entry is priced (plan_levels.py);
- a refusal is PlanInvalid with field, value and fix; nothing is rounded on behalf of a person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tradebox.domain.market import Instrument, Session
from tradebox.domain.money import Rounding, round_to_increment
from tradebox.domain.plan_document import (
    BREAK_EVEN,
    SESSION,
    Part,
    PlanDocument,
    StepTerms,
    refusal,
)
from tradebox.domain.session import MINUTE_NS, SECOND_NS, next_close_ns
from tradebox.errors import PlanInvalid


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What the market says of a plan: instrument (None = unknown), time, session rows."""

    instrument: Instrument | None
    now_ns: int
    sessions: Sequence[Session] = ()


def check_plan(document: PlanDocument, context: PlanContext) -> None:
    """Refuse a plan that cannot be followed. Raises PlanInvalid; nothing else happens."""
    check_alone(document)
    check_instrument(document, context.instrument)
    check_times(document, context.now_ns, context.sessions)


def check_alone(document: PlanDocument) -> None:
    """Refuse what no market could make right: choices, sides, order of steps, fractions."""
    _one_of(document.size, "size", ("quantity", "risk_share_of_nlv"))
    _one_of(document.stop, "stop", ("price", "percent", "atr_multiple"))
    if document.time_exit is not None:
        _one_of(document.time_exit, "time_exit", ("after_minutes", "at", "session_close"))
    _check_entry_price(document)
    for number, step in enumerate(document.steps):
        _check_step(number, step)
    _check_fractions(document)
    _check_sides(document)
    _check_order(document)


def check_instrument(document: PlanDocument, instrument: Instrument | None) -> None:
    """Refuse an unknown symbol, and a price beside its grid."""
    if instrument is None:
        fix = "use a US stock that the broker knows by this symbol"
        raise refusal("symbol", document.symbol, "the symbol is unknown", fix)
    for field, price in _prices(document):
        _check_grid(field, price, instrument.increment)


def check_times(document: PlanDocument, now_ns: int, sessions: Sequence[Session]) -> None:
    """Refuse times that are over, and what needs a session where none is known."""
    close_ns = next_close_ns(sessions, now_ns)
    entry_end_ns = deadline_ns(document.entry.valid_until, now_ns, close_ns)
    needs_session = document.time_exit is not None and document.time_exit.session_close
    if close_ns is None and (needs_session or document.entry.valid_until == SESSION):
        field = "time_exit.session_close" if needs_session else "entry.valid_until"
        raise refusal(field, SESSION, "no session is known from now on", "give a time or minutes")
    if entry_end_ns is not None and entry_end_ns <= now_ns:
        raise _in_the_past("entry.valid_until", document.entry.valid_until)
    if document.time_exit is not None and document.time_exit.at is not None:
        at_ns = instant_ns("time_exit.at", document.time_exit.at)
        if at_ns <= now_ns:
            raise _in_the_past("time_exit.at", document.time_exit.at)


def deadline_ns(value: str | int, now_ns: int, session_close_ns: int | None) -> int | None:
    """Return the end of an entry's life in ns UTC; None for "session" without a session."""
    if isinstance(value, int):
        return now_ns + value * MINUTE_NS
    if value == SESSION:
        return session_close_ns
    return instant_ns("entry.valid_until", value)


def instant_ns(field: str, text: str) -> int:
    """Return an ISO time with its zone as ns UTC. Raises PlanInvalid."""
    fix = "write it like 2026-01-05T15:30:00Z"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise refusal(field, text, "it is no ISO time", fix) from None
    if at.tzinfo is None:
        raise refusal(field, text, "the time has no zone", fix)
    since = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000


def _in_the_past(field: str, value: object) -> PlanInvalid:
    return refusal(field, value, "the time has passed", "give a later one")


def _one_of(part: Part, field: str, names: Sequence[str]) -> None:
    given = [name for name in names if getattr(part, name) is not None]
    if len(given) != 1:
        shown = " and ".join(given) or "(none)"
        raise refusal(field, shown, "exactly one is needed", f"give one of {', '.join(names)}")


def _check_entry_price(document: PlanDocument) -> None:
    entry = document.entry
    if entry.type == "market" and entry.price is not None:
        fix = "remove it, or choose type limit or stop"
        raise refusal("entry.price", entry.price, "a market entry has no price", fix)
    if entry.type != "market" and entry.price is None:
        raise refusal("entry.price", "(absent)", f"a {entry.type} entry needs a price", "add it")


def _check_step(number: int, step: StepTerms) -> None:
    field = f"steps.{number}"
    _one_of(step, field, ("move_stop", "take", "trail"))
    _one_of(step.at, f"{field}.at", ("r", "price"))
    if step.trail is not None:
        names = ("percent", "atr_multiple", "chandelier_multiple")
        _one_of(step.trail, f"{field}.trail", names)


def _check_fractions(document: PlanDocument) -> None:
    total = Decimal(0)
    for number, step in enumerate(document.steps):
        if step.take is not None:
            total += step.take.fraction
            if total > 1:
                field = f"steps.{number}.take.fraction"
                problem = f"the fractions add up to {total}"
                raise refusal(field, step.take.fraction, problem, "take at most 1 in all")


def _check_sides(document: PlanDocument) -> None:
    """Judge prices by the entry price where it is written, else by each other."""
    sign, entry = document.order_side.sign, document.entry.price
    stop = document.stop.price
    stop_word, step_word = ("below", "above") if sign > 0 else ("above", "below")
    if entry is not None and stop is not None and sign * (entry - stop) <= 0:
        problem = f"the stop of a {document.side} is not on its losing side"
        raise refusal("stop.price", stop, problem, f"put it {stop_word} the entry at {entry}")
    floor = entry if entry is not None else stop
    floor_name = "entry" if entry is not None else "stop"
    for number, step in enumerate(document.steps):
        field, level = f"steps.{number}", step.at.price
        if level is not None and floor is not None and sign * (level - floor) <= 0:
            problem = f"it is on the wrong side of the {floor_name}"
            fix = f"put it {step_word} the {floor_name} at {floor}"
            raise refusal(f"{field}.at.price", level, problem, fix)
        target = _moved_to(step)
        if target is None:
            continue
        if stop is not None and sign * (target - stop) <= 0:
            problem = f"the stop at {stop} would not tighten"
            raise refusal(f"{field}.move_stop.to", target, problem, f"put it {step_word} the stop")
        if level is not None and sign * (level - target) <= 0:
            problem = f"the step's own price {level} is not beyond it"
            fix = f"put it {stop_word} the step's price"
            raise refusal(f"{field}.move_stop.to", target, problem, fix)


def _check_order(document: PlanDocument) -> None:
    sign = document.order_side.sign
    last_r, last_price = None, None
    for number, step in enumerate(document.steps):
        r, price = step.at.r, step.at.price
        if r is not None:
            if last_r is not None and r < last_r:
                raise _out_of_order(f"steps.{number}.at.r", r, last_r)
            last_r = r
        if price is not None:
            if last_price is not None and sign * (price - last_price) < 0:
                raise _out_of_order(f"steps.{number}.at.price", price, last_price)
            last_price = price


def _out_of_order(field: str, value: Decimal, before: Decimal) -> PlanInvalid:
    problem = f"it comes before the step above, at {before}"
    return refusal(field, value, problem, "write the steps in the order the price reaches them")


def _moved_to(step: StepTerms) -> Decimal | None:
    if step.move_stop is None or step.move_stop.to == BREAK_EVEN:
        return None
    assert isinstance(step.move_stop.to, Decimal), step
    return step.move_stop.to


def _prices(document: PlanDocument) -> Iterator[tuple[str, Decimal]]:
    if document.entry.price is not None:
        yield "entry.price", document.entry.price
    if document.stop.price is not None:
        yield "stop.price", document.stop.price
    for number, step in enumerate(document.steps):
        if step.at.price is not None:
            yield f"steps.{number}.at.price", step.at.price
        target = _moved_to(step)
        if target is not None:
            yield f"steps.{number}.move_stop.to", target


def _check_grid(field: str, price: Decimal, increment: Decimal) -> None:
    nearest = max(round_to_increment(price, increment, Rounding.NEAREST), increment)
    if nearest != price:
        problem = f"it is off the price increment {increment}"
        raise refusal(field, price, problem, f"the nearest price is {nearest}")
