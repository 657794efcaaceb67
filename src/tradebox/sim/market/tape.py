"""Recorded trades as a market: a tape's symbols trade what was recorded, print by print.

Rules of this file:
- what a tape is stands in `tradebox.domain.tape`; a name that ends in .gz is compressed;
- its days are replayed in order from the first session on, each at the same time of day; after
  the last comes the first again; trades of one millisecond keep the order of the tape;
- trades outside the regular session are passed over.
"""

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median

from tradebox.domain.tape import TapeTrade, read_tape
from tradebox.errors import ConfigInvalid
from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.market import hours
from tradebox.sim.market.data import INCREMENT_MICROS, MarketData, Series, contract_id
from tradebox.sim.market.paths import Corners, Print, fold

ROWS_MAX = 5_000_000
FIRST_DAY = date(2008, 1, 2)
LAST_DAY = date(2099, 12, 31)
_MILLISECOND_NS = 1_000_000

Minutes = dict[int, list[Print]]


def with_tape(data: MarketData, path: Path) -> MarketData:
    """Return the data with the tape's symbols in the place of the shipped ones.

    Raises: ConfigInvalid if the tape cannot be read or holds no trade of a session.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            days = _days(read_tape(file))
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise ConfigInvalid(
            f"the tape {path} cannot be read: {error}", field="tape", value=str(path)
        ) from error
    if not days:
        raise ConfigInvalid(
            f"the tape {path} holds no trade of a session: give trades between 09:30 and 16:00"
            " New York time of a trading day",
            field="tape",
            value=str(path),
        )
    shipped = {one.instrument.symbol: one for one in data.series}
    taped = tuple(_series(symbol, days[symbol], shipped.get(symbol)) for symbol in days)
    kept = tuple(one for one in data.series if one.instrument.symbol not in days)
    return MarketData(kept + taped, data.first_number)


def _days(trades: Iterable[TapeTrade]) -> dict[str, dict[int, Minutes]]:
    """Return symbol, session number, minute of the session: the prints."""
    days: dict[str, dict[int, Minutes]] = {}
    for count, trade in enumerate(trades):
        if count >= ROWS_MAX:
            raise ValueError(f"it has more than {ROWS_MAX} trades")
        day = datetime.fromtimestamp(trade.at_ns // hours.SECOND_NS, UTC).date()
        if not FIRST_DAY <= day <= LAST_DAY:
            raise ValueError(f"trade {count + 1} is of {day}: give {FIRST_DAY} to {LAST_DAY}")
        price = trade.price_micros // INCREMENT_MICROS
        session = hours.session_from(trade.at_ns)
        if trade.at_ns < session.open_ns or price <= 0:
            continue
        minute, rest_ns = divmod(trade.at_ns - session.open_ns, hours.MINUTE_NS)
        minutes = days.setdefault(trade.symbol, {}).setdefault(session.number, {})
        prints = minutes.setdefault(minute, [])
        prints.append(Print(rest_ns // _MILLISECOND_NS, price, trade.size))
    return days


def _series(symbol: str, days: dict[int, Minutes], shipped: Series | None) -> Series:
    instrument = shipped.instrument if shipped else _instrument(symbol)
    taped: list[tuple[tuple[Print, ...], ...]] = []
    for number in sorted(days):
        count = hours.session(number).minutes
        taped.append(tuple(_in_time(days[number].get(one, ())) for one in range(count)))
    minutes = tuple(tuple(_bar(prints) for prints in day) for day in taped)
    folded = tuple(fold([bar for bar in day if bar is not None]) for day in minutes)
    dollars = int(median(bar.close * bar.volume for bar in folded)) // 100
    return replace(
        Series(instrument, folded, minutes, 0, dollars),
        tape=tuple(taped),
    )


def _in_time(prints: Iterable[Print]) -> tuple[Print, ...]:
    """Return the prints of a minute by time; those of one millisecond as they were recorded."""
    return tuple(sorted(prints, key=lambda one: one.offset_ms))


def _bar(prints: tuple[Print, ...]) -> Corners | None:
    if not prints:
        return None
    prices = [one.price for one in prints]
    volume = sum(one.size for one in prints)
    return Corners(prices[0], max(prices), min(prices), prices[-1], volume)


def _instrument(symbol: str) -> Instrument:
    name = f"{symbol} FROM A TAPE"
    return Instrument(symbol, contract_id(symbol), "NASDAQ", "USD", INCREMENT_MICROS, name)
