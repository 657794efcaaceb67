"""The sanity filter of ticks: a pure function of (state, tick), where time is the tick's time.

Rules of this file:
- nothing here reads a clock: two feeds with the same ticks hold the same state (`fingerprint`);
- spans between ticks (confirmation, hold, median window) are market seconds as they stand;
- what measures transport, our socket's time against the vendor's (future, stale, late,
  duplicate window), is given in real seconds and multiplied by the market clock's speed, since
  one real second of latency is `speed` market seconds there;
- a jump is held, never dropped: a filter that only compares with the old level refuses every
  tick after a genuine gap, for ever.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Self

from tradebox.config import FilterSettings
from tradebox.domain.market import Quality, Source, Tick
from tradebox.domain.money import MICROS_PER_UNIT

NS_PER_S = 1_000_000_000
BPS = 10_000
PRICE_MICROS_MAX = 1_000_000 * MICROS_PER_UNIT
RING_TICKS = 64
MEDIAN_TICKS = 60
MEDIAN_TICKS_MIN = 8
HELD_TICKS_MAX = 32
SPIKE_MAD_MULTIPLE = 8
MAD_SCALE_MILLI = 1483
SPIKE_FLOOR_BPS = 25
WARM_UP_BPS = 100
QUIET_BPS = 5
SPIKE_FLOOR_MICROS = 30_000
TWO_SOURCE_SPAN_NS = NS_PER_S // 5
REOPEN_GAP_NS = 600 * NS_PER_S


class Verdict(StrEnum):
    """What becomes of a tick; FLAG lets it pass with a quality below live or a remark."""

    ACCEPT = "accept"
    FLAG = "flag"
    HOLD = "hold"
    DROP = "drop"


class Check(StrEnum):
    """Which check decided; NONE where every one was passed."""

    NONE = ""
    SUBSCRIBED = "subscribed"
    SENTINEL = "sentinel"
    PRICE = "price"
    SIZE = "size"
    FUTURE = "future"
    DUPLICATE = "duplicate"
    LATE = "late"
    SPIKE = "spike"
    FIRST = "first"
    REGIME = "regime"
    SESSION = "session"
    STALE = "stale"


class Judged(NamedTuple):
    """The answer for one tick: the verdict, the deciding check, the quality if it passes."""

    verdict: Verdict
    check: Check
    quality: Quality

    @property
    def passes(self) -> bool:
        """True when the tick may be admitted."""
        return self.verdict in (Verdict.ACCEPT, Verdict.FLAG)


class Held(NamedTuple):
    """A suspect tick that waits for confirmation."""

    event_ns: int
    price_micros: int
    source: Source


class SymbolState(NamedTuple):
    """All that the filter remembers of one symbol; hashable, so that two feeds can compare.

    Units: *_ns event time, *_micros prices; 0 = not known yet.
    regime_ns: start of a level that one source alone has shown; 0 = the level is trusted.
    """

    last_event_ns: int = 0
    last_price_micros: int = 0
    previous_close_micros: int = 0
    recent_micros: tuple[int, ...] = ()
    seen: tuple[tuple[int, int, int], ...] = ()
    held: tuple[Held, ...] = ()
    regime_ns: int = 0
    regime_source: Source | None = None


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """The thresholds in the units of the ticks. Units: *_ns market time."""

    future_ns_max: int
    late_ns_max: int
    stale_ns_max: int
    duplicate_window_ns: int
    spike_bps_max: int
    confirm_ticks: int
    confirm_span_ns: int
    confirm_bps: int
    hold_ns_max: int

    @classmethod
    def of(cls, settings: FilterSettings, speed: float = 1.0) -> Self:
        """Return the limits at a clock speed; slower than real counts as real.

        Holds: transport limits grow with speed, spans between ticks do not.
        """
        scale = max(1.0, speed)

        def transport_ns(seconds: float) -> int:
            return round(seconds * scale * NS_PER_S)

        return cls(
            future_ns_max=transport_ns(settings.future_s_max),
            late_ns_max=transport_ns(settings.late_s_max),
            stale_ns_max=transport_ns(settings.stale_s_max),
            duplicate_window_ns=transport_ns(settings.duplicate_window_s),
            spike_bps_max=round(settings.spike_share_max * BPS),
            confirm_ticks=settings.confirm_ticks,
            confirm_span_ns=round(settings.confirm_span_s * NS_PER_S),
            confirm_bps=round(settings.confirm_band_bps),
            hold_ns_max=round(settings.hold_s_max * NS_PER_S),
        )


Answer = tuple[SymbolState, Judged]


def judge(
    state: SymbolState | None, tick: Tick, limits: FilterLimits, *, is_open: bool | None = None
) -> Answer:
    """Judge one tick of one symbol.

    Shape:   state None: the symbol is not subscribed. is_open: whether the regular session was
             open at the event time, None where the hours are not known (then not judged).
    Holds:   same state and tick give the same answer; a dropped tick changes nothing but what
             was seen; an isolated jump never passes; a genuine new level passes once confirmed;
             nothing later than the limit passes; is_open changes the quality, never the state.
    """
    if state is None:
        return SymbolState(), _drop(Check.SUBSCRIBED)
    refused = _plain_refusal(state, tick, limits)
    if refused is not None:
        return state, _drop(refused)
    state = _remember(state, tick, limits)
    if tick.event_ns < state.last_event_ns - limits.late_ns_max:
        return state, _drop(Check.LATE)
    jump = _jump(state, tick, limits)
    if jump is None:
        return _pass(_normal(state, tick, limits), tick, limits, is_open=is_open)
    return _hold(state, tick, limits, jump, is_open=is_open)


def with_previous_close(state: SymbolState, close_micros: int) -> SymbolState:
    """Return the state told of the last close; harmless once prices are known."""
    return state._replace(previous_close_micros=close_micros) if close_micros > 0 else state


def fingerprint(states: Mapping[str, SymbolState]) -> int:
    """Return a number that is equal, within one process, for equal filter states."""
    return hash(frozenset(states.items()))


def _drop(check: Check) -> Judged:
    return Judged(Verdict.DROP, check, Quality.SUSPECT)


def _plain_refusal(state: SymbolState, tick: Tick, limits: FilterLimits) -> Check | None:
    """Checks that need no memory of prices, cheapest first."""
    price = tick.price_micros
    if price in (0, -MICROS_PER_UNIT):
        return Check.SENTINEL
    if not 0 < price < PRICE_MICROS_MAX:
        return Check.PRICE
    if tick.size < 0:
        return Check.SIZE
    if tick.event_ns > tick.recv_ns + limits.future_ns_max:
        return Check.FUTURE
    if (tick.event_ns, price, tick.size) in state.seen:
        return Check.DUPLICATE
    return None


def _remember(state: SymbolState, tick: Tick, limits: FilterLimits) -> SymbolState:
    """Note the print; forget those that are too old to pass again, or too many."""
    seen = state.seen
    window_ns = max(limits.duplicate_window_ns, limits.late_ns_max)
    oldest_ns = min(tick.event_ns, state.last_event_ns) - window_ns
    if seen and seen[0][0] < oldest_ns:
        seen = tuple(known for known in seen if known[0] >= oldest_ns)
    mark = (tick.event_ns, tick.price_micros, tick.size)
    return state._replace(seen=(*seen[-(RING_TICKS - 1) :], mark))


def _bps(price: int, reference: int) -> int:
    """Distance in basis points, rounded up, so that a limit is never passed by rounding."""
    return -(-abs(price - reference) * BPS // reference)


def _median(values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _jump(state: SymbolState, tick: Tick, limits: FilterLimits) -> Check | None:
    """Return which check finds the price too far from what is known, or None."""
    price, last = tick.price_micros, state.last_price_micros
    if last == 0:
        reference = state.previous_close_micros
        if reference and _bps(price, reference) <= limits.spike_bps_max:
            return None
        return Check.FIRST
    distance = _bps(price, last)
    if distance <= QUIET_BPS or abs(price - last) <= SPIKE_FLOOR_MICROS // 3:
        return None
    if tick.event_ns - state.last_event_ns > REOPEN_GAP_NS:
        return Check.SPIKE if distance > limits.spike_bps_max else None
    recent = state.recent_micros
    if len(recent) < MEDIAN_TICKS_MIN:
        allowed = last * min(WARM_UP_BPS, limits.spike_bps_max) // BPS
        return Check.SPIKE if abs(price - last) > max(allowed, SPIKE_FLOOR_MICROS) else None
    middle = _median(recent)
    spread = _median(abs(known - middle) for known in recent)
    allowed = max(
        SPIKE_MAD_MULTIPLE * spread * MAD_SCALE_MILLI // 1000,
        middle * SPIKE_FLOOR_BPS // BPS,
        SPIKE_FLOOR_MICROS,
    )
    allowed = min(allowed, max(middle * limits.spike_bps_max // BPS, SPIKE_FLOOR_MICROS))
    return Check.SPIKE if abs(price - middle) > allowed else None


def _normal(state: SymbolState, tick: Tick, limits: FilterLimits) -> SymbolState:
    """Book a tick of the known level: it clears what was held and may confirm the level."""
    regime_ns, regime_source = state.regime_ns, state.regime_source
    if regime_ns:
        is_seconded = (
            tick.source is not regime_source
            and _bps(tick.price_micros, state.last_price_micros) <= limits.confirm_bps
        )
        if is_seconded or tick.event_ns - regime_ns >= limits.hold_ns_max:
            regime_ns, regime_source = 0, None
    recent = state.recent_micros
    if len(recent) >= MEDIAN_TICKS:
        recent = recent[1:]
    return SymbolState(
        max(tick.event_ns, state.last_event_ns),
        tick.price_micros,
        state.previous_close_micros,
        (*recent, tick.price_micros),
        state.seen,
        (),
        regime_ns,
        regime_source,
    )


def _hold(
    state: SymbolState, tick: Tick, limits: FilterLimits, jump: Check, *, is_open: bool | None
) -> Answer:
    """Hold a suspect until enough agree; then the new level replaces the old one."""
    newest = Held(tick.event_ns, tick.price_micros, tick.source)
    oldest_ns = tick.event_ns - limits.hold_ns_max
    waiting = tuple(known for known in state.held if known.event_ns >= oldest_ns)
    held = (*waiting[-(HELD_TICKS_MAX - 1) :], newest)
    agreeing = tuple(
        known
        for known in held
        if _bps(known.price_micros, newest.price_micros) <= limits.confirm_bps
    )
    if not _is_confirmed(state, agreeing, limits):
        return state._replace(held=held), Judged(Verdict.HOLD, jump, Quality.SUSPECT)
    is_alone = len({known.source for known in agreeing}) == 1
    is_jump = bool(state.last_price_micros or state.previous_close_micros)
    state = SymbolState(
        max(tick.event_ns, state.last_event_ns),
        tick.price_micros,
        state.previous_close_micros,
        tuple(known.price_micros for known in agreeing),
        state.seen,
        (),
        tick.event_ns if is_alone and is_jump else 0,
        tick.source if is_alone and is_jump else None,
    )
    return _pass(state, tick, limits, is_open=is_open)


def _is_confirmed(state: SymbolState, agreeing: tuple[Held, ...], limits: FilterLimits) -> bool:
    level = state.last_price_micros or state.previous_close_micros
    price = agreeing[-1].price_micros
    is_huge = bool(level) and abs(price - level) * 2 > level
    sources = {known.source for known in agreeing}
    if len(sources) > 1 and not is_huge:
        return True
    times = [known.event_ns for known in agreeing]
    span_ns = TWO_SOURCE_SPAN_NS if len(sources) > 1 else limits.confirm_span_ns
    needed = limits.confirm_ticks * (2 if is_huge else 1)
    return len(agreeing) >= needed and max(times) - min(times) >= span_ns


def _pass(state: SymbolState, tick: Tick, limits: FilterLimits, *, is_open: bool | None) -> Answer:
    if is_open is False:
        return state, Judged(Verdict.FLAG, Check.SESSION, Quality.CLOSED)
    if tick.recv_ns - tick.event_ns > limits.stale_ns_max:
        return state, Judged(Verdict.FLAG, Check.STALE, Quality.STALE)
    if state.regime_ns:
        return state, Judged(Verdict.FLAG, Check.REGIME, Quality.UNCONFIRMED)
    return state, Judged(Verdict.ACCEPT, Check.NONE, Quality.LIVE)
