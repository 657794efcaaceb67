"""What we need from a vendor of prices: a stream of ticks, and single quotes.

Rules of this file:
- a stream owns one connection and its reconnects; it never raises for what a vendor does;
- it tells what it sees to a sink, in wire order, from its own coroutine;
- no answer is not a price: a quote is either complete or a stated reason for none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn, Protocol, runtime_checkable

from tradebox.domain.market import Source, Tick

KEY_BITS = 40
"""Bits of the running number in a tick's key; the connection's number stands above them."""


@dataclass(frozen=True, slots=True)
class TickBatch:
    """The ticks of one vendor frame, in wire order; none of them: a sign of life.

    Units: mono_ns: monotonic time when the frame was read.
    """

    ticks: tuple[Tick, ...]
    mono_ns: int


class TickSink(Protocol):
    """Whom a stream tells; none of these may block or raise."""

    def opened(self) -> int:
        """Note a new connection; return its number, larger than any before in this process."""
        ...

    def ticks(self, batch: TickBatch) -> None:
        """Take the ticks of one frame."""
        ...

    def closed(self, reason: str, retry_s: float) -> None:
        """Note that the connection is gone and when the next attempt comes."""
        ...

    def noted(self, kind: str, text: str) -> None:
        """Note something a person may need to know; kind is a stable word."""
        ...


class TickStream(Protocol):
    """One vendor's stream of trades."""

    @property
    def source(self) -> Source:
        """Whose prices these are."""
        ...

    @property
    def budget(self) -> int:
        """How many symbols the vendor lets us have on this connection."""
        ...

    def want(self, symbols: Sequence[str]) -> None:
        """Replace the wanted symbols, most important first; those beyond the budget wait."""
        ...

    async def apply(self) -> None:
        """Bring the vendor's subscriptions in line with what is wanted."""
        ...

    async def run(self, sink: TickSink) -> NoReturn:
        """Connect, read and reconnect for ever."""
        ...


@runtime_checkable
class KeyedStream(TickStream, Protocol):
    """A stream whose source also answers single quotes: both share one order of keys."""

    def key(self) -> int:
        """Return the next key in this source's order, for a price that came beside the stream."""
        ...


@dataclass(frozen=True, slots=True)
class Quote:
    """One polled price. Units: prices in micro-units, 0 = not given; event_ns in ns UTC.

    delay_s: how late the vendor says it tells this price; above 0 it is never live.
    is_eod: the close of a day, not a price of now; with delay_s of a day and more: not of the
    session that ended last.
    """

    symbol: str
    price_micros: int
    previous_close_micros: int
    event_ns: int
    delay_s: int = 0
    is_eod: bool = False


class NoQuoteReason(StrEnum):
    """Why there is no quote, and with it what to do."""

    EMPTY = "empty"
    """The vendor knows nothing now, or no such symbol: ask again later."""
    FORBIDDEN = "forbidden"
    """The key does not cover it: do not ask again."""
    KEY_REFUSED = "key_refused"
    """The key is wrong: a person has to act."""
    THROTTLED = "throttled"
    """Too many calls: wait the stated time."""
    BUDGET = "budget"
    """Our own budget of calls has nothing left for this symbol: nothing was asked."""


@dataclass(frozen=True, slots=True)
class NoQuote:
    """No price, for a reason. Units: wait_s: how long to stay away, 0 where it does not matter."""

    symbol: str
    reason: NoQuoteReason
    wait_s: float = 0.0


@runtime_checkable
class QuotePort(Protocol):
    """Single quotes by request."""

    async def quote(self, symbol: str) -> Quote | NoQuote:
        """Ask for one symbol.

        Raises: VendorUnavailable where no usable answer came.
        """
        ...

    async def close(self) -> None:
        """Drop the connections; harmless twice."""
        ...


@runtime_checkable
class BulkQuotePort(QuotePort, Protocol):
    """Quotes of several symbols by one request."""

    @property
    def at_once(self) -> int:
        """How many symbols one request takes; 1: only `quote` is of use."""
        ...

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote | NoQuote]:
        """Ask for up to `at_once` symbols; one answer each, in their order.

        Raises: VendorUnavailable where no usable answer came.
        """
        ...
