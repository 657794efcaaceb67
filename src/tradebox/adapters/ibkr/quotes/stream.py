"""The broker's quotes as a stream of ticks: connections, budget, stamps.

Rules of this file:
- each connection begins with nothing of the last one, under the same client id;
- event time is the broker's time of the last trade, in whole seconds, also for a quote: it makes
  no price look younger than its trade;
- what the broker does not call live leaves as delayed, or as of the close where it is frozen.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ib_async.contract import Contract

from tradebox.adapters.ibkr.quotes.line import DataType, Shown
from tradebox.adapters.ibkr.quotes.session import QuoteSession, QuoteTiming
from tradebox.domain.market import Instrument, Source, Tick
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import KEY_BITS, TickBatch, TickSink
from tradebox.supervision.clock import Clock

NS_PER_S: Final = 1_000_000_000
DELAY_S: Final = 900
"""How late delayed data are, as the broker describes them."""

HALTED: Final = ("halted",)
_DELAYED: Final = (DataType.DELAYED, DataType.DELAYED_FROZEN)


@dataclass(slots=True)
class QuoteFigures:
    """What the stream has seen; only grows."""

    connections: int = 0
    cuts: int = 0
    prints: int = 0
    quotes: int = 0
    not_live: int = 0
    malformed: int = 0


class IbQuoteStream:
    """The port TickStream on one gateway, under a client id of its own.

    find: returns what is known of a symbol's contract; None: the broker is asked by the symbol.
    Holds:   no message but a request for quotes can be written; keys rise in wire order; every
             wanted symbol within the budget is asked for again after each reconnect.
    """

    source = Source.IB

    def __init__(
        self,
        address: tuple[str, int],
        client_id: int,
        market_clock: MarketClock,
        clock: Clock,
        *,
        lines_max: int = 100,
        timing: QuoteTiming | None = None,
        find: Callable[[str], Instrument | None] = lambda _: None,
        rng: Callable[[], float] = random.random,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.figures = QuoteFigures()
        self._address = address
        self._client_id = client_id
        self._market_clock = market_clock
        self._clock = clock
        self._lines_max = lines_max
        self._timing = QuoteTiming() if timing is None else timing
        self._find = find
        self._rng = rng
        self._mono_ns = mono_ns
        self._wanted: tuple[str, ...] = ()
        self._session: QuoteSession | None = None
        self._sink: TickSink | None = None
        self._attempt = 0
        self._key = 0

    @property
    def budget(self) -> int:
        """How many symbols the broker gives us lines for."""
        return self._lines_max if self._session is None else self._session.cap

    def want(self, symbols: Sequence[str]) -> None:
        """Replace the wanted symbols, most important first."""
        self._wanted = tuple(dict.fromkeys(symbols))

    async def apply(self) -> None:
        """Ask for what is missing and give back what is too much."""
        if self._session is not None:
            self._session.want(self._wanted)

    async def run(self, sink: TickSink) -> NoReturn:
        """Connect, read and reconnect for ever."""
        self._sink = sink
        try:
            while True:
                began_s = self._clock.now()
                reason = await self._one_connection()
                if self._clock.now() - began_s >= self._timing.stable_s:
                    self._attempt = 0
                retry_s = self._backoff_s()
                sink.closed(reason, retry_s)
                await self._clock.sleep(retry_s)
        finally:
            self._leave("closed by us")

    async def _one_connection(self) -> str:
        """Live through one connection; return why it ended."""
        host, port = self._address
        session = QuoteSession(self, self._clock, self._timing, self._lines_max, self._contract)
        self._session = session
        try:
            await session.open(host, port, self._client_id)
            session.want(self._wanted)
            return await session.gone
        except (OSError, TimeoutError) as error:
            return str(error) or type(error).__name__
        finally:
            self.figures.malformed += session.reader.malformed
            self._leave("the connection is over")

    def _leave(self, reason: str) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.end(reason)

    def _backoff_s(self) -> float:
        """Return the next wait: full jitter, at least half of the first step."""
        timing = self._timing
        ceiling = min(timing.backoff_s_max, timing.backoff_s_min * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return max(timing.backoff_s_min / 2, ceiling * self._rng())

    def _contract(self, symbol: str) -> Contract:
        known = self._find(symbol)
        return Contract(
            secType="STK",
            conId=0 if known is None else known.con_id,
            symbol=symbol,
            exchange="SMART",
            primaryExchange="" if known is None else known.primary_exchange,
            currency="USD" if known is None else known.currency,
        )

    # --- session.Told -------------------------------------------------------------------------

    def linked(self) -> None:
        """A new number for the keys: what comes from now on is of after the gap."""
        assert self._sink is not None
        self.figures.connections += 1
        self._key = self._sink.opened() << KEY_BITS

    def cut(self, reason: str) -> None:
        """The gateway has lost the broker: as good as gone."""
        assert self._sink is not None
        self.figures.cuts += 1
        self._sink.closed(reason, self._timing.link_lost_s_max)

    def noted(self, kind: str, text: str) -> None:
        """Pass on what a person may need to know."""
        assert self._sink is not None
        self._sink.noted(kind, text)

    def shown(self, shown: Sequence[Shown]) -> None:
        """Stamp what the lines say and pass it on."""
        assert self._sink is not None
        recv_ns, key = self._market_clock.now_ns(), self._key
        ticks = tuple(_tick(one, recv_ns, key + place) for place, one in enumerate(shown, 1))
        self._key += len(ticks)
        quotes = sum(one.is_quote for one in shown)
        self.figures.quotes += quotes
        self.figures.prints += len(shown) - quotes
        self.figures.not_live += sum(one.data_type is not DataType.LIVE for one in shown)
        self._sink.ticks(TickBatch(ticks, self._mono_ns()))


def _tick(shown: Shown, recv_ns: int, key: int) -> Tick:
    return Tick(
        shown.symbol,
        shown.price_micros,
        shown.size,
        shown.event_s * NS_PER_S,
        recv_ns,
        Source.IB,
        key,
        HALTED if shown.is_halted else (),
        shown.bid_micros,
        shown.ask_micros,
        DELAY_S if shown.data_type in _DELAYED else 0,
        shown.data_type is DataType.FROZEN,
        shown.is_quote,
    )
