"""The supervision tree of the engine, as child specs.

root                    one_for_one
├─ stores               journal, claim, bus, verdicts, splits, timekeeper, sessions: start
│                       degraded, never escalate
├─ market               ingest (one a vendor), feed_a, feed_b, monitor, publisher, bars, recorder:
│                       capped backoff, never escalates
├─ managers             manager_a, manager_b
├─ dashboard, alerts, event_log, metrics, printer: who listens, before who acts
└─ trading              live, paper: rest_for_one of order link, reconciler, controller

Rules of this file:
- an id here is a part of the actor's registered name, which others rely on;
- leaf branches restart with backoff, so that none of them can end the engine.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tradebox.actors.alerts import Alerts
from tradebox.actors.bus import BusActor
from tradebox.actors.claim_keeper import ClaimKeeper
from tradebox.actors.dashboard import Dashboard
from tradebox.actors.dashboard_state import DashboardState
from tradebox.actors.event_log import EventLog
from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor
from tradebox.actors.ingest import QUIET_S, Ingest
from tradebox.actors.journal import JournalActor
from tradebox.actors.metrics import Metrics
from tradebox.actors.printer import Printer
from tradebox.actors.redundancy import Manager, PairTimes, ProbeTarget
from tradebox.actors.sessions import SessionKeeper
from tradebox.actors.split_keeper import SplitKeeper
from tradebox.actors.timekeeper import Timekeeper
from tradebox.actors.verdicts import VerdictWriter
from tradebox.adapters.postgres.day_books import PgDayBooks
from tradebox.adapters.postgres.splits import PgSplits
from tradebox.adapters.postgres.verdicts import PgVerdicts
from tradebox.app.keepers import Keepers
from tradebox.app.quote_link import quote_ingests
from tradebox.app.status import feed_rows, header
from tradebox.app.trading import account_names, account_spec
from tradebox.app.vendors import finnhub_stream, polled
from tradebox.domain.market import Source
from tradebox.domain.tier_values import STREAMS, TierLimits
from tradebox.supervision.actor import Actor
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import (
    Backoff,
    ChildSpec,
    Rank,
    RestartScope,
    SupFlags,
)
from tradebox.supervision.supervisor import nested
from tradebox.supervision.tree import Runtime

if TYPE_CHECKING:
    from tradebox.app.engine import Plant

LEAF = Backoff(initial_s=0.05, max_s=5.0)
CHECKIN_S = 2.0
PATIENT = frozenset(
    {"dashboard", "printer", "event_log", "metrics", "journal", "verdicts", "bars", "recorder"}
)
"""Live's mailbox is served before theirs."""

STORE_CHECKIN_S = 15.0
"""Above the longest wait for a store that does not answer."""


def root_spec(plant: "Plant", runtime: Runtime) -> ChildSpec:
    """Return the whole tree.

    Who listens stands before trading, so that no first word of a link is missed, and what the
    dashboard has seen survives its restarts: links are told when they change, not again.
    """
    seen, keepers = DashboardState(), Keepers(plant)
    figures = {
        **_figures(plant),
        **keepers.figures(),
        "mailboxes": runtime.mailbox_figures,
    }
    books = PgDayBooks(plant.pool, plant.boot_epoch)
    children = [
        _branch("stores", _stores(plant)),
        _branch("market", _market(plant, keepers)),
        _branch("managers", _managers(plant)),
        _leaf("dashboard", lambda: _dashboard(plant, runtime, seen, books), STORE_CHECKIN_S),
        _leaf("alerts", lambda: Alerts(plant.market_clock), CHECKIN_S),
        _leaf("event_log", EventLog, CHECKIN_S),
        _leaf("metrics", lambda: Metrics(figures), CHECKIN_S),
        # The launcher mutes its lines while a console has the terminal.
        _leaf("printer", lambda: _printer(plant), CHECKIN_S),
        _branch(
            "trading",
            [account_spec(plant, name) for name in account_names(plant)],
            gate=plant.control_epochs,
        ),
    ]
    flags = SupFlags(intensity=3, period=10.0)
    return nested("root", flags, children, gate=plant.control_epochs)


def _branch(
    name: str,
    children: Sequence[ChildSpec],
    scope: RestartScope = RestartScope.ONE_FOR_ONE,
    *,
    intensity: int = 10,
    period_s: float = 60.0,
    gate: EpochGate | None = None,
) -> ChildSpec:
    flags = SupFlags(strategy=scope, intensity=intensity, period=period_s)
    return nested(name, flags, children, gate=gate)


def _leaf(name: str, start: Callable[[], Actor[Any]], checkin: float | None = None) -> ChildSpec:
    rank = Rank.PATIENT if name in PATIENT else Rank.NORMAL
    return ChildSpec(id=name, start=start, backoff=LEAF, checkin=checkin, shutdown=1.0, rank=rank)


