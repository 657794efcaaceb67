"""Yahoo's streamed price: a `PricingData` message as its bytes.

Rules of this file:
- fields are written in the order of their numbers; what is zero or empty is left out;
- prices are single floats on the wire, times milliseconds, as the real streamer says them.

Source: Protocol Buffers encoding; the `PricingData` descriptor that yfinance 1.7.0 carries.
"""

import struct
from collections.abc import Mapping

from tradebox.sim.exchange.market_port import MICROS, Instrument, Quote, Trade
from tradebox.sim.market.market import DayFigures

EQUITY = 8
REGULAR_MARKET = 1
_MILLISECOND_NS = 1_000_000
_VARINT, _BYTES, _FLOAT = 0, 2, 5

Value = str | int | float
Fields = Mapping[int, Value]
_TEXTS = frozenset({1, 4, 5, 13})
_PLAIN = frozenset({6, 7})
_SIGNED = frozenset({3, 9, 22, 24, 26, 27})
_FLOATS = frozenset({2, 8, 10, 11, 12, 15, 16, 23, 25})


def pricing_data(
    trade: Trade, instrument: Instrument, exchange: str, day: DayFigures, quote: Quote
) -> bytes:
    """Return what the streamer says of a print."""
    before = day.previous_close_micros
    change = trade.price_micros - before
    return encode(
        {
            1: trade.symbol,
            2: trade.price_micros / MICROS,
            3: trade.event_ns // _MILLISECOND_NS,
            4: instrument.currency,
            5: exchange,
            6: EQUITY,
            7: REGULAR_MARKET,
            8: 100 * change / before,
            9: day.volume,
            10: day.high_micros / MICROS,
            11: day.low_micros / MICROS,
            12: change / MICROS,
            13: instrument.name,
            15: day.open_micros / MICROS,
            16: before / MICROS,
            22: trade.size,
            23: quote.bid_micros / MICROS,
            24: quote.bid_size,
            25: quote.ask_micros / MICROS,
            26: quote.ask_size,
            27: 2,
        }
    )


def encode(fields: Fields) -> bytes:
    """Return a message of these fields, by their numbers."""
    return b"".join(_field(number, value) for number, value in sorted(fields.items()) if value)


def _field(number: int, value: Value) -> bytes:
    if number in _TEXTS:
        content = str(value).encode()
        return _varint(number << 3 | _BYTES) + _varint(len(content)) + content
    if number in _FLOATS:
        return _varint(number << 3 | _FLOAT) + struct.pack("<f", value)
    whole = int(value)
    if number in _SIGNED:
        whole = whole << 1 if whole >= 0 else (-whole << 1) - 1
    else:
        assert number in _PLAIN, number
    return _varint(number << 3 | _VARINT) + _varint(whole)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
