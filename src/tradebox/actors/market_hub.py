"""The meeting place of prices inside the engine: who wants which, who gets what, what is last.

Rules of this file:
- a plain object that outlives its users: restarted actors find their prices again;
- delivery is synchronous, live first; a deliverer never blocks and never raises (`ref.tell`);
- a print that comes after a newer one of its source is for the tape alone: who decides or shows
  is never taken back in time;
- age is judged at the moment of asking, from the event time and the market clock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from tradebox.domain.market import AdmittedTick, Quality, Source, is_older
from tradebox.domain.orders import AccountName
from tradebox.domain.staleness import AgeLimits, Hours, usual_gap_ns
from tradebox.ports.clock import MarketClock

Deliver = Callable[[AdmittedTick], object]
NIGHT_NS = 4 * 3600 * 1_000_000_000
"""A longer silence is a night, not a gap."""


class Need(IntEnum):
    """Why a symbol's prices are needed, the most important first."""

    POSITION = 0
    ORDER = 1
    ARMED = 2
    WATCHED = 3


@dataclass(slots=True)
class TickCounters:
    """What the price path did in this engine; only grows.

    received: from vendors. admitted: let through. published: written to the outward bus.
    refused: dropped or held by the filter.
    """

    received: int = 0
    admitted: int = 0
    published: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Reader:
    name: str
    deliver: Deliver
    symbols: frozenset[str] | None
    is_tape: bool


def _rank(name: str) -> tuple[int, str]:
    """Live goes first; the others by name, so that the order is always the same."""
    return (0 if name == AccountName.LIVE else 1, name)


