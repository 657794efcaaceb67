"""Finnhub's messages as values: a total parser, exact to the micro-unit.

Rules of this file:
- bytes in, values out; nothing here connects, waits or raises for what a vendor may send;
- no float: numbers come as Decimal or int, prices leave as int micro-units, rounded half-even
  where a vendor's own float noise has more than six decimals;
- `c` may be a list, null or absent; times of trades are milliseconds, of quotes seconds.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tradebox.adapters.exact_json import load_json, micros_of

NS_PER_MS: Final = 1_000_000
TIME_MS_MIN: Final = 10**12
TIME_MS_MAX: Final = 10**14
SIZE_MAX: Final = 10**15
SYMBOL_LENGTH_MAX: Final = 32
CONDITIONS_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Trade:
    """One print. Units: price in micro-units, size in shares (fractions cut), time in ns UTC."""

    symbol: str
    price_micros: int
    size: int
    event_ns: int
    conditions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trades:
    """A trade frame; malformed counts the entries that could not be read."""

    trades: tuple[Trade, ...]
    malformed: int


@dataclass(frozen=True, slots=True)
class VendorPing:
    """The application's own ping, about once a minute; needs no reply."""


@dataclass(frozen=True, slots=True)
class VendorError:
    """An error message; it does not name the symbol it is about."""

    text: str

    @property
    def is_budget(self) -> bool:
        """True for a subscription beyond what the key allows."""
        return "too many symbols" in self.text.lower()


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that is none of the above."""


Frame = Trades | VendorPing | VendorError | Malformed


def parse_frame(raw: str | bytes) -> Frame:
    """Return what one WebSocket message says.

    Holds: total; entries that cannot be read are counted, the others kept, in wire order.
    """
    message = load_json(raw)
    if not isinstance(message, dict):
        return Malformed()
    match message.get("type"):
        case "trade":
            data = message.get("data")
            if not isinstance(data, list):
                return Malformed()
            trades = [_trade(entry) for entry in data]
            good = tuple(trade for trade in trades if trade is not None)
            return Trades(good, len(trades) - len(good))
        case "ping":
            return VendorPing()
        case "error":
            return VendorError(str(message.get("msg", ""))[:200])
        case _:
            return Malformed()


def _trade(entry: object) -> Trade | None:
    if not isinstance(entry, dict):
        return None
    symbol, time_ms = entry.get("s"), _whole(entry.get("t"))
    price = micros_of(entry.get("p"))
    size = 0 if entry.get("v") is None else _whole(entry.get("v"))
    if not isinstance(symbol, str) or not 0 < len(symbol) <= SYMBOL_LENGTH_MAX:
        return None
    if price is None or size is None or time_ms is None:
        return None
    if not TIME_MS_MIN <= time_ms < TIME_MS_MAX:
        return None
    codes = entry.get("c")
    listed = codes[:CONDITIONS_MAX] if isinstance(codes, list) else []
    conditions = tuple(str(code)[:16] for code in listed)
    return Trade(symbol, price, size, time_ms * NS_PER_MS, conditions)


def _whole(value: object) -> int | None:
    """Return a JSON number cut to a whole one; None where it is none or too large."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if -SIZE_MAX <= value <= SIZE_MAX else None
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() <= 15:
        return int(value)
    return None
