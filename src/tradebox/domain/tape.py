"""A tape: recorded trades as lines of text, which the stand-in world can trade again.

Rules of this file:
- UTF-8 CSV, a header first, one trade a line: symbol, event time, price, size;
- the event time is UTC in nanoseconds, the price a plain decimal in US dollars with at most six
  places, the size whole shares; nothing is quoted;
- a tape may be written line by line for days, and cut by a crash: a last line without its end is
  no trade, every other line must be one.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

COLUMNS: Final = ("symbol", "at_ns", "price", "size")
HEADER: Final = ",".join(COLUMNS) + "\n"
SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,15}")
PRICE_USD_MAX: Final = 10_000_000
SIZE_MAX: Final = 1_000_000_000
AT_NS_MAX: Final = 2**62
_PRICE = re.compile(r"(\d{1,9})(?:\.(\d{1,6}))?")
_WHOLE = re.compile(r"\d{1,19}")
_MICROS = 1_000_000


class TapeTrade(NamedTuple):
    """One recorded trade. Units: UTC nanoseconds, micros, shares."""

    symbol: str
    at_ns: int
    price_micros: int
    size: int


def tape_line(trade: TapeTrade) -> str:
    """Return the line of a trade.

    Holds: reading the line gives the trade again.
    Raises: AssertionError for what is no trade.
    """
    assert SYMBOL.fullmatch(trade.symbol), trade
    assert 0 < trade.price_micros <= PRICE_USD_MAX * _MICROS, trade
    assert 0 < trade.size <= SIZE_MAX, trade
    assert 0 < trade.at_ns < AT_NS_MAX, trade
    whole, part = divmod(trade.price_micros, _MICROS)
    price = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"{trade.symbol},{trade.at_ns},{price},{trade.size}\n"


def read_tape(lines: Iterable[str]) -> Iterator[TapeTrade]:
    """Yield the trades of a tape's lines, the header first.

    Raises: ValueError at the first line that is no trade; it names line and column.
    """
    number, cut = 0, ""
    for number, line in enumerate(lines, 1):
        if cut:
            raise ValueError(f"line {number - 1} is no whole line")
        text = line.rstrip("\r\n")
        if number == 1:
            if tuple(text.removeprefix("\ufeff").split(",")) != COLUMNS:
                raise ValueError(f"line 1 is {text[:60]!r}: begin with {','.join(COLUMNS)}")
        elif text == line:
            cut = line
        elif text:
            yield _trade(text, number)
    if not number:
        raise ValueError(f"it is empty: begin with {','.join(COLUMNS)}")


def _trade(text: str, number: int) -> TapeTrade:
    parts = text.split(",")
    if len(parts) != len(COLUMNS):
        raise ValueError(f"line {number} has {len(parts)} columns: give {','.join(COLUMNS)}")
    symbol, at_text, price_text, size_text = parts
    if not SYMBOL.fullmatch(symbol):
        raise _wrong(number, "symbol", symbol, "give up to 16 capital letters, digits, . or -")
    at_ns = int(at_text) if _WHOLE.fullmatch(at_text) else 0
    if not 0 < at_ns < AT_NS_MAX:
        raise _wrong(number, "at_ns", at_text, "give UTC nanoseconds since 1970")
    price = _PRICE.fullmatch(price_text)
    micros = int(price[1]) * _MICROS + int((price[2] or "").ljust(6, "0")) if price else 0
    if not 0 < micros <= PRICE_USD_MAX * _MICROS:
        raise _wrong(number, "price", price_text, f"give more than 0, up to {PRICE_USD_MAX}")
    size = int(size_text) if _WHOLE.fullmatch(size_text) else 0
    if not 0 < size <= SIZE_MAX:
        raise _wrong(number, "size", size_text, f"give whole shares, 1 to {SIZE_MAX}")
    return TapeTrade(symbol, at_ns, micros, size)


def _wrong(number: int, column: str, value: str, fix: str) -> ValueError:
    return ValueError(f"line {number}: {column}={value[:40]!r}: {fix}")
