"""One market data line: puts prices and the broker's times together, whichever comes first.

Rules of this file:
- a trade's time is what the broker says it is (tick 45, whole seconds), never our clock's: a price
  without a time is not told, and one that waits for its time for long gets the last time said;
- a time that moves without a price means one more trade at the same price;
- live and delayed data never mix: the line forgets everything when its kind of data changes;
- a missing side is -1 or has size 0, and then there is no quote on that side.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from tradebox.domain.money import MICROS_PER_UNIT

BID_SIZE, BID, ASK, ASK_SIZE, LAST, LAST_SIZE = 0, 1, 2, 3, 4, 5
LIVE_KINDS: Final = {66: 1, 67: 2, 68: 4, 69: 0, 70: 3, 71: 5, 88: 45, 90: 49}
"""The live tick type of each delayed one."""

NO_PRICE: Final = (0, -MICROS_PER_UNIT)


class DataType(IntEnum):
    """What a line's data are worth; only LIVE is live."""

    LIVE = 1
    FROZEN = 2
    DELAYED = 3
    DELAYED_FROZEN = 4


class Shown(NamedTuple):
    """What a line has to say: a print, or a quote beside the last print's price and time."""

    symbol: str
    price_micros: int
    size: int
    event_s: int
    bid_micros: int
    ask_micros: int
    data_type: DataType
    is_quote: bool
    is_halted: bool


class Line:
    """One symbol that was asked for.

    Units:  asked_s, retry_s: monotonic seconds.
    Holds:  what is shown has a price above 0 and a time of the broker's; times never go back
            while the kind of data stays; a side with size 0 or price -1 is shown as 0.
    """

    __slots__ = (
        "_ask", "_ask_size", "_bid", "_bid_size", "_is_moved", "_is_pending", "_is_quoted",
        "_is_timed", "_last", "_last_size", "_time_s", "asked_s", "data_type", "is_halted",
        "is_heard", "request_id", "symbol", "unsound",
    )  # fmt: skip

    def __init__(self, symbol: str, request_id: int, asked_s: float) -> None:
        self.symbol = symbol
        self.request_id = request_id
        self.asked_s = asked_s
        self.is_heard = False
        self.unsound = 0
        self.data_type = DataType.LIVE
        self.is_halted = False
        self.forget()

    def forget(self) -> None:
        """Know no price, no quote and no time."""
        self._bid = self._ask = self._bid_size = self._ask_size = 0
        self._last = self._last_size = self._time_s = 0
        self._is_pending = self._is_moved = self._is_quoted = self._is_timed = False

    @property
    def is_live(self) -> bool:
        """True while the broker calls this line's data live."""
        return self.data_type is DataType.LIVE

    @property
    def is_waiting(self) -> bool:
        """True while something is known that was not shown."""
        return self._is_pending or self._is_moved or self._is_quoted

    def become(self, data_type: DataType) -> None:
        """Take note of what the data are from now on."""
        if data_type is not self.data_type:
            self.data_type = data_type
            self.forget()

    def kind_of(self, kind: int) -> int:
        """Return the live tick type of a tick; one of a delayed type makes the line delayed."""
        live = LIVE_KINDS.get(kind)
        if live is None:
            return kind
        if self.data_type not in (DataType.DELAYED, DataType.DELAYED_FROZEN):
            self.become(DataType.DELAYED)
        return live

    # --- what the broker says -----------------------------------------------------------------

    def price(self, kind: int, micros: int | None, size: int) -> Shown | None:
        """Take a price; return what it lets be shown."""
        live = self.kind_of(kind)
        if live == LAST:
            return self._traded(micros, size)
        if live in (BID, ASK):
            self._side(_sound(micros), size, is_bid=live == BID)
        return None

    def size(self, kind: int, size: int) -> None:
        """Take a size; without one there is no quote on that side."""
        live = self.kind_of(kind)
        if live == LAST_SIZE:
            self._last_size = size
        elif live == BID_SIZE:
            self._side(self._bid, size, is_bid=True)
        elif live == ASK_SIZE:
            self._side(self._ask, size, is_bid=False)

    def time(self, kind: int, seconds: int) -> Shown | None:
        """Take the time of the last trade; return the print that waited for it."""
        self.kind_of(kind)
        if seconds < self._time_s:
            self._is_pending = False  # an older trade, repeated
            return None
        is_new = seconds > self._time_s
        self._time_s = seconds
        if self._is_pending:
            return self._printed()
        self._is_timed = True
        self._is_moved = self._is_moved or (is_new and self._last > 0)
        return None

    def _side(self, micros: int, size: int, *, is_bid: bool) -> None:
        before = self.quote
        if is_bid:
            self._bid, self._bid_size = micros, size
        else:
            self._ask, self._ask_size = micros, size
        self._is_quoted = self._is_quoted or self.quote != before

    @property
    def quote(self) -> tuple[int, int]:
        """Return bid and ask in micro-units, 0 for a side that is missing."""
        return (self._bid if self._bid_size > 0 else 0, self._ask if self._ask_size > 0 else 0)

    def _traded(self, micros: int | None, size: int) -> Shown | None:
        before = self._printed() if self._is_pending else None
        price = _sound(micros)
        if price == 0:
            # The next time is of a trade whose price is not known.
            self._last, self._is_pending, self._is_moved = 0, False, False
            self.unsound += micros not in NO_PRICE
            return before
        self._last, self._last_size, self._is_pending = price, size, True
        return before

    # --- what it shows ------------------------------------------------------------------------

    def paused(self) -> Shown | None:
        """Nothing more has arrived for now: a price whose time came first is whole."""
        is_timed, self._is_timed = self._is_timed, False
        return self._printed() if is_timed and self._is_pending else None

    def overdue(self) -> Shown | None:
        """Enough was waited: show what there is, by the last time that was said."""
        if self._is_pending or self._is_moved:
            return self._printed()
        return self._shown(0, is_quote=True) if self._is_quoted else None

    def again(self) -> Shown | None:
        """Show the quote once more: something beside it has changed."""
        return self._shown(0, is_quote=True)

    def _printed(self) -> Shown | None:
        self._is_pending = self._is_moved = self._is_timed = False
        return self._shown(self._last_size, is_quote=False)

    def _shown(self, size: int, *, is_quote: bool) -> Shown | None:
        self._is_quoted = False
        if self._last <= 0 or self._time_s <= 0:
            return None
        bid, ask = self.quote
        return Shown(
            self.symbol, self._last, size, self._time_s, bid, ask, self.data_type, is_quote,
            self.is_halted,
        )  # fmt: skip


def _sound(micros: int | None) -> int:
    """Return a price above zero, 0 for everything else."""
    return micros if micros is not None and micros > 0 else 0
