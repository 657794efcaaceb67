"""Checks that need no memory of levels: type, sentinel, duplicate, future, size, condition codes.

Rules of this file:
- cheapest first; each returns the check that refuses, or None;
- numbers in brackets are those of `filter_values.NUMBER`.
"""

from tradebox.domain.filter_values import (
    NS_PER_S,
    RING_TICKS,
    Check,
    Conditions,
    FilterLimits,
    SymbolState,
)
from tradebox.domain.market import Source, Tick
from tradebox.domain.money import MICROS_PER_UNIT

PRICE_MICROS_MAX = 1_000_000 * MICROS_PER_UNIT
ROUND_LOT = 100
HALTED = "halted"
"""The word that a tick carries among its conditions while its symbol is halted."""
COARSE_SOURCES = frozenset({Source.ALPHAVANTAGE, Source.YAHOO, Source.IB})
"""Sources that tell whole seconds."""

Seen = tuple[tuple[int, ...], ...]


def refusal(state: SymbolState, tick: Tick, limits: FilterLimits) -> Check | None:
    """Return which check drops the tick whatever the level is (1, 2, 3, 4, 8, 9)."""
    price = tick.price_micros
    if price in (0, -MICROS_PER_UNIT):
        return Check.SENTINEL
    if not 0 < price < PRICE_MICROS_MAX:
        return Check.PRICE
    if tick.size < 0:
        return Check.SIZE
    ahead_ns = tick.event_ns - tick.recv_ns
    if ahead_ns > limits.future_ns_max and (
        ahead_ns > limits.future_coarse_ns_max or tick.source not in COARSE_SOURCES
    ):
        return Check.FUTURE
    if tick.conditions and has_condition(limits.ineligible, tick):
        return Check.CONDITION
    if mark_of(tick) in state.seen and not tells_halt(state, tick):
        return Check.DUPLICATE
    return None


def tells_halt(state: SymbolState, tick: Tick) -> bool:
    """Say whether a quote tells that a halt has begun or ended, be it as old as it may (17)."""
    if not tick.is_quote or tick.source is not Source.IB:
        return False
    return (HALTED in tick.conditions) is not (state.rest.halt_ns > 0)


def is_late(state: SymbolState, tick: Tick, limits: FilterLimits) -> bool:
    """Say whether a tick is older than the newest by more than the limit (5).

    A source of whole seconds may be one second later: it rounds down.
    """
    behind_ns = state.last_event_ns - tick.event_ns
    if behind_ns <= limits.late_ns_max:
        return False
    return tick.source not in COARSE_SOURCES or behind_ns > limits.late_ns_max + NS_PER_S


def mark_of(tick: Tick) -> tuple[int, ...]:
    """Return what makes a tick the same as another of its symbol."""
    if tick.is_quote:
        return (tick.event_ns, tick.price_micros, tick.bid_micros, tick.ask_micros)
    return (tick.event_ns, tick.price_micros, tick.size)


def remembered(state: SymbolState, tick: Tick, limits: FilterLimits) -> Seen:
    """Note the print; forget those that are too old to pass again, or too many."""
    seen = state.seen
    window_ns = max(limits.duplicate_window_ns, limits.late_ns_max)
    oldest_ns = min(tick.event_ns, state.last_event_ns) - window_ns
    if seen and seen[0][0] < oldest_ns:
        seen = tuple(known for known in seen if known[0] >= oldest_ns)
    return (*seen[-(RING_TICKS - 1) :], mark_of(tick))


def has_condition(codes: Conditions, tick: Tick) -> bool:
    """Say whether the source's codes are among these."""
    known = codes.get(tick.source)
    return known is not None and not known.isdisjoint(tick.conditions)


def is_odd_lot(tick: Tick) -> bool:
    """Say whether fewer than a round lot traded (8); what has no size is not odd."""
    return 0 < tick.size < ROUND_LOT and not tick.is_quote
