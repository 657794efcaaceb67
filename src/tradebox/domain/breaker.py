"""The breaker of one provider as a pure state machine: what calls said goes in, a state comes out.

Rules of this file:
- it judges the provider as a whole (transport, login, 5xx, timeouts); what is wrong with one
  symbol (unknown, not covered by the key, halted, no trade) never counts here;
- closed lets through, open lets nothing through, half-open lets probes of one liquid symbol
  through; a provider whose calls are counted is not probed, time alone ends its pause;
- time comes with the messages, so that two feeds with the same messages hold the same state.
"""

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from tradebox.domain.market import Source

NS_PER_S: Final = 1_000_000_000
CALLS_KEPT: Final = 64
JITTER_MILLI: Final = 100
"""A pause is up to so many thousandths longer, by provider: no two probe in step."""


class ProviderKind(StrEnum):
    """What was seen of a provider.

    OPENED, CLOSED: its stream has, or has lost, its connection. OK: a call was answered as it
    should. FAILED: it was not. FORBIDDEN: the key does not cover it, or not that symbol.
    THROTTLED: too many calls.
    """

    OPENED = "opened"
    CLOSED = "closed"
    OK = "ok"
    FAILED = "failed"
    FORBIDDEN = "forbidden"
    THROTTLED = "throttled"


@dataclass(frozen=True, slots=True)
class ProviderTold:
    """What an ingest or a poller saw of its provider.

    Units:   at_ns market time. symbol: with FORBIDDEN, the one that is not covered; else empty.
    """

    source: Source
    kind: ProviderKind
    at_ns: int
    symbol: str = ""


class BreakerState(StrEnum):
    """Whether a provider may be used."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When a breaker opens and closes. Units: *_ns market time; share_max in hundredths.

    refused_ns: a vendor that refuses the key is asked again after it: it may have been its own
    fault. is_probed: half-open asks for one liquid symbol; False: the pause's end alone closes it.
    """

    failures_max: int = 5
    window_ns: int = 30 * NS_PER_S
    share_max: int = 50
    calls_min: int = 10
    pause_ns: int = 15 * NS_PER_S
    pause_ns_max: int = 300 * NS_PER_S
    settle_ns: int = 60 * NS_PER_S
    probes: int = 3
    refused_ns: int = 3600 * NS_PER_S
    is_probed: bool = True


class Breaker(NamedTuple):
    """One provider's breaker; hashable, so that two feeds can compare.

    calls: (market ns, failed) of the window. pauses: how many in a row. until_ns: the pause's
    end. good: probes in a row that were fresh. is_connected: of a stream; None: it has none, or
    has told nothing. up_ns: since when it can be used; down_ns: since when it cannot.
    """

    state: BreakerState = BreakerState.CLOSED
    calls: tuple[tuple[int, bool], ...] = ()
    pauses: int = 0
    until_ns: int = 0
    good: int = 0
    is_connected: bool | None = None
    is_forbidden: bool = False
    up_ns: int = 0
    down_ns: int = 0

    @property
    def is_usable(self) -> bool:
        """Say whether its prices may serve: closed, allowed, and connected where it streams."""
        return (
            self.state is BreakerState.CLOSED
            and not self.is_forbidden
            and self.is_connected is not False
        )


def told(breaker: Breaker, news: ProviderTold, limits: BreakerLimits) -> Breaker:
    """Return the breaker after what was seen of its provider.

    Holds:   news of one symbol changes nothing; OK and OPENED never open it; a failure while
             half-open opens it; failures_max failures within the window open it; so does a share
             above share_max of at least calls_min calls.
    """
    match news.kind:
        case ProviderKind.OK:
            allowed = _moved(breaker, breaker._replace(is_forbidden=False), news.at_ns)
            return _called(allowed, news, limits, is_failure=False)
        case ProviderKind.FAILED | ProviderKind.THROTTLED:
            return _called(breaker, news, limits, is_failure=True)
        case ProviderKind.OPENED:
            return _moved(breaker, breaker._replace(is_connected=True), news.at_ns)
        case ProviderKind.CLOSED:
            if breaker.is_connected is False:
                return breaker
            lost = _moved(breaker, breaker._replace(is_connected=False), news.at_ns)
            return _called(lost, news, limits, is_failure=True)
        case ProviderKind.FORBIDDEN:
            if news.symbol:
                return breaker
            return _moved(breaker, breaker._replace(is_forbidden=True), news.at_ns)


