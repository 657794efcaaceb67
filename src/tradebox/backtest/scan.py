"""What the graded settings of a run say now: plans to propose, plans to leave, and why not others.

Rules of this file:
- only bars of closed sessions are looked at, whatever the source holds; bars that miss the last
  closed session say nothing;
- a proposal acts in the next session, or in the one that is open: late where that is long open;
- one plan a symbol: where one is open, only its exit signal is looked for.

Public names: Moment, moment_of, Wish, Proposed, Leaving, Found, scan.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tradebox.backtest.hand_over import Caps, opinion_of_last_bar
from tradebox.backtest.opinion import Opinion
from tradebox.domain.market import Session
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.session import MINUTE_NS, SECOND_NS
from tradebox.errors import NotRunning, PlanInvalid
from tradebox.ports.plan_store import StoredPlan
from tradebox.strategies.bars import Bars
from tradebox.strategies.catalogue import STRATEGIES

LATE_NS: Final = 30 * MINUTE_NS
"""A simulated entry is at the open; later than this, a proposal is not armed by itself."""
SIZE_NOTHING: Final = "the risk, or what the stock carries, allows no whole share"
EPOCH: Final = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Moment:
    """Where now lies.

    last_day: of the last closed session, days since 1970. ahead: the session that proposals act
    in, and those after it.
    """

    now_ns: int
    last_day: int
    ahead: tuple[Session, ...]

    @property
    def late_ns(self) -> int:
        """How long the session that proposals act in has been open; 0 before it."""
        return max(0, self.now_ns - self.ahead[0].open_ns)

    @property
    def is_late(self) -> bool:
        """Say whether an entry now would be far from the open."""
        return self.late_ns > LATE_NS


def moment_of(sessions: Sequence[Session], now_ns: int) -> Moment:
    """Return where now lies between the known sessions. Raises NotRunning where they do not say."""
    closed = [_day(one.day) for one in sessions if one.close_ns <= now_ns]
    ahead = tuple(one for one in sessions if one.close_ns > now_ns)
    if not closed or not ahead:
        raise NotRunning("the trading hours around now are not known: run `tradebox run` once")
    return Moment(now_ns, max(closed), ahead)


class BarStore(Protocol):
    """Where bars come from."""

    @property
    def symbols(self) -> Sequence[str]:
        """Every symbol there is."""
        ...

    def bars(self, symbol: str) -> Bars:
        """Return all bars of a symbol."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What is scanned: the run's row, its good results, the open plans, and the account's caps.

    ends_ns: when the grade expires on the market clock; None where that clock is another.
    """

    run: Mapping[str, Any]
    results: Sequence[Mapping[str, Any]]
    plans: Sequence[StoredPlan]
    caps: Caps = field(default_factory=Caps)
    ends_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Proposed:
    """A plan to propose, and what it stands on (trade.plan.proposal)."""

    document: PlanDocument
    proposal: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leaving:
    """A plan to leave, from an instant on."""

    plan_id: str
    symbol: str
    reason: str
    from_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a scan found. skipped: symbol and why; silent: symbols without a signal."""

    proposals: tuple[Proposed, ...]
    leaving: tuple[Leaving, ...]
    skipped: tuple[tuple[str, str], ...]
    silent: int


def scan(wish: Wish, store: BarStore, when: Moment) -> Found:
    """Return what graded settings and the latest bars say.

    Holds:   a proposal uses bars up to the last closed session alone.
    """
    leaving: list[Leaving] = []
    skipped: list[tuple[str, str]] = []
    proposals: list[Proposed] = []
    silent = 0
    held = {plan.symbol: plan for plan in wish.plans}
    known = frozenset(store.symbols)
    for plan in wish.plans:
        if plan.origin == "strategy" and plan.state == "open":
            found = _leaving(plan, wish, store, known, when)
            if isinstance(found, Leaving):
                leaving.append(found)
            elif found:
                skipped.append((plan.symbol, found))
    for row in wish.results:
        symbol = str(row["symbol"])
        bars = _closed_bars(store, known, symbol, when)
        if isinstance(bars, str):
            skipped.append((symbol, bars))
            continue
        opinion = _opinion(bars, row["strategy"], row["setting"], wish)
        if opinion is None:
            skipped.append((symbol, f"strategy {row['strategy']} is not there any more"))
        elif not opinion.side:
            silent += 1
        elif symbol in held:
            plan = held[symbol]
            skipped.append((symbol, f"{plan.plan_id} is {plan.state}: one plan a stock"))
        elif opinion.size < 1:
            skipped.append((symbol, SIZE_NOTHING))
        else:
            made = _proposed(opinion, row, wish, store, when)
            if isinstance(made, Proposed):
                proposals.append(made)
            else:
                skipped.append((symbol, made))
    return Found(tuple(proposals), tuple(leaving), tuple(skipped), silent)


