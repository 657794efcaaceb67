"""Prices of fault scripts, which come as JSON numbers, as exact micros.

Rules of this file:
- a JSON number is read by its shortest decimal, so that 99.01 is 99.01.
"""

from decimal import Decimal

from tradebox.sim.exchange.market_port import MICROS


def micros_of(number: float) -> int:
    """Return a number of dollars in micros, rounded to the nearest."""
    return int((Decimal(str(number)) * MICROS).to_integral_value())
