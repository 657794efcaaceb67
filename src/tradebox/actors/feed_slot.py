"""What the two feeds share and what survives them: the gate, roles, takeover, what both are told.

Rules of this file:
- not an actor: every method is synchronous, so each is one step on the loop;
- a takeover is one call: acquire the epoch, push what the old active did not settle, tell;
- the slot outlives the feeds, so a feed hung between admission and write loses nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tradebox.actors.admission import Admission, AdmissionGate, Outbox, Outcome
from tradebox.config import FilterSettings, TierSettings
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.events import (
    AlertRaised,
    FeedFailover,
    PriceAgeChanged,
    PriceSourceChanged,
    ProviderChanged,
)
from tradebox.domain.feed_pair import (
    Cause,
    Exited,
    PairEvent,
    PairState,
    Promote,
    RaiseAlarm,
    Refused,
    RestartMember,
    Role,
    Started,
    Suspected,
    SwapAsked,
    Warmed,
    step,
)
from tradebox.domain.filter_values import NOWHERE, Around, Judged, KnownSplit, SymbolState
from tradebox.domain.market import Session, Source, Tick
from tradebox.domain.staleness import Hours
from tradebox.domain.tick_filter import fingerprint
from tradebox.domain.tier_values import (
    PriceAged,
    ProviderMoved,
    SourceSwitched,
    SymbolPinned,
    TierLimits,
    TierNote,
)
from tradebox.domain.tiers import TierMachine
from tradebox.ports.clock import MarketClock
from tradebox.supervision.clock import Clock, TimerHandle

__all__ = [
    "Admission",
    "AdmissionGate",
    "Confirmed",
    "Control",
    "FeedMember",
    "FeedMemory",
    "FeedSlot",
    "Outbox",
    "Outcome",
    "PreviousClose",
    "ProviderNews",
    "RestartWish",
    "Subscribed",
    "TierClock",
    "default_tiers",
]

TOLD_MAX = 1024
LOST_TOLD_S = 10.0
HANG_S_MIN = 0.003
HANG_LOOK_AGAIN_S = 0.05
LAG_MULTIPLE = 4
LAG_FADE = 0.99


class FeedMember(Protocol):
    """One incarnation of a feed, as the slot sees it."""

    name: str
    incarnation: int

    def promote(self, epoch: int) -> int:
        """Take the epoch, push what is in the ring, return how many were admitted."""
        ...

    def demote(self) -> None:
        """Go on as standby with the memory that is there."""
        ...


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The symbols that prices are let through for. seq orders it among such messages.

    near: those of them that somebody holds, orders or waits to enter.
    """

    seq: int
    symbols: frozenset[str]
    near: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PreviousClose:
    """The last close of a symbol, to judge its first tick by."""

    seq: int
    symbol: str
    price_micros: int


@dataclass(frozen=True, slots=True)
class ProviderNews:
    """What was seen of a provider, in its place among such messages."""

    seq: int
    told: ProviderTold


@dataclass(frozen=True, slots=True)
class TierClock:
    """The time for what waits, told to both feeds alike.

    Units:   market ns. open_ns, close_ns: of the session that is open, 0 where none is known.
    """

    seq: int
    now_ns: int
    hours: Hours
    open_ns: int = 0
    close_ns: int = 0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A person has confirmed a symbol's new level."""

    seq: int
    symbol: str


@dataclass(frozen=True, slots=True)
class SplitTold:
    """A split of a symbol that a calendar announces."""

    seq: int
    symbol: str
    split: KnownSplit


Control = Subscribed | PreviousClose | ProviderNews | TierClock | Confirmed | SplitTold
"""What both feeds are told in one order beside the ticks."""


def default_tiers() -> TierMachine:
    """Return a machine with the default policy at the speed of real time."""
    return TierMachine(TierLimits.of(TierSettings(), FilterSettings()))


