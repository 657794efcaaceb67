"""Which source serves a symbol's prices: the tier policy, a machine without clock and I/O.

Rules of this file:
- one source serves a symbol at a time; prices of the others are looked at, never let through;
- a provider's breaker and one symbol's health are different things: a symbol that is silent while
  its provider is well is handed on only to a price that is newer, for it may just not trade;
- a stream that says nothing of now (times ahead or long past, or no prices) is as good as silent,
  however much it says;
- a serving source that is not well is left after the grace, for the best that is well; a better
  one is taken back only after it has been well for the failback time, agrees with the serving
  one, and the dwell time is over; both only within the switches of an hour, of which the last is
  kept for a failure;
- closes of the day serve only while nothing else does; delayed prices keep their source's rank;
- never back in event time, unless what is shown is stale anyway;
- a switch happens at a tick of the new source and at nothing else; time comes from ticks and from
  `clock`, so that two feeds with the same messages hold the same state.
"""

from collections.abc import Iterable
from typing import Final

from tradebox.domain.breaker import Breaker, BreakerState, ProviderTold, passed, probed, told
from tradebox.domain.filter_values import Judged
from tradebox.domain.market import DAY_LATE_S, Quality, Source, Tick
from tradebox.domain.staleness import Hours, usual_gap_ns
from tradebox.domain.tier_values import (
    HOUR_NS,
    STREAMS,
    Line,
    PriceAged,
    ProviderMoved,
    Ruling,
    SourceSwitched,
    SwitchReason,
    SymbolPinned,
    TierLimits,
    TierNote,
    Track,
)

BPS: Final = 10_000
SLICE_SYMBOLS: Final = 256
"""So many symbols are looked at for each word of the time: no pause for the ticks behind it."""
JUMP_NS: Final = 4 * 3600 * 1_000_000_000
"""A clock that leaps so far has passed over a night: nothing was owed in it."""
EVER_NS: Final = -(2**62)
NEW_LINE: Final = Line()
NEW_BREAKER: Final = Breaker()
SERVES: Final = Ruling(serves=True)
STANDS_BY: Final = Ruling(serves=False)


