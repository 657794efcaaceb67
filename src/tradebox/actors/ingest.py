"""One vendor connection: counts what comes, stamps its order, tells both feeds.

Rules of this file:
- the vendor's socket lives in the port's coroutine, owned by this actor; its frames arrive as
  messages, so the receive loop keeps checking in whatever the vendor does;
- both feeds get the same messages in the same order, the active one first;
- a tick that looks to come from the future has the market clock's map read again first: the
  stand-in market's clock jumps over closed hours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tradebox.actors.feed_slot import FeedSlot, PreviousClose, Subscribed
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import AlertRaised, StreamChanged
from tradebox.errors import VendorUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote, QuotePort, TickBatch, TickStream
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import ExitReason

QUOTE_GAP_S = 1.1
QUOTE_RETRY_S = 30.0
FUTURE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class WantedChanged:
    """To self: the hub's wishes are others now."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """To self: the stream has a connection."""

    connection: int


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """To self: the stream lost its connection."""

    reason: str
    retry_s: float


@dataclass(frozen=True, slots=True)
class StreamNoted:
    """To self: the stream says something a person may need to know."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class QuoteCame:
    """To self: the answer of the quote port."""

    quote: Quote


IngestMessage = TickBatch | WantedChanged | StreamOpened | StreamClosed | StreamNoted | QuoteCame


class Ingest(Actor[IngestMessage]):
    """Owns one stream, and the quotes that give first ticks something to be judged by.

    quote_gap_s: the least time between two quote calls (Finnhub, free key: 60 a minute).
    refresh_clock: reads the market clock's map again; nothing to do for a wall clock.
    """

    mailbox_capacity = 8192
    overflow = Overflow.DROP_OLDEST

    def __init__(
        self,
        stream: TickStream,
        hub: MarketHub,
        slot: FeedSlot,
        market_clock: MarketClock,
        *,
        quotes: QuotePort | None = None,
        refresh_clock: Callable[[], object] = lambda: None,
        quote_gap_s: float = QUOTE_GAP_S,
    ) -> None:
        self._stream = stream
        self._hub = hub
        self._slot = slot
        self._market_clock = market_clock
        self._quotes = quotes
        self._refresh_clock = refresh_clock
        self._quote_gap_s = quote_gap_s
        self._asked: set[str] = set()
        self._is_asking = False
        self._is_over_budget = False
        self.is_up = False
        self.lost_batches = 0

    async def init(self, ctx: Context) -> None:
        """Take the wishes that are there, start the stream."""
        self._ctx = ctx
        self._hub.on_wanted(lambda: ctx.ref.tell(WantedChanged()), ctx.name)
        self._take_wishes()
        ctx.spawn_io(self._stream.run(self))

    # --- the stream's side: called from its coroutine ------------------------------------------

    def opened(self) -> int:
        """Give the connection its number."""
        connection = self._slot.next_connection(self._stream.source)
        self._ctx.ref.tell(StreamOpened(connection))
        return connection

    def ticks(self, batch: TickBatch) -> None:
        """Put one frame's ticks into the mailbox."""
        if not self._ctx.ref.tell(batch):
            self.lost_batches += 1

    def closed(self, reason: str, retry_s: float) -> None:
        """Note that the connection is gone."""
        self._ctx.ref.tell(StreamClosed(reason, retry_s))

    def noted(self, kind: str, text: str) -> None:
        """Note what a person may need to know."""
        self._ctx.ref.tell(StreamNoted(kind, text))

    # --- the actor's side ---------------------------------------------------------------------

    async def handle(self, msg: IngestMessage) -> None:
        """Pass ticks on; keep the stream's symbols and state."""
        match msg:
            case TickBatch():
                self._pass_on(msg)
            case WantedChanged():
                self._take_wishes()
                self._ctx.spawn_io(self._stream.apply())
            case StreamOpened(connection):
                self.is_up = True
                self._changed(f"connection {connection}", 0.0)
                self._ask_quotes()
            case StreamClosed(reason, retry_s):
                self.is_up = False
                self._changed(reason, retry_s)
            case StreamNoted(kind, text):
                self._alert(kind, text)
            case QuoteCame(quote):
                self._tell_feeds(self._slot.note_close(quote.symbol, quote.previous_close_micros))

    def _pass_on(self, batch: TickBatch) -> None:
        if not batch.ticks:
            return
        self._hub.counters.received += len(batch.ticks)
        newest = batch.ticks[-1]
        if newest.event_ns > newest.recv_ns + FUTURE_NS:
            self._refresh_clock()
            now_ns = self._market_clock.now_ns()
            ticks = tuple(replace(tick, recv_ns=now_ns) for tick in batch.ticks)
            batch = replace(batch, ticks=ticks)
        self._tell_feeds(batch)

    def _tell_feeds(self, message: TickBatch | Subscribed | PreviousClose) -> None:
        for name in self._slot.order():
            self._ctx.registry.via(name).tell(message)

    def _take_wishes(self) -> None:
        symbols = self._hub.wanted_by_rank()
        self._stream.want(symbols)
        self._asked.intersection_update(symbols)
        self._tell_feeds(self._slot.subscribe(frozenset(symbols)))
        is_over = len(symbols) > self._stream.budget
        if is_over and not self._is_over_budget:
            waiting = symbols[self._stream.budget :]
            self._alert("symbol_budget", f"no stream for {len(waiting)}: {_some(waiting)}")
        self._is_over_budget = is_over
        self._ask_quotes()

    def _changed(self, reason: str, retry_s: float) -> None:
        at_ns = self._market_clock.now_ns()
        event = StreamChanged(self._stream.source, self.is_up, reason, retry_s, at_ns)
        self._ctx.events.publish(event)

    def _alert(self, kind: str, text: str) -> None:
        at_ns = self._market_clock.now_ns()
        alert = AlertRaised(severity="warning", kind=kind, text=text, at_ns=at_ns)
        self._ctx.events.publish(alert)

    async def terminate(self, reason: ExitReason) -> None:
        """Let go of the quote client; the stream ended with its coroutine."""
        del reason
        if self._quotes is not None:
            await self._quotes.close()

    # --- previous closes ----------------------------------------------------------------------

    def _ask_quotes(self) -> None:
        if self._quotes is None or self._is_asking or not self._missing():
            return
        self._is_asking = True
        self._ctx.spawn_io(self._asking(self._quotes))

    def _missing(self) -> list[str]:
        return [symbol for symbol in self._hub.wanted_by_rank() if symbol not in self._asked]

    async def _asking(self, quotes: QuotePort) -> None:
        """Ask for the last close of each wanted symbol, one at a time, paced."""
        try:
            while missing := self._missing():
                symbol = missing[0]
                wait_s = self._quote_gap_s
                try:
                    answer = await quotes.quote(symbol)
                except VendorUnavailable:
                    wait_s = QUOTE_RETRY_S
                else:
                    wait_s = max(wait_s, self._take_answer(symbol, answer))
                await self._ctx.clock.sleep(wait_s)
        finally:
            self._is_asking = False

    def _take_answer(self, symbol: str, answer: Quote | NoQuote) -> float:
        """Book an answer and return how long to stay away."""
        if isinstance(answer, Quote):
            self._asked.add(symbol)
            if answer.previous_close_micros > 0:
                self._ctx.ref.tell(QuoteCame(answer))
            return 0.0
        if answer.reason is not NoQuoteReason.THROTTLED:
            self._asked.add(symbol)
        if answer.reason is NoQuoteReason.KEY_REFUSED:
            self._alert("vendor_key_refused", f"{self._stream.source} refuses the key")
        return answer.wait_s


def _some(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:10])
    return shown if len(symbols) <= 10 else f"{shown} …"