@dataclass(slots=True)
class FeedMemory:
    """What a feed knows.

    states: the filter's, by symbol. keys: how far it got in each source. tiers: which source
    serves. rebased: symbols that were made ready to be taken over. around: what the filter is told
    beside a symbol.
    """

    states: dict[str, SymbolState] = field(default_factory=dict)
    keys: dict[Source, int] = field(default_factory=dict)
    seq: int = 0
    tiers: TierMachine = field(default_factory=default_tiers)
    rebased: set[str] = field(default_factory=set)
    around: Around = NOWHERE

    def copy(self) -> "FeedMemory":
        """Return the same knowledge for another feed; the states themselves are immutable."""
        return FeedMemory(
            dict(self.states),
            dict(self.keys),
            self.seq,
            self.tiers.copy(),
            set(self.rebased),
            self.around,
        )

    def fingerprint(self) -> int:
        """Return a number that is equal, within one process, for equal knowledge."""
        return hash((fingerprint(self.states), self.tiers.fingerprint(), self.around))

    @property
    def reached(self) -> tuple[int, int]:
        """How far it got: of two that are told the same in the same order, the later has more.

        The highest key alone would not say: it is that of the source with the most connections.
        """
        return sum(self.keys.values()), self.seq


@dataclass(frozen=True, slots=True)
class RestartWish:
    """An incarnation that the supervisor should replace."""

    name: str
    incarnation: int
    cause: Cause


