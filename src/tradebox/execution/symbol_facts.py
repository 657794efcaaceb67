"""What the order gate wants to know of a symbol beyond its price: volume, last close, what is due.

Rules of this file:
- read once per symbol and market day, ahead of need, and once more when the broker has told its
  past bars; a gate only looks, it never waits;
- what was not read is unknown (None), what was read and not found is said to be so.
"""

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final, NamedTuple

from tradebox.domain.market_day import market_day
from tradebox.domain.orders import Side
from tradebox.ports.reference import ReferencePort

DAY_S: Final = 86_400
VOLUME_DAYS: Final = 20
ENTRY_S_MAX: Final = 60.0
NEVER_S: Final = Decimal(10**9)
_DAY_NS: Final = DAY_S * 1_000_000_000


class _Known(NamedTuple):
    """What was read of a symbol for a day."""

    day_volume: int | None
    last_close: Decimal | None
    due: str


class SymbolFacts:
    """Volume, last close and corporate actions per symbol, for one market day at a time.

    bars_are_read: whether a symbol's past bars are in PostgreSQL as far as they come for the day.
    """

    def __init__(
        self, bars_are_read: Callable[[str, int], bool] = lambda _symbol, _now_ns: True
    ) -> None:
        self.bars_are_read = bars_are_read
        self._read_as: dict[str, tuple[str, bool]] = {}
        self._rows: dict[str, _Known] = {}

    async def refresh(self, symbols: Iterable[str], reference: ReferencePort, now_ns: int) -> None:
        """Read what is not known for this day yet. Raises StoreUnavailable."""
        day = market_day(now_ns)
        for symbol in symbols:
            read_as = (day, self.bars_are_read(symbol, now_ns))
            if self._read_as.get(symbol) == read_as:
                continue
            bars = await reference.bars(symbol, DAY_S, VOLUME_DAYS, now_ns)
            volume = sum(bar.volume for bar in bars) // len(bars) if bars else None
            until = market_day(now_ns + 4 * _DAY_NS)
            actions = await reference.actions(symbol, day, until)
            close = bars[-1].close if bars else None
            self._rows[symbol] = _Known(volume, close, actions[0] if actions else "")
            self._read_as[symbol] = read_as

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that were asked for."""
        return tuple(self._rows)

    def day_volume(self, symbol: str) -> int | None:
        """Return the average shares of a day, or None where no bar says so."""
        row = self._rows.get(symbol)
        return None if row is None else row.day_volume

    def last_close(self, symbol: str) -> Decimal | None:
        """Return the close of the last day that has one, or None where no bar says so."""
        row = self._rows.get(symbol)
        return None if row is None else row.last_close

    def ex_date(self, symbol: str) -> str | None:
        """Return the corporate action that is due, "" for none, None for not read."""
        row = self._rows.get(symbol)
        return None if row is None else row.due


class EntryLog:
    """The entries of the last minute, by symbol. Units: real seconds."""

    def __init__(self) -> None:
        self._entries: dict[str, deque[tuple[float, Side, int]]] = {}

    def note(self, symbol: str, side: Side, quantity: int, now_s: float) -> None:
        """Take note of an entry that was sent."""
        self._entries.setdefault(symbol, deque(maxlen=1000)).append((now_s, side, quantity))

    def count(self, symbol: str, now_s: float) -> int:
        """Return the entries of the last minute."""
        entries = self._entries.get(symbol)
        while entries and now_s - entries[0][0] > ENTRY_S_MAX:
            entries.popleft()
        return len(entries or ())

    def age_s(self, symbol: str, side: Side, quantity: int, now_s: float) -> Decimal:
        """Return the time since the same was entered; NEVER_S where it was not."""
        for at_s, its_side, its_quantity in reversed(self._entries.get(symbol, ())):
            if (its_side, its_quantity) == (side, quantity):
                return Decimal(str(round(now_s - at_s, 3)))
        return NEVER_S
