"""What the two feeds share and what survives them: admission, outbox, roles, takeover.

Rules of this file:
- not an actor: every method is synchronous, so each is one step on the loop;
- nothing leaves but through `AdmissionGate.push` with the current epoch, once per source key;
- a takeover is one call: acquire the epoch, push what the old active did not settle, tell;
- the slot outlives the feeds, so a feed hung between admission and write loses nothing.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from tradebox.domain.breaker import ProviderTold
from tradebox.domain.events import AlertRaised, FeedFailover
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
from tradebox.domain.market import AdmittedTick, Quality, Source, Tick
from tradebox.domain.staleness import Hours
from tradebox.domain.tick_filter import SymbolState
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import KEY_BITS
from tradebox.supervision.clock import Clock, TimerHandle
from tradebox.supervision.gate import EpochGate

HANG_S_MIN = 0.003
HANG_LOOK_AGAIN_S = 0.05
LAG_MULTIPLE = 4
LAG_FADE = 0.99


class Admission(Enum):
    """What the gate did with an outcome."""

    ADMITTED = "admitted"
    SETTLED = "settled"
    DUPLICATE = "duplicate"
    FENCED = "fenced"


class Outcome(NamedTuple):
    """One judged tick on its way: `admit` is what to let through, None for nothing.

    key and source are those of the tick that was judged, also where `admit` repeats an older
    price as suspect.
    """

    source: Source
    key: int
    admit: Tick | None
    quality: Quality
    mono_ns: int


class Outbox:
    """The newest admitted tick of each symbol that is not yet on the bus.

    Holds:   at most one tick a symbol; committed ≤ admitted; a tick leaves by commit or by a
             newer one of its symbol, which is counted.
    """

    def __init__(self) -> None:
        self._box: dict[str, tuple[int, AdmittedTick]] = {}
        self.admitted = 0
        self.committed = 0
        self.conflated = 0

    def put(self, tick: AdmittedTick) -> None:
        """Keep an admitted tick; one that is older than what waits is only counted."""
        self.admitted += 1
        waiting = self._box.get(tick.symbol)
        if waiting is not None:
            self.conflated += 1
            if waiting[1].event_ns > tick.event_ns:
                return
        self._box[tick.symbol] = (self.admitted, tick)

    def pending(self) -> tuple[int, tuple[AdmittedTick, ...]]:
        """Return the mark to commit later, and what is to be written."""
        return self.admitted, tuple(tick for _, tick in self._box.values())

    def commit(self, mark: int) -> None:
        """Forget what was written up to the mark."""
        assert self.committed <= mark <= self.admitted, (self.committed, mark, self.admitted)
        self.committed = mark
        self._box = {symbol: kept for symbol, kept in self._box.items() if kept[0] > mark}

    def refill(self, ticks: Iterable[AdmittedTick]) -> None:
        """Have these last values written again, where nothing newer waits."""
        for tick in ticks:
            self._box.setdefault(tick.symbol, (self.admitted, tick))


class AdmissionGate:
    """The only way in for prices.

    Holds:   every admitted tick came from the owner of the epoch at that instant; per symbol
             pub_seq is contiguous from 1; no source key passes twice; source order is kept.
    """

    def __init__(self, epochs: EpochGate, deliver: Callable[[AdmittedTick], object]) -> None:
        self._epochs = epochs
        self._epoch = -1
        self._deliver = deliver
        self._settled: dict[Source, int] = {}
        self._pub_seq: dict[str, int] = {}
        self.outbox = Outbox()
        self.duplicates = 0
        self.fenced = 0
        self.gaps = 0

    @property
    def epoch(self) -> int:
        """The epoch in force; -1 before the first owner."""
        return self._epoch

    def acquire(self, owner: str) -> int:
        """Mint the next epoch; the old owner is deposed by this act."""
        self._epoch = self._epochs.acquire(owner)
        return self._epoch

    def settled(self, source: Source) -> int:
        """Return the key up to which this source's ticks are dealt with; 0 at first."""
        return self._settled.get(source, 0)

    def push(self, epoch: int, outcome: Outcome) -> Admission:
        """Settle one judged tick, and admit what it lets through."""
        if epoch != self._epoch:
            self.fenced += 1
            return Admission.FENCED
        source, key = outcome.source, outcome.key
        last = self._settled.get(source, 0)
        if key <= last:
            self.duplicates += 1
            return Admission.DUPLICATE
        is_same_connection = key >> KEY_BITS == last >> KEY_BITS
        before = last if is_same_connection else key >> KEY_BITS << KEY_BITS
        self.gaps += key - before - 1
        self._settled[source] = key
        tick = outcome.admit
        if tick is None:
            return Admission.SETTLED
        pub_seq = self._pub_seq.get(tick.symbol, 0) + 1
        self._pub_seq[tick.symbol] = pub_seq
        admitted = AdmittedTick(
            tick.symbol,
            tick.price_micros,
            tick.size,
            tick.event_ns,
            tick.recv_ns,
            source,
            outcome.quality,
            epoch,
            pub_seq,
            key,
            outcome.mono_ns,
            time.monotonic_ns(),
        )
        self.outbox.put(admitted)
        self._deliver(admitted)
        return Admission.ADMITTED


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
    """The symbols that prices are let through for. seq orders it among such messages."""

    seq: int
    symbols: frozenset[str]


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
    """The time for what waits: market ns, and which hours these are. Told to both feeds alike."""

    seq: int
    now_ns: int
    hours: Hours


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A person has confirmed a symbol's new level."""

    seq: int
    symbol: str