class FeedSlot:
    """Owns the pair: its gate, its roles, its clockwork.

    Units:   hang_s_max: the longest a standby may be ahead of the active.
    Holds:   FeedFailover follows each change of the epoch; no promotion of a member not WARM.
    """

    def __init__(
        self,
        names: tuple[str, str],
        gate: AdmissionGate,
        clock: Clock,
        market_clock: MarketClock,
        publish: Callable[[object], object],
        hang_s_max: float = 1.0,
    ) -> None:
        self.gate = gate
        self.pair = PairState(names)
        self.memories: dict[str, FeedMemory] = {}
        self.closes: dict[str, PreviousClose] = {}
        self.told: deque[ProviderNews | Confirmed | SplitTold] = deque(maxlen=TOLD_MAX)
        """What is told once and not again, for a feed that starts where nobody can be asked."""
        self.subscribed = Subscribed(0, frozenset())
        self.takeovers = 0
        self.took_over_mono_ns = 0
        self.restart_wishes: list[RestartWish] = []
        self.on_restart: Callable[[], object] = lambda: None
        self.tell: Callable[[Control], object] = lambda _: None
        """Tells both feeds, the active one first; the monitor sets it."""
        self._clock = clock
        self._market_clock = market_clock
        self._publish = publish
        self._hang_s_max = hang_s_max
        self._members: dict[str, FeedMember] = {}
        self._connections: dict[Source, int] = {}
        self.control_seq = 0
        self._lag_s = 0.0
        self._ahead: tuple[Source, int, float] | None = None
        self._settled = 0
        self._watch: TimerHandle | None = None
        self._checkpoints: dict[str, tuple[tuple[Source, int], int]] = {}
        self._lost_told = 0
        self._lost_told_s = float("-inf")
        self.near: Callable[[], frozenset[str]] = frozenset
        self.hours: Callable[[int], Hours] = lambda _: Hours.UNKNOWN
        self.session: Callable[[int], Session | None] = lambda _: None
        self.on_verdict: Callable[[Tick, Judged], object] = lambda *_: None
        """Hears from the active feed of each tick that was not simply accepted."""
        self.on_polled: Callable[[Mapping[Source, frozenset[str]], frozenset[Source]], object]
        self.on_polled = lambda *_: None
        """Hears from the active feed what is to be polled, and who is not well."""

    # --- numbers that outlive an ingest -----------------------------------------------------

    def next_connection(self, source: Source) -> int:
        """Return the number of a new vendor connection; keys of later ones are larger."""
        self._connections[source] = self._connections.get(source, 0) + 1
        return self._connections[source]

    def subscribe(self, symbols: frozenset[str]) -> Subscribed:
        """Note the symbols in force; the message is for both feeds."""
        self.control_seq += 1
        self.subscribed = Subscribed(self.control_seq, symbols, self.near() & symbols)
        self.closes = {name: known for name, known in self.closes.items() if name in symbols}
        return self.subscribed

    def note_close(self, symbol: str, price_micros: int) -> PreviousClose:
        """Note a last close; the message is for both feeds."""
        self.control_seq += 1
        self.closes[symbol] = PreviousClose(self.control_seq, symbol, price_micros)
        return self.closes[symbol]

    # --- told to both feeds -------------------------------------------------------------------

    def provider(self, told: ProviderTold) -> None:
        """Have both feeds learn what was seen of a provider."""
        self.control_seq += 1
        message = ProviderNews(self.control_seq, told)
        if told.kind is not ProviderKind.OK:
            self.told.append(message)
        self.tell(message)

    def pass_time(self) -> None:
        """Have both feeds act on what time alone brings; both are told the same time."""
        self.control_seq += 1
        now_ns = self._market_clock.now_ns()
        session = self.session(now_ns)
        open_ns, close_ns = (session.open_ns, session.close_ns) if session else (0, 0)
        self.tell(TierClock(self.control_seq, now_ns, self.hours(now_ns), open_ns, close_ns))
        self._tell_lost()

    def _tell_lost(self) -> None:
        """Tell a person of ticks that came from a vendor and were never judged; now and then."""
        lost, now_s = self.gate.gaps - self._lost_told, self._clock.now()
        if lost and now_s - self._lost_told_s >= LOST_TOLD_S:
            self._lost_told, self._lost_told_s = self.gate.gaps, now_s
            text = f"{lost} ticks came and were never judged: a mailbox was full, or a feed hung"
            self._alert("ticks_lost", text)

    def tell_split(self, symbol: str, split: KnownSplit) -> None:
        """Have both feeds learn of a split that a calendar announces; harmless twice."""
        self.control_seq += 1
        self.told.append(SplitTold(self.control_seq, symbol, split))
        self.tell(self.told[-1])

    def confirm(self, symbol: str) -> None:
        """Have both feeds take a symbol's new level as confirmed by a person."""
        self.control_seq += 1
        self.told.append(Confirmed(self.control_seq, symbol))
        self.tell(self.told[-1])

    # --- members ----------------------------------------------------------------------------

    @property
    def active(self) -> str | None:
        """The registry name of the feed that holds the epoch."""
        return self.pair.active

    def order(self) -> tuple[str, ...]:
        """Return the feeds' names, the active one first: it is told first."""
        active = self.pair.active
        first, second = self.pair.names
        return (second, first) if active == second else (first, second)

    def role(self, name: str) -> Role:
        """Return a feed's role."""
        return self.pair.role(name)

    def is_current(self, member: FeedMember) -> bool:
        """True unless a later incarnation has taken this one's place: a zombie asks this."""
        return self._members.get(member.name) is member

    def join(self, member: FeedMember) -> None:
        """A new incarnation begins to warm up."""
        self._members[member.name] = member
        self._checkpoints.pop(member.name, None)
        self._apply(Started(member.name))

    def warmed(self, member: FeedMember) -> None:
        """A member has caught up; with nobody active it takes the epoch at once."""
        if self.is_current(member):
            self._apply(Warmed(member.name))

    def refused(self, member: FeedMember) -> None:
        """A member met the fence: it is standby from here on."""
        if self.is_current(member):
            self._apply(Refused(member.name))
            self._apply(Warmed(member.name))

    def exited(self, name: str, incarnation: int) -> None:
        """A feed has ended; late news of an earlier incarnation changes nothing."""
        member = self._members.get(name)
        if member is not None and member.incarnation == incarnation:
            del self._members[name]
            self._apply(Exited(name))

    def suspect(self, name: str, cause: Cause, *, late_s: float, limit_s: float) -> None:
        """A feed looks hung; the pair decides."""
        self._apply(Suspected(name, cause, late_s, limit_s))

    def swap(self) -> bool:
        """Have the standby take over as planned; False where there is no warm one."""
        before = self.pair.active
        self._apply(SwapAsked())
        return self.pair.active != before

    # --- progress ---------------------------------------------------------------------------

    @property
    def hang_limit_s(self) -> float:
        """How long the standby may be ahead before the active counts as hung."""
        return min(max(HANG_S_MIN, LAG_MULTIPLE * self._lag_s), self._hang_s_max)

    def standby_reached(self, source: Source, key: int) -> None:
        """The standby is past `key`: the active has a moment to settle it too."""
        if self._watch is None and self.gate.settled(source) < key:
            self._ahead = (source, key, self._clock.now())
            self._settled = self.gate.settled(source)
            self._watch_active(self.hang_limit_s)

    def active_settled(self, source: Source, key: int) -> None:
        """The active is past `key`: learn its usual lag, call the watch off."""
        ahead = self._ahead
        if ahead is None or ahead[0] is not source or key < ahead[1]:
            return
        self._lag_s = max(self._clock.now() - ahead[2], self._lag_s * LAG_FADE)
        self._stop_watch()

    def _watch_active(self, wait_s: float) -> None:
        active = self.pair.active
        member = None if active is None else self._members.get(active)
        if active is None or member is None:
            return
        due_s = self._clock.now() + wait_s

        def is_over() -> bool:
            self._watch = None
            if self._ahead is None or self._members.get(active) is not member:
                return True
            # Who has settled some of it since the last look is slow, not hung: on a busy core
            # the pair would take over from each other again and again.
            settled = self.gate.settled(self._ahead[0])
            if settled > self._settled:
                self._settled = settled
                self._watch_active(wait_s)
                return True
            return False

        def look() -> None:
            # Under a flood the active may only wait for its turn behind a long one of the
            # standby: it has one before it is judged.
            if not is_over():
                late_s = self._clock.now() - due_s
                self._watch = self._clock.call_at(self._clock.now(), lambda: judge(late_s))

        def judge(late_s: float) -> None:
            if is_over():
                return
            self.suspect(active, Cause.HANG, late_s=late_s, limit_s=self.hang_limit_s)
            if self.pair.active == active:
                self._watch_active(max(wait_s, HANG_LOOK_AGAIN_S))

        self._watch = self._clock.call_at(due_s, look)

    def _stop_watch(self) -> None:
        self._ahead = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def checkpoint(self, member: FeedMember, key: tuple[Source, int], state_hash: int) -> None:
        """Compare the filter state of both feeds at a common key; a standby that differs goes."""
        self._checkpoints[member.name] = (key, state_hash)
        partner = self.pair.partner(member.name)
        other = self._checkpoints.get(partner)
        if other is None or other[0] != key or other[1] == state_hash:
            return
        standby = partner if self.pair.active == member.name else member.name
        text = f"{standby} differs from its partner at {key[0]}'s key {key[1]}"
        self._alert("feed_state_diverged", text)
        self._wish_restart(standby, Cause.REPORT)

    def note(self, note: TierNote) -> None:
        """Tell everybody what changed among the sources; the active feed does."""
        match note:
            case SourceSwitched(symbol, before, after, reason, at_ns):
                self._publish(PriceSourceChanged(symbol, before, after, reason, at_ns))
            case PriceAged(symbol, source, is_stale, event_ns, at_ns):
                self._publish(PriceAgeChanged(symbol, source, is_stale, event_ns, at_ns))
            case ProviderMoved(source, state, at_ns):
                self._publish(ProviderChanged(source, state, at_ns))
            case SymbolPinned(symbol, source, at_ns):
                text = f"{symbol} has changed its source too often: it stays with {source}"
                self._publish(
                    AlertRaised("warning", "source_pinned", text, symbol=symbol, at_ns=at_ns)
                )

    # --- carrying out -----------------------------------------------------------------------

    def _apply(self, event: PairEvent) -> None:
        self.pair, actions = step(self.pair, event, self._clock.now())
        for action in actions:
            match action:
                case Promote():
                    self._promote(action)
                case RestartMember(name, cause):
                    self._wish_restart(name, cause)
                case RaiseAlarm(kind, text):
                    self._alert(kind, text)

    def _promote(self, action: Promote) -> None:
        epoch = self.gate.acquire(action.member)
        replayed = self._members[action.member].promote(epoch)
        self.takeovers += 1
        self.took_over_mono_ns = time.monotonic_ns()
        self._publish(
            FeedFailover(
                action.old,
                action.member,
                epoch,
                action.cause,
                replayed,
                self._market_clock.now_ns(),
            )
        )
        self._stop_watch()
        old = self._members.get(action.old)
        if action.cause is Cause.PLANNED and old is not None:
            old.demote()

    def _wish_restart(self, name: str, cause: Cause) -> None:
        member = self._members.get(name)
        if member is None:
            return
        if all(wish.incarnation != member.incarnation for wish in self.restart_wishes):
            self.restart_wishes.append(RestartWish(name, member.incarnation, cause))
        self.on_restart()

    def take_restart_wishes(self) -> tuple[RestartWish, ...]:
        """Return what the supervisor should replace, and forget it."""
        wishes, self.restart_wishes = tuple(self.restart_wishes), []
        return wishes

    def _alert(self, kind: str, text: str) -> None:
        at_ns = self._market_clock.now_ns()
        self._publish(AlertRaised(severity="warning", kind=kind, text=text, at_ns=at_ns))
