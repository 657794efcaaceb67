"""One vendor connection: counts what comes, stamps its order, tells both feeds.

Rules of this file:
- the vendor's socket lives in the port's coroutine, owned by this actor; its frames arrive as
  messages, so the receive loop keeps checking in whatever the vendor does;
- both feeds get the same messages in the same order, the active one first;
- a tick that looks to come from the future has the market clock's map read again first: the
  stand-in market's clock jumps over closed hours;
- a symbol that the stream does not bring (no place, or silent though subscribed) is asked for by
  single quotes, the longer it shows nothing new the more rarely; one that the key does not cover
  once an hour; one whose last close nobody has told yet, as if it were silent: a vendor's first
  answer may be empty though the symbol is good.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tradebox.actors.feed_slot import FeedSlot, PreviousClose, Subscribed
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.events import AlertRaised, StreamChanged
from tradebox.domain.market import Tick
from tradebox.errors import VendorUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import (
    KeyedStream,
    NoQuote,
    NoQuoteReason,
    Quote,
    QuotePort,
    TickBatch,
    TickStream,
)
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import ExitReason

QUOTE_GAP_S = 1.1
QUOTE_RETRY_S = 30.0
QUIET_S = 30.0
QUIET_TIMES_MAX = 20
LOOK_S = 5.0
FORBIDDEN_S = 3600.0
OK_TOLD_S = 1.0
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


@dataclass(frozen=True, slots=True)
class ProviderSeen:
    """To self: how a call to the vendor went."""

    kind: ProviderKind
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class LookAround:
    """To self: see which symbols the stream does not bring."""


@dataclass(slots=True)
class _Silence:
    """A symbol that the stream may not bring: when to ask for it, how long to wait after."""

    due_s: float
    wait_s: float
    event_ns: int = 0


IngestMessage = (
    TickBatch
    | WantedChanged
    | StreamOpened
    | StreamClosed
    | StreamNoted
    | QuoteCame
    | ProviderSeen
    | LookAround
)


class Ingest(Actor[IngestMessage]):
    """Owns one stream, and the quotes that give first ticks something to be judged by.

    quote_gap_s: the least time between two quote calls (Finnhub, free key: 60 a minute).
    quiet_s: how long the stream may bring nothing of a symbol before it is asked for.
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
        quiet_s: float = QUIET_S,
    ) -> None:
        self._stream = stream
        self._hub = hub
        self._slot = slot
        self._market_clock = market_clock
        self._quotes = quotes
        self._refresh_clock = refresh_clock
        self._quote_gap_s = quote_gap_s
        self._quiet_s = quiet_s
        self._silence: dict[str, _Silence] = {}
        self._ok_told_s = 0.0
        self._calls = 0
        self._asked: set[str] = set()
        self._lacking: set[str] = set()
        self._is_asking = False
        self._is_over_budget = False
        self.is_up = False

    async def init(self, ctx: Context) -> None:
        """Take the wishes that are there, start the stream."""
        self._ctx = ctx
        self._hub.on_wanted(lambda: ctx.ref.tell(WantedChanged()), ctx.name)
        self._take_wishes()
        ctx.spawn_io(self._stream.run(self))
        if self._quotes is not None:
            ctx.send_after(self._look_s, LookAround())

    # --- the stream's side: called from its coroutine ------------------------------------------

    def opened(self) -> int:
        """Give the connection its number."""
        connection = self._slot.next_connection(self._stream.source)
        self._ctx.ref.tell(StreamOpened(connection))
        return connection

    def ticks(self, batch: TickBatch) -> None:
        """Put one frame's ticks into the mailbox; what is lost there the gate counts as a gap."""
        self._ctx.ref.tell(batch)

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
                self._tell_provider(ProviderKind.OPENED)
                self._ask_quotes()
            case StreamClosed(reason, retry_s):
                self.is_up = False
                self._changed(reason, retry_s)
                self._tell_provider(ProviderKind.CLOSED)
            case StreamNoted(kind, text):
                self._alert(kind, text)
            case QuoteCame(quote):
                self._tell_feeds(self._slot.note_close(quote.symbol, quote.previous_close_micros))
            case ProviderSeen(kind, symbol):
                self._tell_provider(kind, symbol)
            case LookAround():
                self._ask_quotes()
                self._ctx.send_after(self._look_s, LookAround())

    def _pass_on(self, batch: TickBatch) -> None:
        now_s = self._ctx.clock.now()
        if now_s - self._ok_told_s >= OK_TOLD_S:
            self._ok_told_s = now_s
            self._tell_provider(ProviderKind.OK)
        if not batch.ticks:
            return
        self._heard(batch, now_s)
        self._hub.counters.received += len(batch.ticks)
        newest = batch.ticks[-1]
        if newest.event_ns > newest.recv_ns + FUTURE_NS:
            self._refresh_clock()
            now_ns = self._market_clock.now_ns()
            ticks = tuple(replace(tick, recv_ns=now_ns) for tick in batch.ticks)
            batch = replace(batch, ticks=ticks)
        self._tell_feeds(batch)

    def _heard(self, batch: TickBatch, now_s: float) -> None:
        """Note which symbols the stream brings; once in a while is enough."""
        late_s = now_s + self._quiet_s / 2
        for tick in batch.ticks:
            if tick.symbol in self._lacking:
                continue
            known = self._silence.get(tick.symbol)
            if (known is None or known.due_s < late_s) and not tick.is_quote:
                self._silence[tick.symbol] = _Silence(now_s + self._quiet_s, self._quiet_s)

    def _tell_feeds(self, message: TickBatch | Subscribed | PreviousClose) -> None:
        for name in self._slot.order():
            self._ctx.registry.via(name).tell(message)

    def _wanted(self) -> list[str]:
        """Return the symbols that this source should serve, most needed first."""
        return self._hub.wanted_of(self._stream.source)

    def _take_wishes(self) -> None:
        symbols = self._wanted()
        self._stream.want(symbols)
        self._asked.intersection_update(symbols)
        self._lacking.intersection_update(symbols)
        self._silence = {one: each for one, each in self._silence.items() if one in symbols}
        self._tell_feeds(self._slot.subscribe(self._hub.wanted()))
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

    def _tell_provider(self, kind: ProviderKind, symbol: str = "") -> None:
        at_ns = self._market_clock.now_ns()
        self._slot.provider(ProviderTold(self._stream.source, kind, at_ns, symbol))

    # --- single quotes ------------------------------------------------------------------------

    @property
    def _look_s(self) -> float:
        return min(LOOK_S, self._quiet_s)

    def _ask_quotes(self) -> None:
        if self._quotes is None or self._is_asking or self._next_symbol() is None:
            return
        self._is_asking = True
        self._ctx.spawn_io(self._asking(self._quotes))

    def _next_symbol(self) -> str | None:
        """Return whom to ask for: one whose last close is missing, else the most overdue one."""
        symbols = self._wanted()
        for symbol in symbols:
            if symbol not in self._asked:
                return symbol
        now_s = self._ctx.clock.now()
        if not isinstance(self._stream, KeyedStream):
            return None
        for symbol in symbols:
            self._silence.setdefault(symbol, _Silence(now_s + self._quiet_s, self._quiet_s))
        overdue = [one for one in symbols if self._silence[one].due_s <= now_s]
        return min(overdue, key=lambda one: self._silence[one].due_s, default=None)

    async def _asking(self, quotes: QuotePort) -> None:
        """Ask for one symbol after the other, paced, until none is missing or overdue."""
        try:
            while (symbol := self._next_symbol()) is not None:
                wait_s = self._quote_gap_s
                try:
                    answer = await quotes.quote(symbol)
                except VendorUnavailable:
                    wait_s = QUOTE_RETRY_S
                    self._ctx.ref.tell(ProviderSeen(ProviderKind.FAILED))
                else:
                    wait_s = max(wait_s, self._take_answer(symbol, answer))
                await self._ctx.clock.sleep(wait_s)
        finally:
            self._is_asking = False

    def _take_answer(self, symbol: str, answer: Quote | NoQuote) -> float:
        """Book an answer and return how long to stay away."""
        self._calls += 1
        is_news = isinstance(answer, Quote) and self._is_news(answer)
        self._put_off(symbol, is_news=is_news)
        if isinstance(answer, Quote):
            self._ctx.ref.tell(ProviderSeen(ProviderKind.OK))
            is_first = symbol not in self._asked
            if (is_first or symbol in self._lacking) and answer.previous_close_micros > 0:
                self._lacking.discard(symbol)
                self._ctx.ref.tell(QuoteCame(answer))
            elif is_first:
                self._lacking.add(symbol)
            elif is_news:
                self._ctx.ref.tell(self._beside(answer))
            self._asked.add(symbol)
            return 0.0
        source = self._stream.source
        match answer.reason:
            case NoQuoteReason.THROTTLED:
                self._ctx.ref.tell(ProviderSeen(ProviderKind.THROTTLED))
                if self._calls == 1:
                    text = f"{source} throttles the first call: is its key a good one?"
                    self._alert("vendor_key_doubted", text)
                return answer.wait_s
            case NoQuoteReason.FORBIDDEN:
                self._silence[symbol].due_s = self._ctx.clock.now() + FORBIDDEN_S
                self._ctx.ref.tell(ProviderSeen(ProviderKind.FORBIDDEN, symbol))
            case NoQuoteReason.KEY_REFUSED:
                self._alert("vendor_key_refused", f"{source} refuses the key")
                self._ctx.ref.tell(ProviderSeen(ProviderKind.FAILED))
            case NoQuoteReason.EMPTY | NoQuoteReason.BUDGET:
                if symbol not in self._asked:
                    self._lacking.add(symbol)
        self._asked.add(symbol)
        return answer.wait_s

    def _is_news(self, quote: Quote) -> bool:
        """Say whether it is newer than the quote before."""
        known = self._silence.get(quote.symbol)
        return known is None or quote.event_ns > known.event_ns

    def _put_off(self, symbol: str, *, is_news: bool) -> None:
        """Ask again after a while; after twice as long where nothing moves."""
        known = self._silence.get(symbol)
        wait_s = self._quiet_s
        if known is not None and not is_news:
            wait_s = min(2 * known.wait_s, QUIET_TIMES_MAX * self._quiet_s)
        event_ns = 0 if known is None else known.event_ns
        self._silence[symbol] = _Silence(self._ctx.clock.now() + wait_s, wait_s, event_ns)

    def _beside(self, quote: Quote) -> TickBatch:
        """Return a quote as a tick beside the stream's, in the same order of keys."""
        assert isinstance(self._stream, KeyedStream), "asked for only where it is one"
        self._silence[quote.symbol].event_ns = quote.event_ns
        tick = Tick(
            quote.symbol,
            quote.price_micros,
            0,
            quote.event_ns,
            self._market_clock.now_ns(),
            self._stream.source,
            self._stream.key(),
            is_quote=True,
        )
        return TickBatch((tick,), time.monotonic_ns())


def _some(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:10])
    return shown if len(symbols) <= 10 else f"{shown} …"