def passed(breaker: Breaker, now_ns: int, limits: BreakerLimits) -> Breaker:
    """Return the breaker at a later time: a pause that is over ends, and a refused key is tried.

    Holds:   a refused key costs one call in refused_ns.
    """
    if breaker.is_forbidden and now_ns - breaker.down_ns >= limits.refused_ns:
        breaker = _moved(breaker, breaker._replace(is_forbidden=False), now_ns)
    if breaker.state is not BreakerState.OPEN or now_ns < breaker.until_ns:
        return breaker
    if limits.is_probed:
        return breaker._replace(state=BreakerState.HALF_OPEN, good=0)
    return _moved(breaker, breaker._replace(state=BreakerState.CLOSED, calls=()), now_ns)


def probed(breaker: Breaker, at_ns: int, limits: BreakerLimits, *, is_fresh: bool) -> Breaker:
    """Return the breaker after a tick that may serve as a probe.

    Holds:   only a half-open breaker changes; it closes after `probes` fresh ones in a row.
    """
    if breaker.state is not BreakerState.HALF_OPEN:
        return breaker
    good = breaker.good + 1 if is_fresh else 0
    if good < limits.probes:
        return breaker._replace(good=good)
    closed = breaker._replace(state=BreakerState.CLOSED, calls=(), good=0)
    return _moved(breaker, closed, at_ns)


def pause_ns(source: Source, pauses: int, limits: BreakerLimits) -> int:
    """Return how long the pause with this number lasts: doubled each time, then a little more.

    Holds:   between pause_ns and pause_ns_max, jitter apart; never shorter than the one before.
    """
    doubled = min(limits.pause_ns << min(pauses - 1, 40), limits.pause_ns_max)
    share = zlib.crc32(source.encode()) % JITTER_MILLI
    return doubled + doubled * share // 1000


def _called(
    breaker: Breaker, news: ProviderTold, limits: BreakerLimits, *, is_failure: bool
) -> Breaker:
    at_ns = news.at_ns
    if breaker.state is BreakerState.OPEN:
        return breaker
    if breaker.state is BreakerState.HALF_OPEN:
        return _opened(breaker, news, limits) if is_failure else breaker
    oldest_ns = at_ns - limits.window_ns
    kept = tuple(call for call in breaker.calls if call[0] > oldest_ns)
    calls = (*kept[-(CALLS_KEPT - 1) :], (at_ns, is_failure))
    breaker = breaker._replace(calls=calls)
    failures = sum(failed for _, failed in calls)
    is_share = len(calls) >= limits.calls_min and failures * 100 > limits.share_max * len(calls)
    if is_failure and (failures >= limits.failures_max or is_share):
        return _opened(breaker, news, limits)
    if not is_failure and breaker.pauses and at_ns - breaker.up_ns >= limits.settle_ns:
        return breaker._replace(pauses=0)
    return breaker


def _opened(breaker: Breaker, news: ProviderTold, limits: BreakerLimits) -> Breaker:
    is_again = breaker.state is BreakerState.HALF_OPEN or (
        breaker.pauses > 0 and news.at_ns - breaker.up_ns < limits.settle_ns
    )
    pauses = breaker.pauses + 1 if is_again else 1
    after = breaker._replace(
        state=BreakerState.OPEN,
        calls=(),
        pauses=pauses,
        until_ns=news.at_ns + pause_ns(news.source, pauses, limits),
        good=0,
    )
    return _moved(breaker, after, news.at_ns)


def _moved(before: Breaker, after: Breaker, at_ns: int) -> Breaker:
    """Note since when it can be used, or cannot."""
    if before.is_usable == after.is_usable:
        return after
    return after._replace(up_ns=at_ns) if after.is_usable else after._replace(down_ns=at_ns)