def _closed_bars(store: BarStore, known: frozenset[str], symbol: str, when: Moment) -> Bars | str:
    """Return the bars of closed sessions, or why they say nothing."""
    if symbol not in known:
        return "the source has no bars of it"
    bars = store.bars(symbol)
    bars = bars.cut(int(bars.day.searchsorted(when.last_day, side="right")))
    if not len(bars):
        return "no bar is as old as the last closed session"
    if int(bars.day[-1]) < when.last_day:
        return f"stale: the last bar is of {_iso(int(bars.day[-1]))}, {_iso(when.last_day)} closed"
    return bars


def _opinion(bars: Bars, name: str, setting: Mapping[str, Any], wish: Wish) -> Opinion | None:
    strategy = STRATEGIES.get(name)
    if strategy is None:
        return None
    values = {key: float(value) for key, value in setting.items()}
    return opinion_of_last_bar(bars, name, values, wish.run["config"], wish.caps)


def _leaving(
    plan: StoredPlan, wish: Wish, store: BarStore, known: frozenset[str], when: Moment
) -> Leaving | str:
    """Return the end of a plan whose exit signal came, or why that is not known; "" for none."""
    proposal = plan.proposal or {}
    bars = _closed_bars(store, known, plan.symbol, when)
    if isinstance(bars, str):
        return f"{plan.plan_id}: whether to leave is not known: {bars}"
    if int(bars.day[-1]) <= _day(str(proposal["bar_day"])):
        return ""  # it has not been open for a whole session yet
    opinion = _opinion(bars, proposal["strategy"], proposal["setting"], wish)
    if opinion is None:
        return f"{plan.plan_id}: strategy {proposal['strategy']} is not there any more"
    if not (opinion.leaves_long if plan.side.sign > 0 else opinion.leaves_short):
        return ""
    reason = f"exit signal of {proposal['strategy']} at the close of {_iso(opinion.day)}"
    return Leaving(plan.plan_id, plan.symbol, reason, when.ahead[0].open_ns)


def _proposed(
    opinion: Opinion, row: Mapping[str, Any], wish: Wish, store: BarStore, when: Moment
) -> Proposed | str:
    """Return a proposal with its reasons, or why there can be none."""
    acts, bars_max = when.ahead[0], opinion.exits.bars_max
    if bars_max >= len(when.ahead):
        return f"the hours of {bars_max} sessions ahead are not known"
    exit_ns = when.ahead[bars_max].open_ns + SECOND_NS if bars_max else None
    until_ns = acts.close_ns if wish.ends_ns is None else min(acts.close_ns, wish.ends_ns)
    exit_at = None if exit_ns is None else _instant(exit_ns)
    try:
        document = opinion.document(exit_at, _instant(until_ns))
    except PlanInvalid as invalid:
        return invalid.message
    side = "long" if opinion.side > 0 else "short"
    setting = " ".join(f"{name}={value:g}" for name, value in row["setting"].items())
    out = row["metrics"].get("out", {})
    expires = wish.run["expires_at"]
    reasons = [
        f"{row['strategy']} {setting} says {side} at {opinion.close:.2f} on {_iso(opinion.day)}",
        f"grade {row['grade']} of run {wish.run['run_id']}, valid until {expires}",
        f"out of sample {out.get('trades', 0):.0f} trades, {out.get('expectancy_r', 0):.3f} R each",
        f"stop {opinion.stop_share:.2%} from the entry, {opinion.size} shares",
        *opinion.reasons,
    ]
    if exit_at is not None:
        reasons.append(f"out after {bars_max} sessions, at the open of {exit_at[:10]}")
    if when.is_late:
        minutes = when.late_ns // MINUTE_NS
        reasons.append(f"late: the session began {minutes} minutes ago, tests enter at its open")
    newest = int(store.bars(opinion.symbol).day[-1])
    if newest > when.last_day:
        reasons.append(f"the source goes on to {_iso(newest)}: a rehearsal, not evidence")
    proposal = {
        "run_id": wish.run["run_id"],
        "strategy": row["strategy"],
        "setting": dict(row["setting"]),
        "grade": row["grade"],
        "result_hash": row["result_hash"],
        "bar_day": _iso(opinion.day),
        "acts_day": acts.day,
        "until_ns": until_ns,
        "stop_share": opinion.stop_share,
        "close": opinion.close,
        "is_late": when.is_late,
        "expires_at": None if expires is None else str(expires),
        "reasons": reasons,
    }
    return Proposed(document, proposal)


def _day(text: str) -> int:
    return (dt.date.fromisoformat(text) - EPOCH).days


def _iso(day: int) -> str:
    return (EPOCH + dt.timedelta(days=day)).isoformat()


def _instant(at_ns: int) -> str:
    """Return an instant of whole seconds as ISO text in UTC."""
    return dt.datetime.fromtimestamp(at_ns // SECOND_NS, dt.UTC).isoformat()
