"""The manager pair: one leads and probes, the other watches; each restarts what is quiet.

Rules of this file:
- the leader is who holds the control epoch; every restart order carries it and the incarnation
  that was seen, so that two managers never restart one child twice;
- a probe is a question to the receive loop itself; quiet means one missed answer and one missed
  retry; who is absent is its supervisor's business;
- deadlines are absolute and probes run side by side: one quiet actor delays no other;
- whoever's own timer came late blames the loop and starts its measuring anew.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tradebox.domain.events import AlertRaised
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context, Down
from tradebox.supervision.errors import ActorDown, AskTimeout, MailboxFull
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.ref import ActorRef, Ping
from tradebox.supervision.requests import Ignored, SupervisorHandle
from tradebox.supervision.requests import Started as ChildStartedAgain

PROBE_TIMEOUT_S_MAX = 2.0
RESTARTS_ALARMING = 3
RESTARTS_PERIOD_S = 600.0


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """An actor that exists once and must answer. Units: period_s between two probes.

    name is the registry name; supervisor is its parent's, by default the name without its end.
    """

    name: str
    period_s: float
    supervisor: str = ""

    @property
    def timeout_s(self) -> float:
        """How long one question may take."""
        return min(self.period_s / 3, PROBE_TIMEOUT_S_MAX)

    @property
    def parent(self) -> str:
        """The registry name of the supervisor."""
        return self.supervisor or self.name.rpartition(".")[0] or "root"

    @property
    def child_id(self) -> str:
        """The id under that supervisor."""
        return self.name.rpartition(".")[2]

    @property
    def group(self) -> ProbeTarget | None:
        """The branch it belongs to, as something to restart; None right below the root."""
        return None if self.parent == "root" else ProbeTarget(self.parent, self.period_s)


@dataclass(frozen=True, slots=True)
class PairTimes:
    """Units: seconds. beat_s between two signs of life, lease_s until silence counts."""

    beat_s: float = 1.0
    lease_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Beat:
    """From the leader: I hold this epoch and I live."""

    epoch: int


@dataclass(frozen=True, slots=True)
class BeatAck:
    """From the standby: I live."""


@dataclass(frozen=True, slots=True)
class BeatDue:
    """To self: beat, and judge the other's silence."""


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """To self: probe this target; void when the epoch has moved on."""

    target: ProbeTarget
    epoch: int


@dataclass(frozen=True, slots=True)
class FoundQuiet:
    """To self: this incarnation did not answer twice."""

    target: ProbeTarget
    incarnation: int
    epoch: int


ManagerMessage = Beat | BeatAck | BeatDue | ProbeDue | FoundQuiet | Down


@dataclass(slots=True)
class ManagerFigures:
    """What a manager did; only grows."""

    probes: int = 0
    restarts: int = 0
    takeovers: int = 0
    quiet: dict[str, int] = field(default_factory=dict)


