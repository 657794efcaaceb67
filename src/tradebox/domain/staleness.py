"""How old a price may be: by its source, by the hours, by how often the symbol trades.

Rules of this file:
- age is judged from the event time; that of a polled or delayed source from its receive time,
  since a vendor that answers is not silent, however old the last trade is;
- a symbol that trades rarely is not stale for that: its limit is a multiple of its own usual
  silence, within bounds;
- outside the regular session nothing is owed: before and after it the limit is wide, at night,
  at weekends and on holidays there is none; where the hours are not known, they count as regular.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Self

from tradebox.config import FilterSettings, TierSettings
from tradebox.domain.market import Session, Source

NS_PER_S: Final = 1_000_000_000
PRE_NS: Final = 19_800 * NS_PER_S
"""From 04:00 to 09:30 in New York."""
POST_NS: Final = 14_400 * NS_PER_S
"""From 16:00 to 20:00 in New York; to 17:00 where the session ends at 13:00."""
OUTSIDE_NS: Final = 600 * NS_PER_S
GAP_MULTIPLE: Final = 10
GAP_WEIGHT: Final = 8
GAP_NS_MAX: Final = 600 * NS_PER_S


class Hours(StrEnum):
    """Which hours a moment belongs to."""

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"
    CLOSED = "closed"
    UNKNOWN = "unknown"

    @property
    def is_regular(self) -> bool:
        """Say whether prices are owed: in the session, or where nobody knows."""
        return self in (Hours.REGULAR, Hours.UNKNOWN)


def hours_at(sessions: Iterable[Session], now_ns: int, *, is_known: bool = True) -> Hours:
    """Return the hours of a moment; a day without a session (weekend, holiday) is closed.

    is_known: whether the rows cover the moment. Shape: one venue, in any order.
    """
    if not is_known:
        return Hours.UNKNOWN
    for session in sessions:
        if session.open_ns - PRE_NS <= now_ns < session.close_ns + POST_NS:
            if now_ns < session.open_ns:
                return Hours.PRE
            return Hours.REGULAR if now_ns < session.close_ns else Hours.POST
    return Hours.CLOSED


class AgeRule(NamedTuple):
    """The oldest live price of one source. Units: market ns.

    quiet_ns: of a symbol that trades rarely, while its provider is well.
    """

    live_ns: int
    quiet_ns: int


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """The rules of every source. Units: *_ns market time."""

    rules: Mapping[Source, AgeRule]
    outside_ns: int = OUTSIDE_NS

    @classmethod
    def of(cls, tiers: TierSettings, filters: FilterSettings, speed: float = 1.0) -> Self:
        """Return the limits at a clock speed; slower than real counts as real."""
        scale = max(1.0, speed)

        def rule(live_s: float, quiet_s: float) -> AgeRule:
            live_ns = round(live_s * scale * NS_PER_S)
            return AgeRule(live_ns, max(live_ns, round(quiet_s * scale * NS_PER_S)))

        return cls(
            {
                Source.IB: rule(tiers.ib_s_max, tiers.ib_quiet_s_max),
                Source.FINNHUB: rule(filters.stale_s_max, tiers.quiet_s_max),
                Source.ALPHAVANTAGE: rule(tiers.alphavantage_s_max, tiers.alphavantage_s_max),
                Source.YAHOO: rule(tiers.yahoo_s_max, tiers.yahoo_s_max),
            },
            round(OUTSIDE_NS * scale),
        )

    def limit_ns(self, source: Source, gap_ns: int, hours: Hours, *, is_up: bool) -> int | None:
        """Return the oldest age that is not stale; None: nothing is owed now.

        gap_ns: the symbol's usual silence, 0 where not known. is_up: the provider is well.
        Holds:   within [live, quiet] of the source in regular hours; live where the provider is
                 not well or the symbol's ways are not known; never falls as gap_ns rises.
        """
        if hours is Hours.CLOSED:
            return None
        rule = self.rules[source]
        if not hours.is_regular:
            return max(rule.quiet_ns, self.outside_ns)
        if not is_up or gap_ns <= 0:
            return rule.live_ns
        return min(max(GAP_MULTIPLE * gap_ns, rule.live_ns), rule.quiet_ns)


def usual_gap_ns(gap_ns: int, silence_ns: int) -> int:
    """Return the usual silence after one more; a night counts as the longest that is told."""
    silence_ns = min(silence_ns, GAP_NS_MAX)
    if gap_ns <= 0:
        return silence_ns
    return max(1, gap_ns + (silence_ns - gap_ns) // GAP_WEIGHT)
