"""Too far from what is known: spike (check 13), first price of a day or after a pause (14).

Rules of this file:
- noise is eight scaled median deviations of the last sixty prices, at least 25 bps and three
  increments, at most the limit of one step;
- a price near the last one or near the median passes: neither a trend nor a small outlier before
  it makes a genuine price a spike;
- most prices lie within the least allowance of the last one: only the others cost a median.
"""

from collections.abc import Iterable
from typing import Final

from tradebox.domain.filter_values import BPS, Check, FilterLimits, Jump, Rest, SymbolState, bps
from tradebox.domain.market import Tick
from tradebox.domain.money import MICROS_PER_UNIT

MEDIAN_TICKS_MIN: Final = 8
MAD_MULTIPLE: Final = 8
MAD_SCALE_MILLI: Final = 1483
FLOOR_BPS: Final = 25
WARM_UP_BPS: Final = 100
INCREMENTS_MIN: Final = 3
REOPEN_GAP_NS: Final = 600 * 1_000_000_000


def find_jump(state: SymbolState, rest: Rest, tick: Tick, limits: FilterLimits) -> Jump | None:
    """Return why the price is too far from what is known, or None.

    Holds:   a price at least spike_bps_max from the last one is a jump, but for the increments.
    """
    price, last = tick.price_micros, state.last_price_micros
    if last == 0:
        close = state.previous_close_micros
        return _first(price, close, limits, Check.FIRST) if close else Jump(Check.FIRST)
    step = increment(last, limits)
    distance, few = abs(price - last), INCREMENTS_MIN * step
    is_pause = tick.event_ns - state.last_event_ns > REOPEN_GAP_NS
    if is_pause or rest.is_reopening:
        return None if distance <= few else _first(price, last, limits, Check.SPIKE)
    if distance <= few or distance * BPS <= last * FLOOR_BPS:
        return None
    most = max(last * limits.step_bps_max // BPS, few)
    recent = state.recent_micros
    if len(recent) < MEDIAN_TICKS_MIN:
        allowed = max(last * min(WARM_UP_BPS, limits.step_bps_max) // BPS, few)
        return Jump(Check.SPIKE) if distance > allowed else None
    if distance > most:
        return Jump(Check.SPIKE)
    middle = median(recent)
    noise = MAD_MULTIPLE * median(abs(known - middle) for known in recent) * MAD_SCALE_MILLI // 1000
    allowed = min(max(noise, middle * FLOOR_BPS // BPS, few), most)
    is_near = distance <= allowed or abs(price - middle) <= allowed
    return None if is_near else Jump(Check.SPIKE)


def increment(price: int, limits: FilterLimits) -> int:
    """Return the price step at a price: a hundredth of the usual one below 1."""
    usual = limits.increment_micros
    return usual if price >= MICROS_PER_UNIT else max(1, usual // 100)


def _first(price: int, reference: int, limits: FilterLimits, check: Check) -> Jump | None:
    distance = bps(price, reference)
    if distance <= limits.first_bps_max:
        return None
    return Jump(check, is_soft=distance <= limits.spike_bps_max)


def median(values: Iterable[int]) -> int:
    """Return the upper median."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