class Manager(Actor[ManagerMessage]):
    """One of the two.

    Holds: at most one manager's orders take effect per epoch; at most one restart per (child,
           incarnation); a quiet target is restarted within its period + 2 timeouts while one
           manager lives.
    """

    idle_s = 0.5

    def __init__(
        self,
        partner: ProbeTarget,
        gate: EpochGate,
        targets: Sequence[ProbeTarget],
        market_clock: MarketClock,
        times: PairTimes | None = None,
        probe_with: Callable[[], object] = Ping,
    ) -> None:
        self.figures = ManagerFigures()
        self.epoch: int | None = None
        self._partner = partner
        self._gate = gate
        self._targets = tuple(targets)
        self._market_clock = market_clock
        self._times = PairTimes() if times is None else times
        self._probe_with = probe_with
        self._heard_s = 0.0
        self._beat_at_s = 0.0
        self._watched: int | None = None
        self._ordered: deque[int] = deque(maxlen=256)
        self._restarted_at_s: dict[str, deque[float]] = {}

    @property
    def is_leader(self) -> bool:
        """True while this manager holds the current epoch."""
        return self.epoch is not None and self.epoch == self._gate.epoch

    # --- life -------------------------------------------------------------------------------

    async def init(self, ctx: Context) -> None:
        """Lead when nobody alive does, else stand by."""
        self._ctx = ctx
        now_s = ctx.clock.now()
        self._heard_s = now_s
        self._beat_at_s = now_s
        if self._watch_partner() is None or self._gate.owner != self._partner.name:
            self._lead("nobody leads")
        self._arm_beat()

    def _watch_partner(self) -> ActorRef[object] | None:
        ref = self._ctx.registry.whereis(self._partner.name)
        if ref is not None and ref.incarnation != self._watched:
            self._watched = ref.incarnation
            self._heard_s = self._ctx.clock.now()
            self._ctx.monitor(ref)
        return ref

    def _lead(self, why: str) -> None:
        """Take the control epoch and probe everything at once, in the order given."""
        is_first = not self._gate.owner
        self.epoch = self._gate.acquire(self._ctx.name)
        if not is_first:
            self.figures.takeovers += 1
            self._alert("warning", "manager_takeover", f"{self._ctx.name} leads now: {why}")
        for target in self._targets:
            self._ctx.ref.tell(ProbeDue(target, self.epoch))

    def _arm_beat(self) -> None:
        now_s = self._ctx.clock.now()
        self._beat_at_s = max(self._beat_at_s + self._times.beat_s, now_s)
        self._ctx.send_after(self._beat_at_s - now_s, BeatDue())

    async def handle(self, msg: ManagerMessage) -> None:
        """Beat, watch, probe, order."""
        match msg:
            case Beat(epoch):
                self._on_beat(epoch)
            case BeatAck():
                self._heard_s = self._ctx.clock.now()
            case BeatDue():
                self._on_beat_due()
            case ProbeDue(target, epoch):
                self._on_probe_due(target, epoch)
            case FoundQuiet(target, incarnation, epoch):
                self._on_quiet(target, incarnation, epoch)
            case Down(ref=ref):
                self._on_down(ref)

    # --- the other one ------------------------------------------------------------------------

    def _on_beat(self, epoch: int) -> None:
        self._watch_partner()
        if epoch == self._gate.epoch:
            self.epoch = None
            self._heard_s = self._ctx.clock.now()
            self._tell_partner(BeatAck())

    def _on_down(self, ref: ActorRef[object]) -> None:
        if ref.name != self._partner.name:
            return
        self._heard_s = self._ctx.clock.now()
        if not self.is_leader and self._gate.owner == self._partner.name:
            self._lead(f"{ref.name} ended")

    def _on_beat_due(self) -> None:
        now_s = self._ctx.clock.now()
        if now_s - self._beat_at_s > self._times.lease_s / 2:
            self._heard_s = now_s
        partner = self._watch_partner()
        if self.is_leader and self.epoch is not None:
            self._tell_partner(Beat(self.epoch))
        if partner is not None and now_s - self._heard_s > self._times.lease_s:
            self._on_silence(partner)
        elif partner is None and not self.is_leader and self._gate.owner != self._ctx.name:
            self._lead(f"{self._partner.name} is absent")
        self._arm_beat()

    def _on_silence(self, partner: ActorRef[object]) -> None:
        if not self.is_leader:
            self._lead(f"{partner.name} is silent")
        assert self.epoch is not None
        self._order_restart(self._partner, partner.incarnation, self.epoch)

    def _tell_partner(self, message: Beat | BeatAck) -> None:
        self._ctx.registry.via(self._partner.name).tell(message)

    # --- probes -------------------------------------------------------------------------------

    def _on_probe_due(self, target: ProbeTarget, epoch: int) -> None:
        if self._gate.check(epoch) is not None:
            return
        self._ctx.send_after(target.period_s, ProbeDue(target, epoch))
        ref = self._ctx.registry.whereis(target.name)
        if ref is not None:
            self.figures.probes += 1
            self._ctx.spawn_io(self._probe(target, ref, epoch))

    async def _probe(self, target: ProbeTarget, ref: ActorRef[object], epoch: int) -> None:
        """Ask twice at the most; only two silences in a row count."""
        for _ in range(2):
            try:
                await ref.ask(self._probe_with(), target.timeout_s)
            except (AskTimeout, MailboxFull):
                continue
            except ActorDown:
                return
            return
        self._ctx.ref.tell(FoundQuiet(target, ref.incarnation, epoch))

    def _on_quiet(self, target: ProbeTarget, incarnation: int, epoch: int) -> None:
        self.figures.quiet[target.name] = self.figures.quiet.get(target.name, 0) + 1
        if self._gate.check(epoch) is None:
            self._order_restart(target, incarnation, epoch)

    def _order_restart(self, target: ProbeTarget, incarnation: int, epoch: int) -> None:
        if incarnation in self._ordered:
            return
        self._ordered.append(incarnation)
        text = f"{target.name} does not answer: restarted"
        self._alert("warning", "actor_quiet", text)
        self._ctx.spawn_io(self._restart(target, incarnation, epoch))

    async def _restart(self, target: ProbeTarget, incarnation: int, epoch: int) -> None:
        supervisor = SupervisorHandle(self._ctx.registry.via(target.parent))
        with contextlib.suppress(ActorDown):  # a supervisor that ends takes its children along
            answer = await supervisor.restart_child(target.child_id, incarnation, epoch)
            if isinstance(answer, ChildStartedAgain | Ignored):
                self._count_restart(target)

    def _count_restart(self, target: ProbeTarget) -> None:
        self.figures.restarts += 1
        now_s = self._ctx.clock.now()
        times = self._restarted_at_s.setdefault(target.name, deque(maxlen=RESTARTS_ALARMING))
        times.append(now_s)
        if len(times) == RESTARTS_ALARMING and now_s - times[0] <= RESTARTS_PERIOD_S:
            times.clear()
            text = f"{target.name} was quiet {RESTARTS_ALARMING} times in {RESTARTS_PERIOD_S:g} s"
            self._alert("critical", "actor_quiet_often", f"{text}: its branch is restarted")
            self._order_group_restart(target)

    def _order_group_restart(self, target: ProbeTarget) -> None:
        """Its own restart does not help: restart it with all it stands on."""
        group, epoch = target.group, self.epoch
        ref = None if group is None else self._ctx.registry.whereis(group.name)
        if group is None or ref is None or epoch is None or target.name == self._partner.name:
            return
        if ref.incarnation not in self._ordered:
            self._ordered.append(ref.incarnation)
            self._ctx.spawn_io(self._restart(group, ref.incarnation, epoch))

    def _alert(self, severity: str, kind: str, text: str) -> None:
        at_ns = self._market_clock.now_ns()
        self._ctx.events.publish(AlertRaised(severity, kind, text, at_ns=at_ns))
