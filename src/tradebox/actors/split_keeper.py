"""Reads the calendar of splits and tells both feeds of those of today, again and again.

Rules of this file:
- telling twice changes nothing, and a symbol that was wanted or blocked meanwhile hears of it;
- PostgreSQL away is no fault: what was told stays told, and it is asked again;
- a day is told from its first hour in New York to the next one's.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from tradebox.domain.filter_values import KnownSplit
from tradebox.errors import StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.splits import SplitPort, SplitRow
from tradebox.supervision.actor import Actor, Context

LOOK_S: Final = 10.0
NS_PER_S: Final = 1_000_000_000
DAY_BEGINS_S: Final = 4 * 3600
"""Midnight in New York lies four or five hours after that of UTC; the first prints at eight."""
DAY_S: Final = 86_400


class _Look:
    """To self: read the calendar again."""


class SplitKeeper(Actor[_Look]):
    """Tells splits as the days come.

    tell: takes the symbol and its split; the message is for both feeds.
    """

    def __init__(
        self,
        port: SplitPort,
        market_clock: MarketClock,
        tell: Callable[[str, KnownSplit], object],
    ) -> None:
        self._port = port
        self._market_clock = market_clock
        self._tell = tell

    async def init(self, ctx: Context) -> None:
        """Begin at once, after the tree has gone on starting."""
        self._ctx = ctx
        ctx.ref.tell(_Look())

    async def handle(self, msg: _Look) -> None:
        """Tell what is announced for today."""
        del msg
        today = day_of(self._market_clock.now_ns())
        try:
            rows = await self._port.splits(today, today)
        except StoreUnavailable:
            rows = ()
        for row in rows:
            self._tell(row.symbol, known_split(row))
        self._ctx.send_after(LOOK_S, _Look())


def day_of(now_ns: int) -> date:
    """Return the trading day that a moment belongs to."""
    return datetime.fromtimestamp(now_ns // NS_PER_S - DAY_BEGINS_S, UTC).date()


def known_split(row: SplitRow) -> KnownSplit:
    """Return the split with the hours it counts in. Units: ns UTC."""
    midnight = datetime(row.day.year, row.day.month, row.day.day, tzinfo=UTC)
    from_s = int((midnight + timedelta(seconds=DAY_BEGINS_S)).timestamp())
    until_s = from_s + DAY_S
    return KnownSplit(row.numerator, row.denominator, from_s * NS_PER_S, until_s * NS_PER_S)
