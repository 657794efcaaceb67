"""Market values: what a vendor said, what the active feed admitted, and what it is worth.

Rules of this file:
- event time is the vendor's time in UTC nanoseconds; receive time is market time at our socket;
- a price without source, event time, receive time and quality does not exist here.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Source(StrEnum):
    """Who said a price."""

    FINNHUB = "finnhub"
    ALPHAVANTAGE = "alphavantage"
    YAHOO = "yahoo"
    IB = "ib"


TIER: dict[Source, int] = {
    Source.IB: 0,
    Source.FINNHUB: 1,
    Source.ALPHAVANTAGE: 2,
    Source.YAHOO: 3,
}
"""Vendor rank; IB stands beside the vendors."""


DAY_LATE_S = 86_400
"""A close of the day that is so late is not of the session that ended last."""


class Quality(StrEnum):
    """What a price may be used for; entries need LIVE."""

    LIVE = "live"
    SUSPECT = "suspect"
    UNCONFIRMED = "unconfirmed"
    DISPUTED = "disputed"
    DELAYED = "delayed"
    STALE = "stale"
    EOD = "eod"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Tick:
    """One market update as an ingest parsed it, before any check.

    Units: price_micros in micro-units, size in shares, times in ns UTC; delay_s in seconds.
    key: position in the source's order: (connection epoch << 40) | running number.
    bid_micros, ask_micros: the quote beside the price, 0 where the source tells none.
    delay_s: how late the source says its price is, 0 for one of now; is_eod: a close of the day.
    is_quote: a bid and ask, or a polled last price: no print, so it has no size of its own.
    """

    symbol: str
    price_micros: int
    size: int
    event_ns: int
    recv_ns: int
    source: Source
    key: int
    conditions: tuple[str, ...] = ()
    bid_micros: int = 0
    ask_micros: int = 0
    delay_s: int = 0
    is_eod: bool = False
    is_quote: bool = False


@dataclass(frozen=True, slots=True)
class AdmittedTick:
    """A tick that the active feed let through: what controllers decide on.

    pub_seq: contiguous per symbol. epoch: of the feed that admitted it.
    """

    symbol: str
    price_micros: int
    size: int
    event_ns: int
    recv_ns: int
    source: Source
    quality: Quality
    epoch: int
    pub_seq: int
    key: int
    mono_ns: int = 0
    """Monotonic time at the socket, for latency figures; 0 where unknown."""
    mailbox_mono_ns: int = 0
    """Monotonic time when it was delivered to the controllers' mailboxes; 0 where unknown."""


def is_older(tick: AdmittedTick, known: AdmittedTick | None) -> bool:
    """Say whether a tick is of before what its own source has shown already.

    Another source is no measure: which of two serves, and when, is the tiers' to say.
    """
    return known is not None and tick.source is known.source and tick.event_ns < known.event_ns


@dataclass(frozen=True, slots=True)
class Instrument:
    """A US stock as the broker names it. increment: smallest price step in currency units."""

    symbol: str
    con_id: int
    primary_exchange: str
    currency: str
    increment: Decimal
    name: str


@dataclass(frozen=True, slots=True)
class Session:
    """Regular hours of one trading day of one venue, [open_ns, close_ns) in ns UTC."""

    venue: str
    day: str
    open_ns: int
    close_ns: int
    is_early_close: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """OHLCV over a closed interval, stamped at its end."""

    symbol: str
    interval_s: int
    end_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
