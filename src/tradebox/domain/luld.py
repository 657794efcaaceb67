"""Limit-up, limit-down bands (check 15): what an exchange would not have let trade.

Rules of this file:
- the reference is the mean price of the last five minutes of regular hours, kept as sums of half
  minutes; a new mean counts only once it is 1 % away from the old one;
- every stock is taken for one tier, as configured: index membership is not known here; tier 2 is
  the wider one, so that it holds too little rather than too much;
- the opening has no reference, and a pause empties it: a reopening meets no band.
Source: Plan to Address Extraordinary Market Volatility (LULD), bands in force since 2020.
"""

from typing import Final

from tradebox.domain.filter_values import (
    BPS,
    BUCKETS,
    NS_PER_S,
    Around,
    Band,
    FilterLimits,
    SymbolState,
)

BUCKET_NS: Final = 30 * NS_PER_S
REFERENCE_MOVE_BPS: Final = 100
DOUBLED_NS: Final = 25 * 60 * NS_PER_S
USD_3: Final = 3_000_000
USD_0_75: Final = 750_000
USD_0_15: Final = 150_000
TIER_BPS: Final = {1: 500, 2: 1000}
MIDDLE_BPS: Final = 2000
LOW_BPS: Final = 7500

Bucket = tuple[int, int, int]


def half_width(reference: int, tier: int, *, is_end: bool) -> int:
    """Return how far prices may lie from the reference. is_end: the last 25 minutes.

    Units:   reference and result in micro-units of USD.
    """
    if reference > USD_3:
        share = TIER_BPS[tier]
        width = reference * share // BPS
        return 2 * width if is_end and tier == 1 else width
    if reference >= USD_0_75:
        width = reference * MIDDLE_BPS // BPS
    else:
        width = min(USD_0_15, reference * LOW_BPS // BPS)
    return 2 * width if is_end else width


def counted(
    state: SymbolState, event_ns: int, price: int, around: Around, limits: FilterLimits
) -> tuple[Bucket, tuple[Bucket, ...], Band | None]:
    """Return bucket, past buckets and band after a price of regular hours.

    Holds:   no band without a price in the last five minutes; at most BUCKETS past buckets.
    """
    bucket, rest = state.bucket, state.rest
    number = event_ns // BUCKET_NS
    if number <= bucket[0]:
        return (bucket[0], bucket[1] + price, bucket[2] + 1), rest.means, rest.band
    known = (*rest.means, bucket) if bucket[2] else rest.means
    means = tuple(one for one in known if one[0] >= number - BUCKETS)[-BUCKETS:]
    if not means:
        return (number, price, 1), (), None
    mean = sum(one[1] for one in means) // sum(one[2] for one in means)
    band = rest.band
    reference = mean if band is None else band.reference_micros
    if abs(mean - reference) * BPS >= reference * REFERENCE_MOVE_BPS:
        reference = mean
    is_end = event_ns >= around.close_ns - DOUBLED_NS
    width = half_width(reference, limits.luld_tier, is_end=is_end)
    return (number, price, 1), means, Band(reference, reference - width, reference + width)


def is_outside(state: SymbolState, event_ns: int, price: int) -> bool:
    """Say whether a price of regular hours lies outside the band in force."""
    band = state.rest.band
    if band is None or band.low_micros <= price <= band.high_micros:
        return False
    return event_ns // BUCKET_NS - state.bucket[0] <= BUCKETS
