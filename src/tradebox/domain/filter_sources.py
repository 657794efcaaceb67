"""What other sources and other symbols say: disputes (check 19), a frozen price (18).

Rules of this file:
- prices are compared only where they are of the same seconds: a poll is no witness of a later jump;
- a dispute lasts from the first time at which both spoke and differed to the last: one bad price
  of one source is none;
- one source alone costs nothing: what each said is kept once there are two;
- a price that stands still is suspicious only while at least three other symbols move.
"""

from typing import Final

from tradebox.domain.filter_values import (
    BPS,
    MOVERS_MAX,
    NS_PER_S,
    SOURCES_MAX,
    Around,
    FilterLimits,
    Rest,
    Said,
    SymbolState,
)
from tradebox.domain.market import Tick

FORGET_NS: Final = 90 * NS_PER_S
MOVE_NS: Final = 30 * NS_PER_S
LIQUID_GAP_NS: Final = 30 * NS_PER_S
PEERS_MIN: Final = 3
SPREADS: Final = 3


def after_source(state: SymbolState, rest: Rest, tick: Tick, limits: FilterLimits) -> Rest:
    """Return what is known after one more source's price: who said what, since when they differ.

    Holds:   at most SOURCES_MAX prices are kept; a dispute ends with the first agreement, or when
             it was not seen again for FORGET_NS.
    """
    said = rest.said
    if not said:
        assert state.source is not None, "there is a first source"
        said = (Said(state.source, state.last_price_micros, state.last_event_ns),)
    others = [
        one
        for one in said
        if one.source is not tick.source and tick.event_ns - one.event_ns <= FORGET_NS
    ]
    if not others:
        return rest._replace(said=(), dispute_ns=0, dispute_last_ns=0)
    mine = Said(tick.source, tick.price_micros, tick.event_ns)
    said = (*others[-(SOURCES_MAX - 1) :], mine)
    since_ns, last_ns = rest.dispute_ns, rest.dispute_last_ns
    near = [one for one in others if abs(one.event_ns - mine.event_ns) <= limits.quote_ns_max]
    differing = [one for one in near if _differ(one, mine, rest, limits)]
    if differing:
        both_ns = max(min(one.event_ns, mine.event_ns) for one in differing)
        since_ns, last_ns = since_ns or both_ns, max(last_ns, both_ns)
    elif near or (since_ns and tick.event_ns - last_ns > FORGET_NS):
        since_ns = last_ns = 0
    return rest._replace(said=said, dispute_ns=since_ns, dispute_last_ns=last_ns)


def _differ(one: Said, other: Said, rest: Rest, limits: FilterLimits) -> bool:
    distance = abs(one.price_micros - other.price_micros)
    least = max(
        min(one.price_micros, other.price_micros) * limits.dispute_bps // BPS,
        SPREADS * rest.spread_micros,
    )
    return distance > least


def is_disputed(rest: Rest, limits: FilterLimits) -> bool:
    """Say whether sources have differed for the limit."""
    return rest.dispute_ns > 0 and rest.dispute_last_ns - rest.dispute_ns >= limits.dispute_ns


def moved(around: Around, before: SymbolState, after: SymbolState, symbol: str) -> Around:
    """Return what is known beside the symbols after one of them changed its price.

    Holds:   at most MOVERS_MAX symbols, oldest first, each once.
    """
    if before.last_price_micros == after.last_price_micros:
        return around
    movers, event_ns = around.movers, after.last_event_ns
    if len(movers) >= MOVERS_MAX and event_ns - movers[0][1] < MOVE_NS:
        return around
    if any(name == symbol and event_ns - at_ns < MOVE_NS for name, at_ns in movers):
        return around
    others = [one for one in movers if one[0] != symbol]
    return around._replace(movers=(*others[-(MOVERS_MAX - 1) :], (symbol, event_ns)))


def is_frozen(state: SymbolState, tick: Tick, around: Around, limits: FilterLimits) -> bool:
    """Say whether a liquid symbol's price has stood still while others moved."""
    since_ns = tick.event_ns - limits.frozen_ns
    if state.level_ns > since_ns or state.gap_ns > LIQUID_GAP_NS:
        return False
    if not around.is_regular(tick.event_ns):
        return False
    others = sum(name != tick.symbol and at_ns >= since_ns for name, at_ns in around.movers)
    return others >= PEERS_MIN