class TierMachine:
    """Tracks, lines and breakers of one feed.

    Holds:   at most switches_max switches of a symbol in any hour; no failback before the dwell
             and the failback time; while a source serves, only its ticks do; a symbol that is not
             subscribed has no track.
    """

    __slots__ = ("_clock_ns", "_cursor", "_live_ns", "_names", "breakers", "halts", "hours",
                 "hours_ns", "limits", "lines", "now_ns", "tracks")  # fmt: skip

    def __init__(self, limits: TierLimits) -> None:
        self.limits = limits
        self._live_ns = {source: rule.live_ns for source, rule in limits.ages.rules.items()}
        self.now_ns = 0
        self.hours = Hours.UNKNOWN
        self.hours_ns = 0
        self.tracks: dict[str, Track] = {}
        self.lines: dict[tuple[str, Source], Line] = {}
        self.breakers: dict[Source, Breaker] = {}
        self.halts: set[str] = set()
        self._names: tuple[str, ...] = ()
        self._cursor = 0
        self._clock_ns = 0

    def copy(self) -> "TierMachine":
        """Return the same knowledge for another feed; the values themselves are immutable."""
        other = TierMachine(self.limits)
        other.now_ns, other.hours, other.hours_ns = self.now_ns, self.hours, self.hours_ns
        other.tracks, other.lines = dict(self.tracks), dict(self.lines)
        other.breakers, other.halts = dict(self.breakers), set(self.halts)
        other._names, other._cursor = self._names, self._cursor
        other._clock_ns = self._clock_ns
        return other

    def fingerprint(self) -> int:
        """Return a number that is equal, within one process, for equal knowledge."""
        known = (self.tracks.items(), self.lines.items(), self.breakers.items())
        return hash((self.hours, *(frozenset(each) for each in known)))

    def serving(self, symbol: str) -> Source | None:
        """Return the source that serves a symbol."""
        track = self.tracks.get(symbol)
        return None if track is None else track.serving

    def is_vacant(self, symbol: str, source: Source) -> bool:
        """Say whether what served a symbol is left, so that another source may take it over."""
        track = self.tracks.get(symbol)
        if track is None or track.serving is None or source is track.serving:
            return False
        return self._is_left(symbol, track.serving)

    def breaker(self, source: Source) -> Breaker:
        """Return a provider's breaker."""
        return self.breakers.get(source, NEW_BREAKER)

    # --- what comes in ------------------------------------------------------------------------

    def subscribed(self, symbols: frozenset[str], near: frozenset[str]) -> None:
        """Keep tracks of these symbols and of no others; near: held, ordered or armed."""
        for symbol in self.tracks.keys() - symbols:
            del self.tracks[symbol]
            self.halts.discard(symbol)
            for source in Source:
                self.lines.pop((symbol, source), None)
        for symbol in symbols:
            track = self.tracks.get(symbol)
            is_near = symbol in near
            if track is None:
                self.tracks[symbol] = Track(self.now_ns, is_near)
            elif track.is_near != is_near:
                self.tracks[symbol] = track._replace(is_near=is_near)
        self._names = tuple(sorted(self.tracks))

    def provider(self, news: ProviderTold) -> tuple[TierNote, ...]:
        """Take in what was seen of a provider, or that a symbol is not covered by its key."""
        self.now_ns = max(self.now_ns, news.at_ns)
        if news.symbol:
            line = self.lines.get((news.symbol, news.source), NEW_LINE)
            if news.symbol in self.tracks:
                self.lines[news.symbol, news.source] = line._replace(is_forbidden=True)
            return ()
        limits = self.limits.breaker_of(news.source)
        return self._breaker_moves(news.source, told(self.breaker(news.source), news, limits))

    def clock(self, now_ns: int, hours: Hours) -> tuple[TierNote, ...]:
        """Let time pass: pauses end, prices age, polled sources are asked or left in peace."""
        is_jump = now_ns - self._clock_ns > min(JUMP_NS, self.limits.ages.outside_ns)
        self.now_ns = self._clock_ns = now_ns = max(self.now_ns, now_ns)
        if hours is not self.hours or is_jump:
            self.hours, self.hours_ns = hours, now_ns
        notes: list[TierNote] = []
        for source, breaker in list(self.breakers.items()):
            later = passed(breaker, now_ns, self.limits.breaker_of(source))
            notes.extend(self._breaker_moves(source, later))
        for symbol in self._next_names():
            notes.extend(self._look(symbol))
        return tuple(notes)

    def tick(self, tick: Tick, *, passes: bool, is_price: bool = True) -> Ruling:
        """Rule on one tick that the filter has judged by its own line's memory.

        is_price: passed or not, it may be a price of now. What is not is no sign of life of a
        stream; nor is a print that reaches us later than a live price may be old.
        Holds:   serves only for a subscribed symbol, of the source that serves it from here on.
        """
        symbol, source = tick.symbol, tick.source
        self.now_ns = now_ns = max(self.now_ns, tick.recv_ns)
        notes = self._probe(tick) if source in self.breakers else ()
        track = self.tracks.get(symbol)
        if track is None:
            return Ruling(serves=False, notes=notes) if notes else STANDS_BY
        live_ns = self._live_ns[source]
        is_alive = is_price and tick.recv_ns - tick.event_ns <= live_ns
        if source is track.serving and passes and is_alive and not track.is_stale and not notes:
            old = self.lines.get((symbol, source))
            if old is not None and now_ns - old.heard_ns <= live_ns:
                self.lines[symbol, source] = _after(old, tick, now_ns, old.since_ns)
                return SERVES
        if tick.is_quote or source not in STREAMS:
            is_alive = True  # who answers, or quotes beside an old trade, is not silent
        line = self._heard(symbol, source, tick, now_ns, passes=passes, is_alive=is_alive)
        if source is track.serving:
            if track.is_stale and passes and not self._is_aged(line, source, now_ns):
                self.tracks[symbol] = track._replace(is_stale=False)
                fresh = PriceAged(symbol, source, is_stale=False, event_ns=line.event_ns,
                                  at_ns=now_ns)  # fmt: skip
                return Ruling(serves=True, notes=(*notes, fresh))
            return Ruling(serves=True, notes=notes) if notes else SERVES
        if not passes:
            return Ruling(serves=False, notes=notes) if notes else STANDS_BY
        said = line._replace(event_ns=tick.event_ns)
        ruling = self._may_take(symbol, track, source, said, now_ns)
        return ruling._replace(notes=(*notes, *ruling.notes)) if notes else ruling

    def polled(self) -> dict[Source, frozenset[str]]:
        """Return what each polled source is to be asked for: what better ones do not give.

        Holds:   nothing of a provider whose breaker is open; the probe alone while half-open.
        """
        found: dict[Source, set[str]] = {}
        for symbol in self._names:
            for source, _ in self.tracks[symbol].asked:
                found.setdefault(source, set()).add(symbol)
        result: dict[Source, frozenset[str]] = {}
        for source in self.limits.order:
            if source in STREAMS:
                continue
            breaker = self.breaker(source)
            if breaker.state is BreakerState.HALF_OPEN:
                result[source] = frozenset({self.limits.probe_symbol})
            elif breaker.state is BreakerState.CLOSED and not breaker.is_forbidden:
                result[source] = frozenset(found.get(source, ()))
            else:
                result[source] = frozenset()
        return result

    def is_up(self, source: Source) -> bool:
        """Say whether a provider is well as a whole."""
        return self.breaker(source).is_usable

    def halt(self, symbol: str, *, is_halted: bool) -> None:
        """Note that trading of a symbol is halted, or goes on: its silence is no fault then."""
        if is_halted:
            self.halts.add(symbol)
        else:
            self.halts.discard(symbol)

    def is_said_again(self, tick: Tick) -> bool:
        """Say whether a polled source only repeats its last price where it might take over."""
        if tick.source in STREAMS or self.serving(tick.symbol) is tick.source:
            return False
        line = self.lines.get((tick.symbol, tick.source), NEW_LINE)
        return (line.event_ns, line.price_micros) == (tick.event_ns, tick.price_micros)

    def quality(self, tick: Tick, judged: Judged) -> Quality:
        """Return what a tick that is let through is worth, by its source and its age.

        A close that is a day late is of a session before the last one.
        Holds:   a delayed or end-of-day price is never live; nor is one beyond its source's limit.
        """
        if tick.is_eod:
            return Quality.EOD if tick.delay_s < DAY_LATE_S else Quality.STALE
        quality = judged.quality if judged.passes else Quality.STALE
        if quality not in (Quality.LIVE, Quality.STALE):
            return quality
        if tick.delay_s:
            return Quality.DELAYED
        age_ns, rule = tick.recv_ns - tick.event_ns, self.limits.ages.rules[tick.source]
        if tick.source not in STREAMS:
            return Quality.LIVE if age_ns <= rule.live_ns else Quality.STALE
        if quality is Quality.STALE or age_ns <= rule.live_ns:
            return quality
        line = self.lines.get((tick.symbol, tick.source), NEW_LINE)
        limit_ns = self._limit_ns(line, tick.source)
        is_fresh = age_ns <= (rule.quiet_ns if limit_ns is None else min(limit_ns, rule.quiet_ns))
        return Quality.LIVE if is_fresh else Quality.STALE

    # --- health ---------------------------------------------------------------------------------

    def _breaker_moves(self, source: Source, after: Breaker) -> tuple[TierNote, ...]:
        before = self.breakers.get(source, NEW_BREAKER)
        self.breakers[source] = after
        if before.state is after.state:
            return ()
        return (ProviderMoved(source, after.state, self.now_ns),)

    def _probe(self, tick: Tick) -> tuple[TierNote, ...]:
        breaker = self.breakers[tick.source]
        if breaker.state is not BreakerState.HALF_OPEN:
            return ()
        limit_ns = self.limits.ages.rules[tick.source].quiet_ns
        delay_ns = tick.delay_s * 1_000_000_000
        is_fresh = (
            not self.hours.is_regular
            or tick.is_eod
            or tick.recv_ns - tick.event_ns <= limit_ns + delay_ns
        )
        limits = self.limits.breaker_of(tick.source)
        after = probed(breaker, self.now_ns, limits, is_fresh=is_fresh)
        return self._breaker_moves(tick.source, after)

    def _heard(
        self,
        symbol: str,
        source: Source,
        tick: Tick,
        now_ns: int,
        *,
        passes: bool,
        is_alive: bool,
    ) -> Line:
        """Note a sign of life; of a price that passed, the price too."""
        old = self.lines.get((symbol, source), NEW_LINE)
        if not is_alive:
            if passes:
                told = _after(old, tick, now_ns, old.since_ns)
                self.lines[symbol, source] = old = told._replace(heard_ns=old.heard_ns)
            return old
        is_gone_on = old.heard_ns and not self._is_silent(old, source, now_ns)
        since_ns = old.since_ns if is_gone_on else now_ns
        if not passes:
            line = old._replace(heard_ns=now_ns, since_ns=since_ns)
        else:
            line = _after(old, tick, now_ns, since_ns)
        self.lines[symbol, source] = line
        return line

    def _limit_ns(self, line: Line, source: Source) -> int | None:
        """Return how long a line may be silent now; None: as long as it likes."""
        is_up = self.breaker(source).is_usable
        return self.limits.ages.limit_ns(source, line.gap_ns, self.hours, is_up=is_up)

    def _is_silent(self, line: Line, source: Source, now_ns: int) -> bool:
        limit_ns = self._limit_ns(line, source)
        return limit_ns is not None and now_ns - max(line.heard_ns, self.hours_ns) > limit_ns

    def _is_aged(self, line: Line, source: Source, now_ns: int) -> bool:
        """Say whether a serving line's price is too old; a close of the day never is."""
        if line.is_eod:
            return False
        limit_ns = self._limit_ns(line, source)
        known_ns = line.heard_ns if line.delay_s else line.event_ns
        return limit_ns is not None and now_ns - max(known_ns, self.hours_ns) > limit_ns

    def bad_since_ns(self, symbol: str, source: Source) -> int | None:
        """Return since when a source cannot serve a symbol; None: it can, or may soon."""
        breaker, line = self.breaker(source), self.lines.get((symbol, source))
        if line is not None and line.is_forbidden:
            return EVER_NS
        if not breaker.is_usable:
            return breaker.down_ns
        if symbol in self.halts:
            return None
        if line is not None and line.heard_ns:
            limit_ns = self._limit_ns(line, source)
            return self._since(max(line.heard_ns, self.hours_ns), limit_ns)
        track = self.tracks[symbol]
        if source in STREAMS:
            limit_ns = self.limits.ages.rules[source].quiet_ns
            return self._since(max(track.began_ns, self.hours_ns, breaker.up_ns), limit_ns)
        asked_ns = dict(track.asked).get(source)
        return None if asked_ns is None else self._since(asked_ns, self.limits.answer_ns)

    def _since(self, from_ns: int, limit_ns: int | None) -> int | None:
        if limit_ns is None or self.now_ns - from_ns <= limit_ns:
            return None
        return from_ns + limit_ns

    def _is_left(self, symbol: str, source: Source) -> bool:
        """Say whether a source has been unable to serve for longer than the grace."""
        since_ns = self.bad_since_ns(symbol, source)
        return since_ns is not None and self.now_ns - since_ns >= self.limits.grace_ns

    def _rank(self, symbol: str, source: Source) -> int:
        """Return the place of a source; closes of the day come after everything else."""
        order = self.limits.order
        line = self.lines.get((symbol, source), NEW_LINE)
        is_eod = line.is_eod if line.event_ns else source in self.limits.eod
        return order.index(source) + (len(order) if is_eod else 0)

    def _better(self, symbol: str, than: Source) -> Iterable[Source]:
        """Return the sources that one has to wait for; IB is beside them and never awaited."""
        rank = self._rank(symbol, than)
        return (
            source
            for source in self.limits.order
            if source is not Source.IB and self._rank(symbol, source) < rank
        )

    # --- switches ---------------------------------------------------------------------------------

    def _may_take(
        self, symbol: str, track: Track, source: Source, line: Line, now_ns: int
    ) -> Ruling:
        """Let a tick that passed take the symbol over, or stand by; line: with its event time."""
        serving = track.serving
        if source not in self.limits.order or (source is Source.IB and not track.is_near):
            return STANDS_BY
        if not self.breaker(source).is_usable:
            return STANDS_BY
        if serving is None:
            if all(self._is_left(symbol, one) for one in self._better(symbol, source)):
                return self._switch(symbol, track, source, SwitchReason.FIRST)
            return STANDS_BY
        reason = self._reason(symbol, track, serving, source, line, now_ns)
        if reason is None:
            return STANDS_BY
        recent = tuple(at for at in track.switches if now_ns - at < HOUR_NS)
        spare = 1 if reason is SwitchReason.RECOVERED else 0
        if len(recent) + 1 + spare <= self.limits.switches_max:
            return self._switch(symbol, track._replace(switches=recent), source, reason)
        if track.is_pinned:
            return STANDS_BY
        self.tracks[symbol] = track._replace(is_pinned=True)
        return Ruling(serves=False, notes=(SymbolPinned(symbol, serving, now_ns),))

    def _reason(
        self, symbol: str, track: Track, serving: Source, source: Source, line: Line, now_ns: int
    ) -> SwitchReason | None:
        """Return why the serving source is to be left for this one now, if it is."""
        shown = self.lines.get((symbol, serving), NEW_LINE)
        is_better = self._rank(symbol, source) < self._rank(symbol, serving)
        if shown.is_eod and is_better and line.event_ns >= shown.event_ns:
            return SwitchReason.BETTER
        if self._is_left(symbol, serving):
            if not is_better and not self._is_next(symbol, serving, source):
                return None
            is_well = self.breaker(serving).is_usable and not shown.is_forbidden
            if is_well and not shown.is_eod and line.event_ns <= shown.event_ns:
                return None
            if line.event_ns < shown.event_ns and not self._is_aged(shown, serving, now_ns):
                return None
            return SwitchReason.SILENT if is_well else SwitchReason.PROVIDER_DOWN
        if not is_better:
            return None
        well_ns = now_ns - max(line.since_ns, self.breaker(source).up_ns)
        if well_ns < self.limits.failback_ns or now_ns - track.since_ns < self.limits.dwell_ns:
            return None
        if line.event_ns < shown.event_ns or not self._agree(line, shown, serving):
            return None
        return SwitchReason.RECOVERED

    def _is_next(self, symbol: str, serving: Source, source: Source) -> bool:
        """Say whether nothing better than this source is left to wait for."""
        others = (one for one in self._better(symbol, source) if one is not serving)
        return all(self._is_left(symbol, one) for one in others)

    def _agree(self, line: Line, shown: Line, serving: Source) -> bool:
        """Say whether two prices are near; a price of long ago says nothing of now."""
        if shown.delay_s or not shown.price_micros:
            return True
        if line.event_ns - shown.event_ns > self.limits.ages.rules[serving].quiet_ns:
            return True
        apart = abs(line.price_micros - shown.price_micros) * BPS
        return apart <= self.limits.agree_bps * shown.price_micros

    def _switch(self, symbol: str, track: Track, source: Source, reason: SwitchReason) -> Ruling:
        now_ns, before = self.now_ns, track.serving
        is_first = before is None
        notes: list[TierNote] = [SourceSwitched(symbol, before, source, reason, now_ns)]
        if track.is_stale:
            event_ns = self.lines[symbol, source].event_ns
            notes.append(PriceAged(symbol, source, is_stale=False, event_ns=event_ns, at_ns=now_ns))
        self.tracks[symbol] = track._replace(
            serving=source,
            since_ns=now_ns,
            switches=() if is_first else (*track.switches, now_ns),
            is_stale=False,
            is_pinned=False,
        )
        return Ruling(serves=True, notes=tuple(notes))

    # --- time -----------------------------------------------------------------------------------

    def _next_names(self) -> tuple[str, ...]:
        names = self._names
        if len(names) <= SLICE_SYMBOLS:
            return names
        if self._cursor >= len(names):
            self._cursor = 0
        part = names[self._cursor : self._cursor + SLICE_SYMBOLS]
        self._cursor += SLICE_SYMBOLS
        return part

    def _look(self, symbol: str) -> tuple[TierNote, ...]:
        """See whether a symbol's price has aged and whom it is to be asked of."""
        track, now_ns = self.tracks[symbol], self.now_ns
        asked = tuple(self._asked(symbol, track))
        notes: tuple[TierNote, ...] = ()
        is_stale, serving = track.is_stale, track.serving
        is_owed = self.hours.is_regular and symbol not in self.halts
        if serving is not None and not is_stale and is_owed:
            line = self.lines.get((symbol, serving), NEW_LINE)
            if self._is_aged(line, serving, now_ns):
                is_stale = True
                notes = (
                    PriceAged(symbol, serving, is_stale=True, event_ns=line.event_ns, at_ns=now_ns),
                )
        if asked != track.asked or is_stale != track.is_stale:
            self.tracks[symbol] = track._replace(asked=asked, is_stale=is_stale)
        return notes

    def _asked(self, symbol: str, track: Track) -> Iterable[tuple[Source, int]]:
        """Yield the polled sources that are needed: the serving one, and what none better gives."""
        known = dict(track.asked)
        serving = track.serving
        ib_serves = serving is Source.IB and not self._is_left(symbol, Source.IB)
        for source in self.limits.order:
            if source in STREAMS:
                continue
            is_needed = source is serving or (
                not ib_serves
                and all(self._is_left(symbol, one) for one in self._better(symbol, source))
            )
            if is_needed:
                yield source, known.get(source, self.now_ns)


def _after(old: Line, tick: Tick, now_ns: int, since_ns: int) -> Line:
    """Return a line after one more price that passed; one that is behind is heard, not shown."""
    event_ns, gap_ns = old.event_ns, old.gap_ns
    silence_ns = tick.event_ns - event_ns
    if silence_ns < 0:
        return old._replace(heard_ns=now_ns, since_ns=since_ns, is_eod=tick.is_eod)
    if silence_ns > 0:
        if event_ns:
            gap_ns = usual_gap_ns(gap_ns, silence_ns)
        event_ns = tick.event_ns
    return Line(event_ns, tick.price_micros, now_ns, since_ns, gap_ns, tick.delay_s, tick.is_eod)
