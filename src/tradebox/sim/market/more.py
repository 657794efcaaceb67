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
    return MarketData(tuple(series), data.first_number)


def _synthetic(source: Series, number: int) -> Series:
    symbol = "ZZ" + "".join(_LETTERS[number // 26**place % 26] for place in (2, 1, 0))
    random = int.from_bytes(blake2b(symbol.encode(), digest_size=8).digest())
    instrument = Instrument(
        symbol=symbol,
        con_id=contract_id(symbol),
        primary_exchange=source.instrument.primary_exchange,
        currency=source.instrument.currency,
        increment_micros=INCREMENT_MICROS,
        name=f"SYNTHETIC {symbol}, the days of {source.instrument.symbol}",
    )
    # The days are shared with their source: 2,000 symbols stay small.
    first_index = (source.first_index + random // 1000) % len(source.days)
    return replace(
        source, instrument=instrument, first_index=first_index, percent=40 + random % 121
    )
