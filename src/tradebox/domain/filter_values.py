"""What the sanity filter remembers and says: verdicts, checks, state, limits.

Rules of this file:
- everything here is frozen and hashable, so that two feeds can compare what they hold;
- what changes with each tick stands in SymbolState, what changes seldom in its `rest`;
- every tuple has a stated length at most: the memory of a symbol is bounded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from tradebox.config import FilterSettings
from tradebox.domain.market import Quality, Source

NS_PER_S: Final = 1_000_000_000
BPS: Final = 10_000
RING_TICKS: Final = 64
MEDIAN_TICKS: Final = 60
HELD_TICKS_MAX: Final = 32
SOURCES_MAX: Final = 4
MOVERS_MAX: Final = 4
BUCKETS: Final = 10
CONFIRM_WEIGHT: Final = 2
"""What a round lot says for a new level; an odd lot says 1."""


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
    PRICE = "price"
    SENTINEL = "sentinel"
    DUPLICATE = "duplicate"
    FUTURE = "future"
    LATE = "late"
    STALE = "stale"
    DELAYED = "delayed"
    EOD = "eod"
    SESSION = "session"
    SIZE = "size"
    ODD_LOT = "odd_lot"
    CONDITION = "condition"
    CROSSED = "crossed"
    LOCKED = "locked"
    WIDE = "wide"
    OUTSIDE = "outside"
    SPIKE = "spike"
    REGIME = "regime"
    CONTESTED = "contested"
    FIRST = "first"
    LULD = "luld"
    SPLIT = "split"
    HALT = "halt"
    FROZEN = "frozen"
    DISPUTED = "disputed"
    BAR = "bar"


NUMBER: Final[Mapping[Check, int]] = MappingProxyType(
    {
        Check.SUBSCRIBED: 1,
        Check.PRICE: 1,
        Check.SENTINEL: 2,
        Check.DUPLICATE: 3,
        Check.FUTURE: 4,
        Check.LATE: 5,
        Check.STALE: 6,
        Check.DELAYED: 6,
        Check.EOD: 6,
        Check.SESSION: 7,
        Check.SIZE: 8,
        Check.ODD_LOT: 8,
        Check.CONDITION: 9,
        Check.CROSSED: 10,
        Check.LOCKED: 10,
        Check.WIDE: 11,
        Check.OUTSIDE: 12,
        Check.SPIKE: 13,
        Check.REGIME: 13,
        Check.CONTESTED: 13,
        Check.FIRST: 14,
        Check.LULD: 15,
        Check.SPLIT: 16,
        Check.HALT: 17,
        Check.FROZEN: 18,
        Check.DISPUTED: 19,
        Check.BAR: 20,
    }
)
"""The number of each check; twenty in all, some with more than one outcome."""


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
    """A suspect tick that waits for confirmation. weight: what it says for its level."""

    event_ns: int
    price_micros: int
    source: Source
    weight: int = CONFIRM_WEIGHT


class Quoted(NamedTuple):
    """A bid and ask that were neither crossed nor empty, and when they came."""

    bid_micros: int
    ask_micros: int
    recv_ns: int


class Said(NamedTuple):
    """The newest price of one source, held ones included."""

    source: Source
    price_micros: int
    event_ns: int


class Split(NamedTuple):
    """A first price of the day that looks like a split: numerator new shares for denominator.

    normal: how many prices of the old level came since, the first of them at normal_ns.
    """

    numerator: int
    denominator: int
    reference_micros: int
    event_ns: int
    normal: int = 0
    normal_ns: int = 0


class KnownSplit(NamedTuple):
    """A split that a calendar announces for one day, [from_ns, until_ns)."""

    numerator: int
    denominator: int
    from_ns: int
    until_ns: int


class Band(NamedTuple):
    """The limit-up, limit-down band in force; prices in [low, high] are inside."""

    reference_micros: int
    low_micros: int
    high_micros: int


class Rest(NamedTuple):
    """What seldom changes of a symbol.

    means: (number, sum, count) of past half minutes, at most BUCKETS. before: price and median
    window of the level that stood before an unconfirmed one. halt_ns: since when it is halted, 0
    where it is not. quote: the newest that is a measure; shown: the newest, too wide ones with it.
    spread_micros: running median of the spread. dispute_ns, dispute_last_ns:
    since when sources disagree, and when they were last seen to. known_split: from a calendar.
    slow: the memory of a delayed source, kept apart.
    """

    means: tuple[tuple[int, int, int], ...] = ()
    band: Band | None = None
    before: tuple[int, tuple[int, ...]] | None = None
    split: Split | None = None
    known_split: KnownSplit | None = None
    halt_ns: int = 0
    is_reopening: bool = False
    quote: Quoted | None = None
    shown: Quoted | None = None
    spread_micros: int = 0
    crossed_ns: int = 0
    said: tuple[Said, ...] = ()
    dispute_ns: int = 0
    dispute_last_ns: int = 0
    slow: "SymbolState | None" = None


CALM: Final = Rest()
"""Nothing out of the ordinary."""


class SymbolState(NamedTuple):
    """All that the filter remembers of one symbol; hashable, so that two feeds can compare.

    Units: *_ns event time, *_micros prices; 0 = not known yet.
    regime_ns: start of a level that one source alone has shown; 0 = the level is trusted.
    gap_ns: the usual time between ticks. level_ns: since when the price is what it is.
    bucket: number, sum and count of the present half minute of regular hours.
    """

    last_event_ns: int = 0
    last_price_micros: int = 0
    previous_close_micros: int = 0
    recent_micros: tuple[int, ...] = ()
    seen: tuple[tuple[int, ...], ...] = ()
    held: tuple[Held, ...] = ()
    regime_ns: int = 0
    regime_source: Source | None = None
    source: Source | None = None
    gap_ns: int = 0
    level_ns: int = 0
    bucket: tuple[int, int, int] = (0, 0, 0)
    rest: Rest = CALM


class Around(NamedTuple):
    """What is known beside one symbol: regular hours, and which symbols moved of late.

    Units: ns UTC; 0 = hours not known, then what needs them is not judged.
    """

    open_ns: int = 0
    close_ns: int = 0
    movers: tuple[tuple[str, int], ...] = ()

    def is_regular(self, event_ns: int) -> bool:
        """Say whether the time lies within known regular hours."""
        return self.open_ns <= event_ns < self.close_ns


NOWHERE: Final = Around()
"""Nothing is known beside the symbol."""


class Jump(NamedTuple):
    """Why a price is too far from what is known.

    is_soft: near enough that a second one which agrees is all it takes; is_doubtful: so far that
    twice the usual number must agree.
    """

    check: Check
    is_soft: bool = False
    is_doubtful: bool = False


Answer = tuple[SymbolState, Judged]
Conditions = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """The thresholds in the units of the ticks. Units: *_ns market time."""

    future_ns_max: int
    future_coarse_ns_max: int
    late_ns_max: int
    stale_ns_max: int
    duplicate_window_ns: int
    spike_bps_max: int
    step_bps_max: int
    first_bps_max: int
    confirm_ticks: int
    confirm_span_ns: int
    confirm_bps: int
    hold_ns_max: int
    increment_micros: int
    crossed_ns_max: int
    spread_median_multiple: int
    spread_bps_max: int
    quote_ns_max: int
    luld_tier: int
    split_bps: int
    frozen_ns: int
    dispute_bps: int
    dispute_ns: int
    ineligible: Conditions
    auction: Conditions

    @classmethod
    def of(cls, settings: FilterSettings, speed: float = 1.0) -> Self:
        """Return the limits at a clock speed; slower than real counts as real.

        Holds: transport limits grow with speed, spans between ticks do not.
        """
        scale = max(1.0, speed)

        def transport_ns(seconds: float) -> int:
            return round(seconds * scale * NS_PER_S)

        def span_ns(seconds: float) -> int:
            return round(seconds * NS_PER_S)

        return cls(
            future_ns_max=transport_ns(settings.future_s_max),
            future_coarse_ns_max=transport_ns(settings.future_coarse_s_max),
            late_ns_max=transport_ns(settings.late_s_max),
            stale_ns_max=transport_ns(settings.stale_s_max),
            duplicate_window_ns=transport_ns(settings.duplicate_window_s),
            spike_bps_max=round(settings.spike_share_max * BPS),
            step_bps_max=round(settings.step_share_max * BPS),
            first_bps_max=round(settings.first_share_max * BPS),
            confirm_ticks=settings.confirm_ticks,
            confirm_span_ns=span_ns(settings.confirm_span_s),
            confirm_bps=round(settings.confirm_band_bps),
            hold_ns_max=span_ns(settings.hold_s_max),
            increment_micros=settings.increment_micros,
            crossed_ns_max=span_ns(settings.crossed_s_max),
            spread_median_multiple=settings.spread_median_multiple,
            spread_bps_max=round(settings.spread_share_max * BPS),
            quote_ns_max=span_ns(settings.quote_s_max),
            luld_tier=settings.luld_tier,
            split_bps=round(settings.split_tolerance_share * BPS),
            frozen_ns=span_ns(settings.frozen_s),
            dispute_bps=round(settings.dispute_band_bps),
            dispute_ns=span_ns(settings.dispute_s),
            ineligible=_sets(settings.conditions_ineligible.items()),
            auction=_sets(settings.conditions_auction.items()),
        )


def _sets(codes: Iterable[tuple[str, tuple[str, ...]]]) -> Conditions:
    return MappingProxyType({source: frozenset(found) for source, found in codes})


def bps(price: int, reference: int) -> int:
    """Distance in basis points, rounded up, so that a limit is never passed by rounding."""
    return -(-abs(price - reference) * BPS // reference)