Control = Subscribed | PreviousClose | ProviderNews | TierClock | Confirmed
"""What both feeds are told in one order beside the ticks."""


@dataclass(slots=True)
class FeedMemory:
    """What a feed knows: filter states by symbol, and how far it got in each source."""

    states: dict[str, SymbolState] = field(default_factory=dict)
    keys: dict[Source, int] = field(default_factory=dict)
    seq: int = 0

    def copy(self) -> "FeedMemory":
        """Return the same knowledge for another feed; the states themselves are immutable."""
        return FeedMemory(dict(self.states), dict(self.keys), self.seq)


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
        self._watch: TimerHandle | None = None
        self._checkpoints: dict[str, tuple[int, int]] = {}

    # --- numbers that outlive an ingest -----------------------------------------------------

    def next_connection(self, source: Source) -> int:
        """Return the number of a new vendor connection; keys of later ones are larger."""
        self._connections[source] = self._connections.get(source, 0) + 1
        return self._connections[source]

    def subscribe(self, symbols: frozenset[str]) -> Subscribed:
        """Note the symbols in force; the message is for both feeds."""
        self.control_seq += 1
        self.subscribed = Subscribed(self.control_seq, symbols)
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
        self.tell(ProviderNews(self.control_seq, told))

    def pass_time(self, now_ns: int, hours: Hours) -> None:
        """Have both feeds act on what time alone brings."""
        self.control_seq += 1
        self.tell(TierClock(self.control_seq, now_ns, hours))

    def confirm(self, symbol: str) -> None:
        """Have both feeds take a symbol's new level as confirmed by a person."""
        self.control_seq += 1
        self.tell(Confirmed(self.control_seq, symbol))

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

        def look() -> None:
            self._watch = None
            if self._ahead is None or self._members.get(active) is not member:
                return
            self.suspect(
                active, Cause.HANG, late_s=self._clock.now() - due_s, limit_s=self.hang_limit_s
            )
            if self.pair.active == active:
                self._watch_active(max(wait_s, HANG_LOOK_AGAIN_S))

        self._watch = self._clock.call_at(due_s, look)

    def _stop_watch(self) -> None:
        self._ahead = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def checkpoint(self, member: FeedMember, key: int, state_hash: int) -> None:
        """Compare the filter state of both feeds at a common key; a standby that differs goes."""
        self._checkpoints[member.name] = (key, state_hash)
        partner = self.pair.partner(member.name)
        other = self._checkpoints.get(partner)
        if other is None or other[0] != key or other[1] == state_hash:
            return
        standby = partner if self.pair.active == member.name else member.name
        self._alert("feed_state_diverged", f"{standby} differs from its partner at key {key}")
        self._wish_restart(standby, Cause.REPORT)

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
