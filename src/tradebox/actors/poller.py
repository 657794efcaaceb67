"""One polled vendor: asks for the symbols that it should serve now, tells both feeds what came.

Rules of this file:
- one sweep at a time, in a coroutine of its own; the next begins a period after it began, or at
  once when other symbols are wanted;
- how late a price is goes into its tick: by the vendor's word, or by its own event time; a close
  of the day is as old as it is, and late only where the vendor should know a newer one;
- a symbol that the key does not cover is asked again after an hour: a plan may be bought, a no may
  be a mistake; a vendor that says "wait" is let alone, and so is one that does not answer twice in
  a row;
- both feeds get the same messages in the same order, the active one first.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tradebox.actors.feed_slot import FeedSlot
from tradebox.actors.market_hub import TickCounters
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import DAY_LATE_S, Source, Tick
from tradebox.errors import VendorUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import (
    KEY_BITS,
    BulkQuotePort,
    NoQuote,
    NoQuoteReason,
    Quote,
    QuotePort,
    TickBatch,
)
from tradebox.supervision.actor import Actor, Context, Timer
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import ExitReason

NS_PER_S = 1_000_000_000
FUTURE_NS = NS_PER_S
FAILURES_MAX = 2
NUDGE_S = 0.05
WAIT_S_MAX = 3600.0
FORBIDDEN_S = 3600.0


@dataclass(frozen=True, slots=True)
class PollRules:
    """How one vendor is polled.

    Units:   poll_s real seconds from sweep to sweep; fresh_s_max market seconds: an older price
             is delayed, whatever the vendor calls it; 0: its event time says nothing of its age.
    """

    poll_s: float
    symbols_max: int
    fresh_s_max: float = 0.0


@dataclass(slots=True)
class PollFigures:
    """What a poller has done; only grows."""

    sweeps: int = 0
    asked: int = 0
    quotes: int = 0
    empty: int = 0
    failed: int = 0
    throttled: int = 0
    forbidden: int = 0


@dataclass(frozen=True, slots=True)
class WishesChanged:
    """To self: other symbols are wanted of this source now."""


@dataclass(frozen=True, slots=True)
class SweepDue:
    """To self: it is time to ask again."""


@dataclass(frozen=True, slots=True)
class SweepEnded:
    """To self: all were asked. wait_s: how long the vendor is to be let alone, 0: no longer."""

    took_s: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """To self: what the vendor said. Units: mono_ns when it came."""

    answer: Quote | NoQuote
    mono_ns: int


@dataclass(frozen=True, slots=True)
class CallFailed:
    """To self: no usable answer."""

    why: str


PollerMessage = WishesChanged | SweepDue | SweepEnded | Answered | CallFailed


class Poller(Actor[PollerMessage]):
    """Polls one vendor.

    wanted: the symbols this vendor should serve now, most needed first.
    on_wanted: calls back, by name, when they change.
    Holds: every tick carries a key above all before it; none is told as fresher than its answer.
    """

    mailbox_capacity = 4096
    overflow = Overflow.DROP_OLDEST

    def __init__(
        self,
        source: Source,
        port: QuotePort,
        slot: FeedSlot,
        market_clock: MarketClock,
        rules: PollRules,
        *,
        wanted: Callable[[], Sequence[str]],
        on_wanted: Callable[[Callable[[], object], str], object] = lambda _call, _name: None,
        refresh_clock: Callable[[], object] = lambda: None,
        counters: TickCounters | None = None,
    ) -> None:
        self.source = source
        self._counters = TickCounters() if counters is None else counters
        self.figures = PollFigures()
        self._port = port
        self._slot = slot
        self._market_clock = market_clock
        self._rules = rules
        self._wanted = wanted
        self._on_wanted = on_wanted
        self._refresh_clock = refresh_clock
        self._key = 0
        self._is_sweeping = False
        self._is_nudged = False
        self._quiet_until_s = 0.0
        self._next: Timer | None = None
        self._forbidden: dict[str, float] = {}
        self._told: set[str] = set()

    async def init(self, ctx: Context) -> None:
        """Take a number above those of all before, and begin."""
        self._ctx = ctx
        self._key = self._slot.next_connection(self.source) << KEY_BITS
        self._on_wanted(lambda: ctx.ref.tell(WishesChanged()), ctx.name)
        self._plan(NUDGE_S)

    async def handle(self, msg: PollerMessage) -> None:
        """Begin a sweep, or pass on what it brought."""
        match msg:
            case WishesChanged():
                self._nudge()
            case SweepDue():
                self._next = None
                self._begin()
            case Answered(answer, mono_ns):
                self._take(answer, mono_ns)
            case CallFailed(why):
                self.figures.failed += 1
                self._tell_provider(ProviderKind.FAILED)
                self._alert("vendor_unavailable", why)
            case SweepEnded(took_s, wait_s):
                self._is_sweeping = False
                self._quiet_until_s = self._ctx.clock.now() + wait_s
                wait_s = max(wait_s, NUDGE_S if self._is_nudged else self._rules.poll_s - took_s)
                self._is_nudged = False
                self._plan(wait_s)

    async def terminate(self, reason: ExitReason) -> None:
        """Let go of the client."""
        del reason
        await self._port.close()

    # --- sweeps -------------------------------------------------------------------------------

    def _plan(self, wait_s: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._ctx.send_after(max(wait_s, NUDGE_S), SweepDue())

    def _nudge(self) -> None:
        """Ask soon for what is wanted now; a vendor that is let alone stays so."""
        if self._is_sweeping:
            self._is_nudged = True
        else:
            self._plan(self._quiet_until_s - self._ctx.clock.now())

    def _begin(self) -> None:
        now_s = self._ctx.clock.now()
        symbols = [one for one in self._wanted() if self._forbidden.get(one, now_s) <= now_s]
        symbols = symbols[: self._rules.symbols_max]
        if not symbols:
            self._plan(self._rules.poll_s)
            return
        self._is_sweeping = True
        self.figures.sweeps += 1
        self._ctx.spawn_io(self._sweep(symbols))

    async def _sweep(self, symbols: Sequence[str]) -> None:
        """Ask for all, one request at a time; end early where the vendor as a whole says no."""
        began_s, wait_s, failures = self._ctx.clock.now(), 0.0, 0
        for part in _parts(symbols, self._port):
            self.figures.asked += len(part)
            try:
                answers = await _asked(self._port, part)
            except VendorUnavailable as error:
                self._ctx.ref.tell(CallFailed(error.message))
                failures += 1
                if failures >= FAILURES_MAX:
                    break
                continue
            failures = 0
            mono_ns = time.monotonic_ns()
            for answer in answers:
                self._ctx.ref.tell(Answered(answer, mono_ns))
            wait_s = max((_pause_s(answer) for answer in answers), default=0.0)
            if wait_s > 0:
                break
        took_s = self._ctx.clock.now() - began_s
        self._ctx.ref.tell(SweepEnded(took_s, min(wait_s, WAIT_S_MAX)))

    # --- answers ------------------------------------------------------------------------------

    def _take(self, answer: Quote | NoQuote, mono_ns: int) -> None:
        if isinstance(answer, NoQuote):
            self._refused(answer)
            return
        self.figures.quotes += 1
        self._counters.received += 1
        self._tell_provider(ProviderKind.OK)
        self._note_close(answer)
        tick = self._tick(answer)
        self._tell_feeds(TickBatch((tick,), mono_ns))

    def _tick(self, quote: Quote) -> Tick:
        now_ns = self._market_clock.now_ns()
        if quote.event_ns > now_ns + FUTURE_NS:
            self._refresh_clock()
            now_ns = self._market_clock.now_ns()
        self._key += 1
        tick = Tick(
            quote.symbol,
            quote.price_micros,
            0,
            quote.event_ns,
            now_ns,
            self.source,
            self._key,
            delay_s=quote.delay_s,
            is_eod=quote.is_eod,
            is_quote=True,
        )
        age_s = (now_ns - quote.event_ns) // NS_PER_S
        if self._rules.fresh_s_max and not quote.is_eod and age_s > self._rules.fresh_s_max:
            tick = replace(tick, delay_s=max(quote.delay_s, age_s))
        return tick

    def _note_close(self, quote: Quote) -> None:
        """Have the feeds know the last close, where nobody has told it yet."""
        previous = quote.price_micros if quote.is_eod else quote.previous_close_micros
        is_last = not quote.is_eod or quote.delay_s < DAY_LATE_S
        if is_last and previous > 0 and quote.symbol not in self._slot.closes:
            self._tell_feeds(self._slot.note_close(quote.symbol, previous))

    def _refused(self, answer: NoQuote) -> None:
        match answer.reason:
            case NoQuoteReason.EMPTY:
                self.figures.empty += 1
                self._tell_provider(ProviderKind.OK)
            case NoQuoteReason.BUDGET:
                self.figures.throttled += 1
            case NoQuoteReason.THROTTLED:
                self.figures.throttled += 1
                self._tell_provider(ProviderKind.THROTTLED)
                self._alert("vendor_throttled", f"{self.source} wants fewer calls")
            case NoQuoteReason.FORBIDDEN:
                self.figures.forbidden += 1
                self._forbidden[answer.symbol] = self._ctx.clock.now() + FORBIDDEN_S
                self._tell_provider(ProviderKind.FORBIDDEN, answer.symbol)
                self._alert("vendor_forbidden", f"{self.source}'s key does not cover these prices")
            case NoQuoteReason.KEY_REFUSED:
                self.figures.forbidden += 1
                self._tell_provider(ProviderKind.FORBIDDEN)
                self._alert("vendor_key_refused", f"{self.source} refuses the key")

    def _tell_provider(self, kind: ProviderKind, symbol: str = "") -> None:
        at_ns = self._market_clock.now_ns()
        self._slot.provider(ProviderTold(self.source, kind, at_ns, symbol))

    def _tell_feeds(self, message: object) -> None:
        for name in self._slot.order():
            self._ctx.registry.via(name).tell(message)

    def _alert(self, kind: str, text: str) -> None:
        """Say it once in this incarnation's life: the feeds say what follows from it."""
        if kind in self._told:
            return
        self._told.add(kind)
        at_ns = self._market_clock.now_ns()
        alert = AlertRaised(severity="warning", kind=kind, text=text, at_ns=at_ns)
        self._ctx.events.publish(alert)


def _parts(symbols: Sequence[str], port: QuotePort) -> Iterator[Sequence[str]]:
    step = port.at_once if isinstance(port, BulkQuotePort) else 1
    for start in range(0, len(symbols), step):
        yield symbols[start : start + step]


async def _asked(port: QuotePort, symbols: Sequence[str]) -> Sequence[Quote | NoQuote]:
    if isinstance(port, BulkQuotePort) and port.at_once > 1:
        return await port.quotes(symbols)
    return [await port.quote(symbol) for symbol in symbols]


def _pause_s(answer: Quote | NoQuote) -> float:
    """Return how long a no keeps us away from the vendor as a whole."""
    if isinstance(answer, Quote):
        return 0.0
    whole = (NoQuoteReason.THROTTLED, NoQuoteReason.KEY_REFUSED)
    return answer.wait_s if answer.reason in whole else 0.0
