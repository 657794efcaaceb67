"""More symbols than are shipped: synthetic ones, made from the days of the shipped series.

Rules of this file:
- a synthetic symbol says so: its name begins with SYNTHETIC, its symbol with ZZ;
- it walks through the days of a shipped series from another day on, at another price;
- the shipped symbols stay what they are.
"""

from dataclasses import replace
from hashlib import blake2b
from itertools import count

from tradebox.errors import ConfigInvalid
from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.market.data import INCREMENT_MICROS, MarketData, Series, contract_id
from tradebox.sim.market.paths import Corners

SYMBOLS_MAX = 2_000
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def with_symbols(data: MarketData, wanted: int) -> MarketData:
    """Return the data with so many symbols.

    Holds: the same number gives the same symbols, and fewer are the first of more.
    Raises: ConfigInvalid unless 1 to SYMBOLS_MAX are wanted.
    """
    if not 1 <= wanted <= SYMBOLS_MAX:
        raise ConfigInvalid(
            f"symbols={wanted} is out of range: give 1 to {SYMBOLS_MAX}",
            field="symbols",
            value=wanted,
        )
    series = list(data.series[:wanted])
    known = {one.instrument.con_id for one in series}
    sources = [one for one in data.series if not one.minutes]
    for number in count():
        if len(series) >= wanted:
            break
        one = _synthetic(sources[number % len(sources)], number)
        if one.instrument.con_id not in known:
            known.add(one.instrument.con_id)
            series.append(one)
    first_number = max(data.first_number, -max(one.first_index for one in series))
    return MarketData(tuple(series), first_number)


def _synthetic(source: Series, number: int) -> Series:
    symbol = "ZZ" + "".join(_LETTERS[number // 26**place % 26] for place in (2, 1, 0))
    random = int.from_bytes(blake2b(symbol.encode(), digest_size=8).digest())
    percent = 40 + random % 121
    # Days are shared with their source where the price is its own: 2,000 symbols stay small.
    days = source.days if percent == 100 else tuple(_scaled(day, percent) for day in source.days)
    shift = random // 1000 % len(days)
    instrument = Instrument(
        symbol=symbol,
        con_id=contract_id(symbol),
        primary_exchange=source.instrument.primary_exchange,
        currency=source.instrument.currency,
        increment_micros=INCREMENT_MICROS,
        name=f"SYNTHETIC {symbol}, the days of {source.instrument.symbol}",
    )
    turned = days[shift:] + days[:shift]
    return replace(source, instrument=instrument, days=turned)


def _scaled(day: Corners, percent: int) -> Corners:
    return Corners(
        max(1, day.open * percent // 100),
        max(1, day.high * percent // 100),
        max(1, day.low * percent // 100),
        max(1, day.close * percent // 100),
        day.volume,
    )
