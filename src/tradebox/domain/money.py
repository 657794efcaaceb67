"""Money as integers on the tick path and Decimal from the plan on.

Rules of this file:
- a tick's price is an int of micro-units (1 USD = 1_000_000), so that no float touches a price;
- a plan's and an order's price is a Decimal, rounded to the instrument's price increment here only.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import Enum
from typing import NewType

Micros = NewType("Micros", int)
"""A price in micro-units of its currency."""

MICROS_PER_UNIT = 1_000_000


class Rounding(Enum):
    """Where a price that lies between two increments goes."""

    DOWN = ROUND_FLOOR
    UP = ROUND_CEILING
    NEAREST = ROUND_HALF_EVEN


def to_decimal(micros: int) -> Decimal:
    """Return micro-units as a Decimal in currency units, exact."""
    return Decimal(micros).scaleb(-6)


def round_to_increment(price: Decimal, increment: Decimal, rounding: Rounding) -> Decimal:
    """Return the price moved onto the increment grid.

    Holds:   the result is a whole multiple of increment and less than one increment away.
    """
    assert increment > 0, increment
    steps = (price / increment).to_integral_value(rounding=rounding.value)
    return steps * increment


def shortest(price: Decimal) -> Decimal:
    """Return the same price written with cents where cents say it all, else without spare zeros."""
    cents = price.quantize(Decimal("0.01"))
    return cents if cents == price else price.normalize()