def _stores(plant: "Plant") -> list[ChildSpec]:
    return [
        _leaf(
            "journal",
            lambda: JournalActor(plant.journal, plant.run, plant.market_clock),
            STORE_CHECKIN_S,
        ),
        _leaf(
            "claim",
            lambda: ClaimKeeper(plant.claim, plant.market_clock, plant.give_up),
            STORE_CHECKIN_S,
        ),
        _leaf("bus", lambda: BusActor(plant.bus, plant.market_clock), STORE_CHECKIN_S),
        _leaf("verdicts", lambda: _verdicts(plant), STORE_CHECKIN_S),
        _leaf(
            "splits",
            lambda: SplitKeeper(PgSplits(plant.pool), plant.market_clock, plant.slot.tell_split),
            STORE_CHECKIN_S,
        ),
        _leaf("timekeeper", lambda: Timekeeper(plant.market_clock.refresh), CHECKIN_S),
        _leaf(
            "sessions",
            lambda: SessionKeeper(
                plant.sessions, plant.instruments, plant.reference, plant.market_clock
            ),
            STORE_CHECKIN_S,
        ),
    ]


def _verdicts(plant: "Plant") -> VerdictWriter:
    days = plant.settings.feed.filter
    return VerdictWriter(
        plant.verdicts,
        PgVerdicts(plant.pool),
        plant.market_clock,
        received=lambda: plant.hub.counters.received,
        flag_days=days.flag_days,
        refusal_days=days.refusal_days,
    )


def _market(plant: "Plant", keepers: Keepers) -> list[ChildSpec]:
    settings = plant.settings.feed
    return [
        _leaf("feed_a", lambda: _feed(plant), CHECKIN_S),
        _leaf("feed_b", lambda: _feed(plant), CHECKIN_S),
        _leaf(
            "monitor",
            lambda: FeedMonitor(plant.slot, swap_period_s=settings.swap_period_s),
            CHECKIN_S,
        ),
        _branch(
            "ingest",
            [
                _leaf("finnhub", lambda: _ingest(plant), CHECKIN_S),
                *(_leaf(name, start, CHECKIN_S) for name, start in polled(plant).items()),
                *(_leaf(name, start, CHECKIN_S) for name, start in quote_ingests(plant).items()),
            ],
        ),
        _leaf("publisher", keepers.publisher, STORE_CHECKIN_S),
        *(_leaf(name, start, STORE_CHECKIN_S) for name, start in keepers.actors().items()),
    ]


def tier_limits(plant: "Plant") -> TierLimits:
    """Return the tier policy of the settings: who is not there is not waited for."""
    settings = plant.settings
    asked = frozenset(map(Source, polled(plant)))
    free = settings.alphavantage.plan == "free"
    return TierLimits.of(
        settings.tiers,
        settings.feed.filter,
        plant.market_clock.speed,
        unused=frozenset(Source) - STREAMS - asked,
        eod=frozenset({Source.ALPHAVANTAGE}) if free else frozenset(),
    )


def _feed(plant: "Plant") -> Feed:
    return Feed(
        plant.slot, plant.limits, plant.hub.counters, plant.sessions.is_open, tier_limits(plant)
    )


def _ingest(plant: "Plant") -> Ingest:
    return Ingest(
        finnhub_stream(plant),
        plant.hub,
        plant.slot,
        plant.market_clock,
        quotes=plant.quotes(),
        refresh_clock=plant.market_clock.refresh,
        quiet_s=QUIET_S / max(1.0, plant.market_clock.speed),
    )


def _managers(plant: "Plant") -> list[ChildSpec]:
    times = plant.settings.managers
    targets = [
        ProbeTarget(
            f"trading.{name}.controller",
            times.probe_live_s if name == "live" else times.probe_s,
        )
        for name in account_names(plant)
    ]
    targets.append(ProbeTarget("dashboard", times.probe_s))
    pair = {"manager_a": "manager_b", "manager_b": "manager_a"}

    def manager(partner: str) -> Callable[[], Actor[Any]]:
        return lambda: Manager(
            ProbeTarget(f"managers.{partner}", times.beat_s),
            plant.control_epochs,
            targets,
            plant.market_clock,
            PairTimes(times.beat_s, times.lease_s),
        )

    return [_leaf(name, manager(partner), CHECKIN_S) for name, partner in pair.items()]


def _dashboard(
    plant: "Plant", runtime: Runtime, seen: DashboardState, books: PgDayBooks
) -> Dashboard:
    return Dashboard(
        plant.rows,
        plant.market_clock,
        epoch=plant.feed_epochs.epoch,
        tree=runtime.rows,
        header=lambda: header(plant),
        feeds=lambda: feed_rows(plant),
        report_status=plant.report_status,
        state=seen,
        books=books,
    )


def _printer(plant: "Plant") -> Printer:
    return Printer(
        plant.print_line,
        as_json=plant.options.as_json,
        world=plant.world,
    )


def _figures(plant: "Plant") -> dict[str, Callable[[], dict[str, float]]]:
    counters, gate, events = plant.hub.counters, plant.slot.gate, plant.events
    return {
        "events": lambda: {"published": events.published, "sink_faults": events.sink_faults},
        "ticks": lambda: {
            "received": counters.received,
            "admitted": counters.admitted,
            "published": counters.published,
            "refused": counters.refused,
        },
        "gate": lambda: {
            "duplicates": gate.duplicates,
            "fenced": gate.fenced,
            "gaps": gate.gaps,
        },
        "verdicts": plant.verdicts.figures,
        "engine": plant.vitals.figures,
    }
