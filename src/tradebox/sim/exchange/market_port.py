"""What the exchange and the gateway need of the simulated market, as Protocols and plain values.

Rules of this file:
- prices are integer micro-units of the quote currency; 0 or less means "no price";
- times are UTC epoch nanoseconds of market time;
- events arrive synchronously, in event-time order, on the one thread of the simulator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

MICROS = 1_000_000
SECOND_NS = 1_000_000_000
REGULAR, OPENING, CLOSING, OUTSIDE = "", "opening", "closing", "outside"
"""The kinds of prints."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A stock that the market trades; `con_id` is stable per symbol."""

    symbol: str
    con_id: int
    primary_exchange: str
    currency: str
    increment_micros: int
    name: str


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and ask with sizes, and the last print. Units: micros, shares."""

    bid_micros: int
    ask_micros: int
    bid_size: int
    ask_size: int
    last_micros: int
    last_size: int
    event_ns: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One print.

    kind: OPENING or CLOSING for the print of an auction, OUTSIDE for one before or after the
    session, else REGULAR.
    """

    symbol: str
    price_micros: int
    size: int
    event_ns: int
    kind: str = REGULAR


@dataclass(frozen=True, slots=True)
class QuoteChange:
    """The quote of a symbol changed."""

    symbol: str
    quote: Quote


@dataclass(frozen=True, slots=True)
class Tick:
    """One print of the past and the quote it happened at."""

    trade: Trade
    quote: Quote


@dataclass(frozen=True, slots=True)
class Bar:
    """OHLCV over a closed interval, stamped at its end."""

    end_ns: int
    open_micros: int
    high_micros: int
    low_micros: int
    close_micros: int
    volume: int


MarketEvent = Trade | QuoteChange


class SessionFigures(Protocol):
    """A symbol's session so far. Units: micros, shares; 0 before its first print."""

    open_micros: int
    high_micros: int
    low_micros: int
    volume: int


class CompanyAction(Protocol):
    """A split or a dividend of one symbol."""

    @property
    def kind(self) -> str:
        """Return `split` or `dividend`."""
        ...

    @property
    def symbol(self) -> str:
        """Return the symbol."""
        ...

    @property
    def at_ns(self) -> int:
        """Return when it happens."""
        ...

    @property
    def numerator(self) -> int:
        """Return the new shares of a split."""
        ...

    @property
    def denominator(self) -> int:
        """Return the old shares of a split."""
        ...

    @property
    def amount_micros(self) -> int:
        """Return what a dividend pays for a share."""
        ...


class MarketClockView(Protocol):
    """The market's time."""

    def now_ns(self) -> int:
        """Return the market time. Units: UTC epoch nanoseconds."""
        ...

    def is_open(self, now_ns: int, /) -> bool:
        """Say whether the regular session is open at that market time."""
        ...

    def is_tradable(self, now_ns: int, /) -> bool:
        """Say whether anything may trade at that market time: in the session or around it."""
        ...

    def next_change_ns(self, at_ns: int, /) -> int:
        """Return when the session or the trading around it begins or ends, or the day changes."""
        ...


class MarketView(Protocol):
    """The market as the exchange and the gateway see it."""

    @property
    def clock(self) -> MarketClockView:
        """Return the market's clock."""
        ...

    def symbols(self) -> Sequence[Instrument]:
        """Return every instrument."""
        ...

    def instrument(self, symbol: str, /) -> Instrument | None:
        """Return the instrument of that symbol, or None."""
        ...

    def quote(self, symbol: str, /) -> Quote | None:
        """Return the present quote, or None before the first one."""
        ...

    def day(self, symbol: str, /) -> SessionFigures | None:
        """Return a symbol's session so far, or None for an unknown symbol."""
        ...

    def subscribe(self, callback: Callable[[MarketEvent], None], /) -> Callable[[], None]:
        """Deliver each market event to the callback; the result ends the delivery."""
        ...

    def is_halted(self, symbol: str, /) -> bool:
        """Say whether trading in the symbol is halted."""
        ...

    def listen_halts(self, callback: Callable[[str], None], /) -> Callable[[], None]:
        """Tell the callback of each symbol that is halted or trades again; the result ends it."""
        ...

    def ticks(
        self,
        symbol: str,
        after_ns: int,
        until_ns: int,
        count: int,
        /,
        *,
        is_whole: bool = True,
    ) -> Sequence[Tick]:
        """Return the prints after one time and not after another, oldest first.

        At most `count`: the oldest ones, of a negative count the latest ones.
        """
        ...

    def actions_between(self, after_ns: int, until_ns: int, /) -> Sequence[CompanyAction]:
        """Return the splits and dividends after one time and not after another."""
        ...

    def bars(
        self,
        symbol: str,
        interval_s: int,
        end_ns: int,
        count: int,
        /,
        *,
        is_whole: bool = False,
    ) -> Sequence[Bar]:
        """Return at most `count` closed bars that end at or before `end_ns`, oldest first.

        is_whole: those of the whole day, not of the regular session alone.
        """
        ...
