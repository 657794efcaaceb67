"""Corporate actions (check 16): a first price of the day whose ratio to the last is a split's.

Rules of this file:
- such a price is held and its symbol blocked until a calendar or a person confirms it; time and
  further prices alone never do;
- prices of the old level lift the block once as many of them came as confirm any level.
"""

from typing import Final

from tradebox.domain.filter_values import BPS, FilterLimits, Split, bps

NIGHT_NS: Final = 4 * 3600 * 1_000_000_000
"""A longer silence is a night: what follows is the first price of a day."""
FACTORS: Final = (2, 3, 4, 5, 10, 20)
RATIOS: Final = tuple((n, 1) for n in FACTORS) + tuple((1, n) for n in FACTORS)
"""New shares for old ones."""

SHARE_RATIOS: Final = (*RATIOS, (3, 2), (2, 3), (4, 3), (5, 4), (1, 50))
"""At which positions change; the price alone tells the small ones from no other jump."""


def split_like(price: int, reference: int, limits: FilterLimits) -> tuple[int, int] | None:
    """Return the split that would explain the price, or None.

    Shape:   (numerator, denominator): new shares for old ones. Units: micro-units.
    """
    for numerator, denominator in RATIOS:
        expected = reference * denominator
        if abs(price * numerator - expected) * BPS <= expected * limits.split_bps:
            return numerator, denominator
    return None


def is_split_ratio(before: int, after: int) -> bool:
    """Say whether a split would make so many shares of so many; parts of a share are paid out."""
    if before * after <= 0:
        return False
    held, left = abs(before), abs(after)
    return any(left == held * new // old for new, old in SHARE_RATIOS)


def adjusted(reference: int, numerator: int, denominator: int) -> int:
    """Return what a price before the split is worth after it, at least one."""
    return max(1, reference * denominator // numerator)


def is_old_level(split: Split, price: int, limits: FilterLimits) -> bool:
    """Say whether a price belongs to the level before the supposed split."""
    return bps(price, split.reference_micros) <= limits.spike_bps_max


def after_old_price(split: Split, event_ns: int, limits: FilterLimits) -> Split | None:
    """Return the block after one more price of the old level; None where it is lifted."""
    begun_ns = split.normal_ns or event_ns
    count = split.normal + 1
    if count >= limits.confirm_ticks and event_ns - begun_ns >= limits.confirm_span_ns:
        return None
    return split._replace(normal=count, normal_ns=begun_ns)
