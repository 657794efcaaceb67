"""The failover of two feeds as a pure state machine: events in, actions out.

Rules of this file:
- at most one member is ACTIVE; only a WARM member is promoted; roles are sticky, no failback;
- an exit always fails over; suspicion (a hang, a late check-in) is damped and held down;
- a stalled loop or two quiet members are never a reason to fail over;
- time comes as an argument, in seconds of the runtime's monotonic clock.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

FLAP_PENALTY = 1000.0
FLAP_HALF_LIFE_S = 15.0
FLAP_SUPPRESS = 3000.0
FLAP_RELEASE = 1000.0
HOLD_DOWN_S = 2.0


class Role(StrEnum):
    """Where a member of the pair is in its life."""

    DOWN = "down"
    STARTING = "starting"
    WARM = "warm"
    ACTIVE = "active"
    FENCED = "fenced"


class Cause(StrEnum):
    """Why the epoch moved, or why it should."""

    START = "start"
    EXIT = "exit"
    HANG = "hang"
    CHECKIN = "checkin"
    REPORT = "report"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Started:
    """A new incarnation of a member begins to warm up."""

    member: str


@dataclass(frozen=True, slots=True)
class Warmed:
    """A member has caught up: its lag is 0 and its filter state is its partner's."""

    member: str


@dataclass(frozen=True, slots=True)
class Exited:
    """A member is gone."""

    member: str


@dataclass(frozen=True, slots=True)
class Suspected:
    """A member looks hung.

    Units:   loop_late_s: how late the observer's own timer was; limit_s: the limit that was
             passed. is_partner_quiet: the partner got no further either.
    """

    member: str
    cause: Cause
    loop_late_s: float
    limit_s: float
    is_partner_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A member says of itself that it cannot go on."""

    member: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The admission gate refused a member: its epoch is old."""

    member: str


@dataclass(frozen=True, slots=True)
class SwapAsked:
    """A person or the schedule wants the other member in front."""


PairEvent = Started | Warmed | Exited | Suspected | Reported | Refused | SwapAsked


@dataclass(frozen=True, slots=True)
class Promote:
    """Give `member` the next epoch and let it push what its partner has not admitted."""

    member: str
    old: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class RestartMember:
    """Have the supervisor replace the member; it comes back as standby."""

    member: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class RaiseAlarm:
    """Tell a person; kind is a stable word."""

    kind: str
    text: str


PairAction = Promote | RestartMember | RaiseAlarm


@dataclass(frozen=True, slots=True)
class PairState:
    """Roles of the two members and the memory of past takeovers."""

    names: tuple[str, str]
    roles: tuple[Role, Role] = (Role.DOWN, Role.DOWN)
    penalty: float = 0.0
    penalty_at_s: float = 0.0
    is_suppressed: bool = False
    held_down_until_s: float = float("-inf")

    def role(self, member: str) -> Role:
        """Return the role of a member."""
        return self.roles[self.names.index(member)]

    def partner(self, member: str) -> str:
        """Return the other one."""
        return self.names[1 - self.names.index(member)]

    @property
    def active(self) -> str | None:
        """The member that holds the epoch, if any."""
        for name, role in zip(self.names, self.roles, strict=True):
            if role is Role.ACTIVE:
                return name
        return None

    def with_role(self, member: str, role: Role) -> "PairState":
        """Return the state with one role changed."""
        at = self.names.index(member)
        first, second = self.roles
        return replace(self, roles=(role, second) if at == 0 else (first, role))


Answer = tuple[PairState, tuple[PairAction, ...]]


def step(state: PairState, event: PairEvent, now_s: float) -> Answer:
    """Return the next state and what to do, in order.

    Holds:   at most one ACTIVE; Promote names a member that was WARM; no Promote from Suspected
             while the loop stalled, both are quiet, within the hold-down or while suppressed.
    """
    state = _decay(state, now_s)
    match event:
        case Started(member):
            return _started(state, member, now_s)
        case Warmed(member):
            return _warmed(state, member, now_s)
        case Exited(member):
            return _exited(state, member, now_s)
        case Suspected():
            return _suspected(state, event, now_s)
        case Reported(member):
            return _reported(state, member, now_s)
        case Refused(member):
            if state.role(member) is Role.ACTIVE:
                return state, ()
            return state.with_role(member, Role.FENCED), ()
        case SwapAsked():
            return _swap(state, now_s)


