"""Words and figures as the console writes them: prices, money, R, ages, times.

Rules of this file:
- pure functions of their arguments; what is unknown is one dot;
- text from outside is made harmless: one cell per character, no control characters.
"""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from rich.cells import cell_len

UNKNOWN = "·"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
NS_PER_S = 1_000_000_000
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
CLEAN_CHARS_MAX = 2_000
FIGURE_MAX = Decimal(10) ** 24
"""Nothing that we show is as large: ns since 1970 have nineteen digits."""

MISSHAPEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a row of another shape makes of code that draws it: it is said in its place, never fatal."""


def clean(value: object) -> str:
    """Return text that takes one cell per character and holds no control character."""
    text = str(value)[:CLEAN_CHARS_MAX]
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char.isprintable() and cell_len(char) == 1 else " " if char.isspace() else "?"
        for char in text
    )


def number(value: object) -> Decimal | None:
    """Return the figure, or None for what is none."""
    if value is None or isinstance(value, bool):
        return None
    try:
        figure = Decimal(str(value))
    except InvalidOperation:
        return None
    return figure if figure.is_finite() and abs(figure) < FIGURE_MAX else None


def price(value: object) -> str:
    """Return a price with thousands: 5,012.25; four decimals where cents do not say it."""
    figure = number(value)
    if figure is None:
        return UNKNOWN
    cents = figure.quantize(Decimal("0.01"))
    return f"{cents:,}" if cents == figure else f"{figure.quantize(Decimal('0.0001')):,}"


def micros(value: object) -> str:
    """Return a price given in micro-units."""
    figure = number(value)
    return UNKNOWN if figure is None else price(figure.scaleb(-6))


def money(value: object, *, signed: bool = True) -> str:
    """Return an amount with its sign: +1,237.50."""
    figure = number(value)
    if figure is None:
        return UNKNOWN
    return minus(f"{figure:{'+' if signed else ''}z,.2f}")


def r_multiple(value: object, *, unit: bool = False) -> str:
    """Return an R-multiple with its sign: +1.32."""
    figure = number(value)
    if figure is None:
        return UNKNOWN
    return minus(f"{figure:+z.2f}") + (" R" if unit else "")


def minus(text: str) -> str:
    """Return the text with a real minus sign."""
    return text.replace("-", MINUS)


def share(part: object, whole: object) -> str:
    """Return part of whole in per cent: 0.94 %."""
    top, bottom = number(part), number(whole)
    if top is None or not bottom:
        return UNKNOWN
    return f"{top / bottom * 100:.2f} %"


def span(seconds: float | None) -> str:
    """Return a length of time in two figures at most: 7s, 41m, 3h07m, 12d."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole}s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}m"
    if whole < DAY_S:
        return f"{whole // HOUR_S}h{whole % HOUR_S // MINUTE_S:02d}m"
    return f"{whole // DAY_S}d"


def between(now_ns: object, then_ns: object) -> float | None:
    """Return seconds from then to now, None when either is not known."""
    now, then = number(now_ns), number(then_ns)
    if now is None or then is None or not then:
        return None
    return float((now - then) / NS_PER_S)


def clock(at_ns: object, pattern: str = "%H:%M:%S") -> str:
    """Return a moment in UTC."""
    moment = number(at_ns)
    if not moment:
        return "--:--:--"[: len(datetime.fromtimestamp(0, UTC).strftime(pattern))]
    return datetime.fromtimestamp(int(moment) / NS_PER_S, UTC).strftime(pattern)


def count(value: object) -> str:
    """Return a whole number with thousands."""
    figure = number(value)
    return UNKNOWN if figure is None else f"{int(figure):,}"


def epoch(value: int) -> str:
    """Return an epoch as boot.generation.counter (20, 12 and 20 bits); a small one as it is."""
    if value < 1 << 20:
        return str(value)
    return f"{value >> 32}.{value >> 20 & 0xFFF}.{value & 0xFFFFF}"