class MarketHub:
    """Prices in process: subscriptions, wishes, last values.

    Holds:   a reader gets each admitted tick of its symbols at most once, in order of admission;
             one that keeps the tape gets all, to the others the event time of a source never
             falls; nor does last() while its source serves; quality_now() is LIVE only for a tick
             that was admitted as LIVE and is not older than the limit of its source.
    Units:   stale_ns_max in market ns (already scaled by the clock's speed).
    ages: the limits by source and by how often a symbol trades; else stale_ns_max is all.
    """

    def __init__(
        self,
        market_clock: MarketClock,
        stale_ns_max: int,
        *,
        counters: TickCounters | None = None,
        is_open: Callable[[int], bool | None] = lambda _: None,
        ages: AgeLimits | None = None,
    ) -> None:
        self.counters = TickCounters() if counters is None else counters
        self._market_clock = market_clock
        self._stale_ns_max = stale_ns_max
        self._is_open = is_open
        self._ages = ages
        self._unwell: frozenset[Source] = frozenset()
        self._gap_ns: dict[str, int] = {}
        self._last: dict[str, AdmittedTick] = {}
        self._flow: dict[str, list[int]] = {}
        self._readers: tuple[_Reader, ...] = ()
        self._wishes: dict[str, frozenset[str]] = {}
        self._needs: dict[str, Mapping[str, Need]] = {}
        self._polled: dict[Source, frozenset[str]] = {}
        self._on_wanted: dict[str, Callable[[], object]] = {}

    # --- readers ----------------------------------------------------------------------------

    def subscribe(
        self,
        name: str,
        deliver: Deliver,
        symbols: frozenset[str] | None,
        *,
        is_tape: bool = False,
    ) -> None:
        """Deliver the admitted ticks of these symbols (None: all); replaces an older one.

        is_tape: also the prints that came after a newer one, as bars and the recorder want them.
        """
        others = (reader for reader in self._readers if reader.name != name)
        readers = (*others, _Reader(name, deliver, symbols, is_tape))
        self._readers = tuple(sorted(readers, key=lambda reader: _rank(reader.name)))

    def unsubscribe(self, name: str) -> None:
        """Stop delivering; harmless for an unknown name."""
        self._readers = tuple(reader for reader in self._readers if reader.name != name)

    def deliver(self, tick: AdmittedTick) -> None:
        """Hand one admitted tick to every reader; called by the admission gate alone."""
        self.counters.admitted += 1
        known = self._last.get(tick.symbol)
        is_behind = is_older(tick, known)
        if not is_behind:
            self._last[tick.symbol] = tick
        self._count(tick, known)
        for reader in self._readers:
            if is_behind and not reader.is_tape:
                continue
            if reader.symbols is None or tick.symbol in reader.symbols:
                reader.deliver(tick)

    def _count(self, tick: AdmittedTick, known: AdmittedTick | None) -> None:
        flow = self._flow.get(tick.symbol)
        if flow is None:
            flow = self._flow[tick.symbol] = [0, 0]
        flow[0] += 1
        if known is None or tick.source is not known.source:
            return
        silence_ns = tick.event_ns - known.event_ns
        if silence_ns > 0:
            self._gap_ns[tick.symbol] = usual_gap_ns(self._gap_ns.get(tick.symbol, 0), silence_ns)
        if self._stale_ns_max < silence_ns < NIGHT_NS:
            flow[1] += 1

    # --- wishes -----------------------------------------------------------------------------

    def want(self, owner: str, symbols: frozenset[str]) -> None:
        """Replace the symbols an owner needs prices of; an empty set takes the wish back."""
        if self._wishes.get(owner, frozenset()) == symbols:
            return
        if symbols:
            self._wishes[owner] = symbols
        else:
            del self._wishes[owner]
        self._wanted_changed()

    def need(self, owner: str, needs: Mapping[str, Need]) -> None:
        """Say why an owner wants its symbols; one that is not named is only watched."""
        if self._needs.get(owner, {}) == needs:
            return
        self._needs[owner] = dict(needs)
        self._wanted_changed()

    def poll(self, polled: Mapping[Source, frozenset[str]], unwell: frozenset[Source]) -> None:
        """Say which symbols each polled source is asked for now, and who is not well.

        The active feed does.
        """
        self._unwell = unwell
        if self._polled == polled:
            return
        self._polled = dict(polled)
        self._wanted_changed()

    def _wanted_changed(self) -> None:
        for call in self._on_wanted.values():
            call()

    def need_of(self, symbol: str) -> Need:
        """Return the strongest reason for which anybody wants a symbol."""
        found = (needs[symbol] for needs in self._needs.values() if symbol in needs)
        return min(found, default=Need.WATCHED)

    def near(self) -> frozenset[str]:
        """Return the wanted symbols of which somebody holds, orders or waits to enter."""
        return frozenset(one for one in self.wanted() if self.need_of(one) < Need.WATCHED)

    def wanted_of(self, source: Source) -> list[str]:
        """Return the symbols that a source should serve now, the most important first.

        Holds:   Finnhub streams everything that is wanted, IB what is near; a polled source is
                 asked for what the better ones do not give, or for a probe of itself.
        """
        ranked = self.wanted_by_rank()
        if source is Source.FINNHUB:
            return list(ranked)
        if source is Source.IB:
            near = self.near()
            return [symbol for symbol in ranked if symbol in near]
        asked = self._polled.get(source, frozenset())
        return [*(one for one in ranked if one in asked), *sorted(asked.difference(ranked))]

    def wanted(self) -> frozenset[str]:
        """Return every symbol that somebody needs."""
        return frozenset().union(*self._wishes.values())

    def wanted_by_rank(self) -> tuple[str, ...]:
        """Return the wanted symbols, by need, then those of live first, each once."""
        ordered: dict[str, None] = {}
        for owner in sorted(self._wishes, key=_rank):
            ordered.update(dict.fromkeys(sorted(self._wishes[owner])))
        return tuple(sorted(ordered, key=self.need_of))

    def on_wanted(self, callback: Callable[[], object], name: str = "ingest") -> None:
        """Call back, without arguments, whenever the wishes change; one callback a name."""
        self._on_wanted[name] = callback

    # --- what is known ----------------------------------------------------------------------

    def last(self, symbol: str) -> AdmittedTick | None:
        """Return the newest admitted tick of a symbol by event time."""
        return self._last.get(symbol)

    def lasts(self) -> tuple[AdmittedTick, ...]:
        """Return the newest admitted tick of every symbol."""
        return tuple(self._last.values())

    def flow(self, symbol: str) -> tuple[int, int]:
        """Return how many ticks of a symbol were admitted, and how many gaps lay between them."""
        ticks, gaps = self._flow.get(symbol, (0, 0))
        return ticks, gaps

    def quality_now(self, symbol: str) -> Quality:
        """Return what the last price is worth now; STALE where there is none."""
        tick = self._last.get(symbol)
        if tick is None:
            return Quality.STALE
        now_ns = self._market_clock.now_ns()
        if self._is_open(now_ns) is False:
            return Quality.CLOSED
        return Quality.STALE if self._is_aged(tick, now_ns) else tick.quality

    def worth_now(self, tick: AdmittedTick) -> Quality:
        """Return what an admitted price is worth by the time it goes out; never more than it was.

        Holds:   LIVE only within the limit of its source.
        """
        if tick.quality is not Quality.LIVE and tick.quality is not Quality.DELAYED:
            return tick.quality
        is_aged = self._is_aged(tick, self._market_clock.now_ns())
        return Quality.STALE if is_aged else tick.quality

    def _is_aged(self, tick: AdmittedTick, now_ns: int) -> bool:
        """Say whether a price is too old for what it was; a close of the day never is."""
        if tick.quality is Quality.LIVE:
            return now_ns - tick.event_ns > self._live_ns(tick)
        if tick.quality is Quality.DELAYED:
            return now_ns - tick.recv_ns > self._live_ns(tick)
        return False

    def _live_ns(self, tick: AdmittedTick) -> int:
        """Return how old a live price of this symbol and source may be."""
        if self._ages is None:
            return self._stale_ns_max
        gap_ns, is_up = self._gap_ns.get(tick.symbol, 0), tick.source not in self._unwell
        limit_ns = self._ages.limit_ns(tick.source, gap_ns, Hours.REGULAR, is_up=is_up)
        return self._stale_ns_max if limit_ns is None else limit_ns

    def aged(self) -> tuple[AdmittedTick, ...]:
        """Return the last prices that were worth more than they are now."""
        now_ns = self._market_clock.now_ns()
        return tuple(tick for tick in self._last.values() if self._is_aged(tick, now_ns))
