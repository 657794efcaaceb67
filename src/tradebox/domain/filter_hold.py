"""Hold and confirm: what becomes of a price that is too far from what is known.

Rules of this file:
- a jump is held, never dropped, and enough that agree replace the level: a filter that only
  compares with the old level refuses every tick after a genuine gap, for ever;
- a hold forgets by the symbol's own pace, so that a slow symbol is not refused for ever either;
- a level that one source alone has shown is unconfirmed until another agrees, or until it has
  stood for its time and its number of prices;
- a way back to the level before an unconfirmed one needs two prices only.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tradebox.domain.filter_checks import Seen, is_odd_lot
from tradebox.domain.filter_values import (
    BPS,
    CONFIRM_WEIGHT,
    HELD_TICKS_MAX,
    MEDIAN_TICKS,
    NS_PER_S,
    FilterLimits,
    Held,
    Jump,
    Rest,
    SymbolState,
    bps,
)
from tradebox.domain.market import Source, Tick

SHORT_SPAN_NS: Final = NS_PER_S // 5
"""Two sources, or two prices that are near enough, need no longer."""
GAP_FADE: Final = 8
GAP_NS_MAX: Final = 3600 * NS_PER_S
PACE: Final = 16
"""A hold lasts at least so many times the usual time between ticks; a level of one source is
trusted after so many of its prices."""
SOFT_TICKS: Final = 2
TREND_MULTIPLE: Final = 4


class Known(NamedTuple):
    """What this tick has changed already: marks seen, and the rest of the state."""

    seen: Seen
    rest: Rest


def gap_after(state: SymbolState, event_ns: int) -> int:
    """Return the usual time between ticks after one more, held or not."""
    before_ns = state.held[-1].event_ns if state.held else state.last_event_ns
    if before_ns == 0:
        return state.gap_ns
    waited_ns = min(max(event_ns - before_ns, 0), GAP_NS_MAX)
    return state.gap_ns + (waited_ns - state.gap_ns) // GAP_FADE


def hold_ns(state: SymbolState, limits: FilterLimits) -> int:
    """Return how long a hold lasts, and a level stays unconfirmed, at the symbol's pace."""
    return max(limits.hold_ns_max, PACE * state.gap_ns)


def is_lasting(state: SymbolState, event_ns: int, limits: FilterLimits) -> bool:
    """Say whether the level that one source has shown stands for long enough: in time, in prices.

    The pace alone may be that of before: a burst of repeats outlives it where ticks grow rare.
    """
    is_old = event_ns - state.regime_ns >= hold_ns(state, limits)
    return is_old and len(state.recent_micros) >= PACE


def hold(
    state: SymbolState, tick: Tick, jump: Jump, limits: FilterLimits, known: Known
) -> tuple[SymbolState, bool]:
    """Hold a suspect until enough agree; then the new level replaces the old one.

    Shape:   (state, whether this tick confirmed the level and so passes).
    Holds:   at most HELD_TICKS_MAX are held; nothing of the level changes before confirmation.
    """
    gap_ns = gap_after(state, tick.event_ns)
    weight = 1 if is_odd_lot(tick) else CONFIRM_WEIGHT
    newest = Held(tick.event_ns, tick.price_micros, tick.source, weight)
    oldest_ns = tick.event_ns - hold_ns(state, limits)
    waiting = [one for one in state.held if one.event_ns >= oldest_ns]
    held = (*_thinned(waiting), newest)
    agreeing = _enough(state, held, jump, limits)
    if agreeing is None:
        return state._replace(seen=known.seen, rest=known.rest, held=held, gap_ns=gap_ns), False
    return _new_level(state, tick, agreeing, jump, known, gap_ns), True


def _thinned(waiting: list[Held]) -> list[Held]:
    """Return at most what leaves room for one more; the oldest stays.

    Of a fast symbol the newest alone would never span the time that a confirmation asks for.
    """
    if len(waiting) < HELD_TICKS_MAX:
        return waiting
    half = len(waiting) // 2
    return [*waiting[:half:2], *waiting[half:]]


def _enough(
    state: SymbolState, held: tuple[Held, ...], jump: Jump, limits: FilterLimits
) -> tuple[Held, ...] | None:
    """Return the held prices that make a level, or None."""
    price = held[-1].price_micros
    agreeing = tuple(one for one in held if bps(one.price_micros, price) <= limits.confirm_bps)
    times = [one.event_ns for one in agreeing]
    span_ns = max(times) - min(times)
    level = state.last_price_micros or state.previous_close_micros
    is_huge = bool(level) and abs(price - level) * 2 > level
    is_alone = len({one.source for one in agreeing}) == 1
    if not is_alone and not is_huge:
        return agreeing
    is_soft = jump.is_soft or is_way_back(state, price, limits)
    if is_soft and len(agreeing) >= SOFT_TICKS and span_ns >= SHORT_SPAN_NS:
        return agreeing
    needed = CONFIRM_WEIGHT * limits.confirm_ticks * (2 if is_huge or jump.is_doubtful else 1)
    span_ns_min = limits.confirm_span_ns if is_alone else SHORT_SPAN_NS
    if sum(one.weight for one in agreeing) >= needed and span_ns >= span_ns_min:
        return agreeing
    return held if _is_trend(level, held, limits) else None


def is_way_back(state: SymbolState, price: int, limits: FilterLimits) -> bool:
    """Say whether a price belongs to the level before an unconfirmed one."""
    before = state.rest.before
    return before is not None and bps(price, before[0]) <= limits.confirm_bps


def _is_trend(level: int, held: Sequence[Held], limits: FilterLimits) -> bool:
    """Say whether the market runs away: many in a row beyond the level, each near the last."""
    if level == 0 or len(held) < TREND_MULTIPLE * limits.confirm_ticks:
        return False
    if abs(held[-1].event_ns - held[0].event_ns) < 2 * limits.confirm_span_ns:
        return False
    if not (
        all(one.price_micros > level for one in held)
        or all(one.price_micros < level for one in held)
    ):
        return False
    return all(
        abs(after.price_micros - one.price_micros) * BPS <= one.price_micros * limits.step_bps_max
        for one, after in pairwise(held)
    )


def _new_level(
    state: SymbolState,
    tick: Tick,
    agreeing: Sequence[Held],
    jump: Jump,
    known: Known,
    gap_ns: int,
) -> SymbolState:
    recent = tuple(one.price_micros for one in agreeing)
    rest = known.rest._replace(is_reopening=False, before=None)
    sources, bucket = {one.source for one in agreeing}, state.bucket
    regime: tuple[int, Source | None] = (0, None)
    before = known.rest.before
    is_back = before is not None and abs(tick.price_micros - before[0]) < abs(
        tick.price_micros - state.last_price_micros
    )
    is_jump = bool(state.last_price_micros or state.previous_close_micros)
    if len(sources) == 1 and is_jump and before is not None and is_back:
        recent = (*before[1], *recent)[-MEDIAN_TICKS:]
        regime = (state.regime_ns, state.regime_source)
    elif is_jump and not jump.is_soft:
        rest, bucket = rest._replace(means=(), band=None), (0, 0, 0)
        if len(sources) == 1:
            regime = (tick.event_ns, tick.source)
        if state.last_price_micros and len(sources) == 1:
            rest = rest._replace(before=(state.last_price_micros, state.recent_micros))
    return SymbolState(
        max(tick.event_ns, state.last_event_ns),
        tick.price_micros,
        state.previous_close_micros,
        recent,
        known.seen,
        (),
        *regime,
        tick.source,
        gap_ns,
        tick.event_ns,
        bucket,
        rest,
    )