def _decay(state: PairState, now_s: float) -> PairState:
    elapsed_s = max(0.0, now_s - state.penalty_at_s)
    penalty = state.penalty * 0.5 ** (elapsed_s / FLAP_HALF_LIFE_S)
    is_suppressed = state.is_suppressed and penalty >= FLAP_RELEASE
    return replace(state, penalty=penalty, penalty_at_s=now_s, is_suppressed=is_suppressed)


def _take_over(state: PairState, member: str, old: str, cause: Cause, now_s: float) -> Answer:
    assert state.role(member) is Role.WARM, (member, state.roles)
    assert state.active in (None, old), (old, state.roles)
    if state.role(old) is Role.ACTIVE:
        state = state.with_role(old, Role.FENCED)
    state = state.with_role(member, Role.ACTIVE)
    if cause is not Cause.START:
        penalty = state.penalty + FLAP_PENALTY
        state = replace(
            state,
            penalty=penalty,
            is_suppressed=state.is_suppressed or penalty >= FLAP_SUPPRESS,
            held_down_until_s=now_s + HOLD_DOWN_S,
        )
    return state, (Promote(member, old, cause),)


def _started(state: PairState, member: str, now_s: float) -> Answer:
    actions: tuple[PairAction, ...] = ()
    if state.role(member) is Role.ACTIVE:
        state, actions = _exited(state, member, now_s)
    return state.with_role(member, Role.STARTING), actions


def _warmed(state: PairState, member: str, now_s: float) -> Answer:
    if state.role(member) not in (Role.STARTING, Role.FENCED):
        return state, ()
    state = state.with_role(member, Role.WARM)
    if state.active is not None:
        return state, ()
    return _take_over(state, member, state.partner(member), Cause.START, now_s)


def _exited(state: PairState, member: str, now_s: float) -> Answer:
    was_active = state.role(member) is Role.ACTIVE
    state = state.with_role(member, Role.DOWN)
    if not was_active:
        return state, ()
    partner = state.partner(member)
    if state.role(partner) is Role.WARM:
        return _take_over(state, partner, member, Cause.EXIT, now_s)
    return state, (RaiseAlarm("feed_no_standby", f"{member} ended and {partner} is not warm"),)


def _suspected(state: PairState, event: Suspected, now_s: float) -> Answer:
    member, partner = event.member, state.partner(event.member)
    role = state.role(member)
    if event.loop_late_s >= event.limit_s / 2 or role is Role.DOWN:
        return state, ()
    if role is not Role.ACTIVE:
        return state, (RestartMember(member, event.cause),)
    if event.is_partner_quiet:
        return state, (RaiseAlarm("feed_both_quiet", "both feeds are quiet"),)
    if state.role(partner) is not Role.WARM:
        return state, (RaiseAlarm("feed_no_standby", f"{member} hangs, {partner} is not warm"),)
    if state.is_suppressed:
        # Left to the supervisor: its kill is an exit, which fails over and counts as a restart.
        text = f"too many takeovers: {member} is restarted by its supervisor"
        return state, (RaiseAlarm("feed_flapping", text), RestartMember(member, event.cause))
    if now_s < state.held_down_until_s:
        return state, ()
    state, actions = _take_over(state, partner, member, event.cause, now_s)
    return state, (*actions, RestartMember(member, event.cause))


def _reported(state: PairState, member: str, now_s: float) -> Answer:
    partner = state.partner(member)
    if state.role(member) is not Role.ACTIVE or state.role(partner) is not Role.WARM:
        return state, (RestartMember(member, Cause.REPORT),)
    state, actions = _take_over(state, partner, member, Cause.REPORT, now_s)
    return state, (*actions, RestartMember(member, Cause.REPORT))


def _swap(state: PairState, now_s: float) -> Answer:
    active = state.active
    if active is None or state.role(state.partner(active)) is not Role.WARM:
        return state, (RaiseAlarm("feed_swap_refused", "no warm standby to swap to"),)
    return _take_over(state, state.partner(active), active, Cause.PLANNED, now_s)
