"""The words of the tier machine: limits, what it knows of a symbol and of a line, what it says.

Rules of this file:
- a line is one symbol of one source; a track is one symbol over all its sources;
- values are hashable, so that two feeds can compare what they know.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Self

from tradebox.config import FilterSettings, TierSettings
from tradebox.domain.breaker import BreakerLimits
from tradebox.domain.filter_values import SymbolState
from tradebox.domain.market import Source
from tradebox.domain.staleness import AgeLimits

NS_PER_S: Final = 1_000_000_000
HOUR_NS: Final = 3600 * NS_PER_S
DEFAULT_ORDER: Final = (Source.IB, Source.FINNHUB, Source.ALPHAVANTAGE, Source.YAHOO)
STREAMS: Final = frozenset({Source.IB, Source.FINNHUB})
"""Sources that tell by themselves; the others are asked, when they are needed."""
COUNTED: Final = frozenset({Source.ALPHAVANTAGE})
"""Sources whose calls are few: time alone ends a pause, no probe is spent on them."""


class SwitchReason(StrEnum):
    """Why a symbol's serving source changed."""

    FIRST = "first"
    PROVIDER_DOWN = "provider down"
    SILENT = "silent"
    RECOVERED = "recovered"
    BETTER = "better than a close of the day"


@dataclass(frozen=True, slots=True)
class TierLimits:
    """The policy in the units of the ticks. Units: *_ns market time.

    order: IB first, then the vendors of the settings. eod: sources whose key gives closes only.
    """

    ages: AgeLimits
    order: tuple[Source, ...] = DEFAULT_ORDER
    eod: frozenset[Source] = frozenset()
    grace_ns: int = 5 * NS_PER_S
    failback_ns: int = 60 * NS_PER_S
    dwell_ns: int = 120 * NS_PER_S
    answer_ns: int = 10 * NS_PER_S
    switches_max: int = 4
    agree_bps: int = 50
    probe_symbol: str = "SPY"
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    counted: BreakerLimits = field(default_factory=lambda: BreakerLimits(is_probed=False))

    @classmethod
    def of(
        cls,
        settings: TierSettings,
        filters: FilterSettings,
        speed: float = 1.0,
        *,
        unused: frozenset[Source] = frozenset(),
        eod: frozenset[Source] = frozenset(),
    ) -> Self:
        """Return the policy at a clock speed; slower than real counts as real.

        unused: sources without a key, or switched off.
        """
        scale = max(1.0, speed)

        def span_ns(seconds: float) -> int:
            return round(seconds * scale * NS_PER_S)

        def breaker(*, is_probed: bool) -> BreakerLimits:
            real = BreakerLimits()
            return BreakerLimits(
                window_ns=round(real.window_ns * scale),
                pause_ns=span_ns(settings.pause_s),
                pause_ns_max=span_ns(settings.pause_s_max),
                settle_ns=round(real.settle_ns * scale),
                refused_ns=round(real.refused_ns * scale),
                is_probed=is_probed,
            )

        named = (Source.IB, *(Source(name) for name in settings.order))
        return cls(
            ages=AgeLimits.of(settings, filters, speed),
            order=tuple(source for source in named if source not in unused),
            eod=eod,
            grace_ns=span_ns(settings.grace_s),
            failback_ns=span_ns(settings.failback_s),
            dwell_ns=span_ns(settings.dwell_s),
            answer_ns=span_ns(settings.answer_s_max),
            switches_max=settings.switches_per_hour,
            agree_bps=round(settings.agree_bps),
            probe_symbol=settings.probe_symbol,
            breaker=breaker(is_probed=True),
            counted=breaker(is_probed=False),
        )

    def breaker_of(self, source: Source) -> BreakerLimits:
        """Return the breaker's limits of a source."""
        return self.counted if source in COUNTED else self.breaker


class Line(NamedTuple):
    """One symbol of one source: its last price that passed, and how long it has been well.

    Units: *_ns market time, 0 not known. heard_ns: the last sign of life, passed or not;
    since_ns: start of the time without a silence too long; gap_ns: the usual silence.
    """

    event_ns: int = 0
    price_micros: int = 0
    heard_ns: int = 0
    since_ns: int = 0
    gap_ns: int = 0
    delay_s: int = 0
    is_eod: bool = False
    is_forbidden: bool = False


class Track(NamedTuple):
    """One symbol over all its sources.

    since_ns: of the serving source. switches: market ns of those of the last hour, the first
    source not among them. asked: the polled sources it is asked of, and since when. is_stale:
    told to be so. is_pinned: told that it stays where it is.
    """

    began_ns: int
    is_near: bool = False
    serving: Source | None = None
    since_ns: int = 0
    switches: tuple[int, ...] = ()
    asked: tuple[tuple[Source, int], ...] = ()
    is_stale: bool = False
    is_pinned: bool = False


class SourceSwitched(NamedTuple):
    """A symbol is served by another source from this tick on."""

    symbol: str
    before: Source | None
    after: Source
    reason: SwitchReason
    at_ns: int


class PriceAged(NamedTuple):
    """A symbol's price has become stale, or is fresh again. Units: event_ns of the last price."""

    symbol: str
    source: Source
    is_stale: bool
    event_ns: int
    at_ns: int


class SymbolPinned(NamedTuple):
    """A symbol has changed its source as often as it may; it stays where it is."""

    symbol: str
    source: Source
    at_ns: int


class ProviderMoved(NamedTuple):
    """A provider's breaker changed."""

    source: Source
    state: str
    at_ns: int


TierNote = SourceSwitched | PriceAged | SymbolPinned | ProviderMoved


class Ruling(NamedTuple):
    """What becomes of one tick: whether its source serves the symbol, and what is to be told."""

    serves: bool
    notes: tuple[TierNote, ...] = ()


def rebased(state: SymbolState) -> SymbolState:
    """Return the filter's state for a source that takes over: the old level is a reference now.

    Holds:   the next price is judged as a first one against the last known; what was seen stays.
    """
    return state._replace(
        last_price_micros=0,
        previous_close_micros=state.last_price_micros or state.previous_close_micros,
        recent_micros=(),
        held=(),
    )
