"""JSON of a vendor with exact numbers, and its prices as int micro-units.

Rules of this file:
- total: no input raises; what is no usable number is None;
- no float: numbers come as Decimal or int, and are rounded half-even where a vendor's own float
  noise has more than six decimals.
"""

import json
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final

from tradebox.domain.money import MICROS_PER_UNIT

MICROS_MAX: Final = 10**15
NUMBER_CHARACTERS_MAX: Final = 40


def load_json(raw: str | bytes) -> Any:
    """Return the JSON value with exact numbers, or None where it is no JSON.

    Holds: total: no input raises; NaN and Infinity are no JSON.
    """
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def micros_of(value: object) -> int | None:
    """Return a JSON number as int micro-units, half-even; None where it is no usable number."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() > 9:
            return None
        micros = int((value * MICROS_PER_UNIT).to_integral_value(ROUND_HALF_EVEN))
    else:
        micros = value * MICROS_PER_UNIT
    return micros if -MICROS_MAX <= micros <= MICROS_MAX else None


def micros_of_text(text: object) -> int | None:
    """Return a number that a vendor says as text in micro-units; None for "", "None", "-", NaN."""
    if not isinstance(text, str) or len(text) > NUMBER_CHARACTERS_MAX:
        return None
    try:
        return micros_of(Decimal(text.strip()))
    except InvalidOperation:
        return None
