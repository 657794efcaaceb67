"""How many shares, and where the first stop stands.

Rules of this file:
- a stop is rounded away from the entry, a size down: the loss at the stop never exceeds the risk;
- money is Decimal; shares are whole.
"""

from decimal import ROUND_FLOOR, Decimal

from tradebox.domain.money import Rounding, round_to_increment
from tradebox.domain.orders import Side


def size_by_r(entry: Decimal, stop: Decimal, risk_usd: Decimal) -> int:
    """Return the largest number of shares whose loss at the stop stays within the risk.

    Units:   entry, stop in USD per share; risk in USD; result in shares, maybe 0.
    Holds:   0 ≤ result * |entry - stop| ≤ risk; one share more would exceed it.
    Raises:  AssertionError if entry == stop or the risk is negative (bugs at the caller).
    """
    assert entry != stop, entry
    assert risk_usd >= 0, risk_usd
    return int((risk_usd / abs(entry - stop)).to_integral_value(rounding=ROUND_FLOOR))


def stop_below(entry: Decimal, distance: Decimal, side: Side, increment: Decimal) -> Decimal:
    """Return the stop at that distance on the losing side of the entry, on the grid.

    Holds:   the distance of the result is ≥ distance and < distance + increment.
    """
    rounding = Rounding.DOWN if side is Side.BUY else Rounding.UP
    return round_to_increment(entry - side.sign * distance, increment, rounding)


def towards_profit(price: Decimal, side: Side, increment: Decimal) -> Decimal:
    """Return the price on the grid, rounded to the winning side of a position."""
    rounding = Rounding.UP if side is Side.BUY else Rounding.DOWN
    return round_to_increment(price, increment, rounding)
