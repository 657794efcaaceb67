"""What the forked engine does: builds what outlives its actors, runs the tree, reports.

Rules of this file:
- everything is made after the fork, once, and handed on explicitly: no globals;
- the tree's end is the engine's end; an ordered stop ends with a summary to the launcher;
- nothing is imported here that the launcher has not loaded already.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop
from loguru import logger

from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.actors.past_bars import PastBarBook
from tradebox.actors.sessions import InstrumentBook, SessionBook
from tradebox.actors.verdicts import VerdictBook
from tradebox.adapters.finnhub.rest import FinnhubRest
from tradebox.adapters.logs import configure_logs
from tradebox.adapters.marketclock import AffineMarketClock, WallMarketClock
from tradebox.adapters.postgres.engine_lock import PgEngineLock, owner_of
from tradebox.adapters.postgres.journal import PgJournal
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.prices import RedisPrices
from tradebox.adapters.redis.rows import RedisRows
from tradebox.app.asks import Asks
from tradebox.app.counters import shared_tick_counters
from tradebox.app.options import RunOptions
from tradebox.app.servers import endpoints, shown_endpoints
from tradebox.app.stopping import Stopper
from tradebox.app.summary import run_summary
from tradebox.app.tree import root_spec
from tradebox.app.vendors import secrets_of
from tradebox.app.verdicts import verdict_of
from tradebox.app.vitals import Vitals
from tradebox.config import Endpoints, Home, Settings
from tradebox.domain.staleness import AgeLimits
from tradebox.domain.tick_filter import FilterLimits
from tradebox.errors import ExitCode
from tradebox.execution.kill_switch import KillSwitch
from tradebox.ports.journal import RunOpened
from tradebox.sim.home import read_identity
from tradebox.supervision.clock import Clock, MonotonicClock
from tradebox.supervision.engine import EngineContext
from tradebox.supervision.events import ChildRestarting, EventBus
from tradebox.supervision.gate import EpochGate, compose_epoch
from tradebox.supervision.preload import freeze
from tradebox.supervision.registry import Registry
from tradebox.supervision.tree import Runtime

LEAVE_S = 1.0
STATEMENT_S_MAX = 3.0
"""Below a controller's check-in: a server that does not answer costs it one wait, not its life."""
FEEDS = ("market.feed_a", "market.feed_b")


@dataclass(frozen=True, slots=True)
class Plant:
    """What is made once per engine and outlives every actor of it."""

    home: Home
    settings: Settings
    options: RunOptions
    context: EngineContext
    places: Endpoints
    run: RunOpened
    clock: Clock
    market_clock: AffineMarketClock | WallMarketClock
    events: EventBus
    registry: Registry
    pool: PgPool
    journal: PgJournal
    reference: PgReference
    bus: RedisBus
    rows: RedisRows
    prices: RedisPrices
    hub: MarketHub
    slot: FeedSlot
    limits: FilterLimits
    verdicts: VerdictBook
    sessions: SessionBook
    instruments: InstrumentBook
    kill: KillSwitch
    claim: PgEngineLock
    feed_epochs: EpochGate
    control_epochs: EpochGate
    vitals: Vitals
    past_bars: PastBarBook = field(default_factory=PastBarBook)

    @property
    def world(self) -> str:
        """The word that stands on every line of a run that is not real."""
        return "SIMULATED" if self.settings.profile == "sim" else ""

    @property
    def boot_epoch(self) -> int:
        """The epoch of this engine: boot counter and generation, as every row carries it."""
        return compose_epoch(self.context.boot_epoch, self.context.generation, 0)

    def print_line(self, text: str) -> None:
        """Have the launcher print a line; dropped when it falls behind."""
        self.context.report("line", {"text": text})

    def report_status(self, blob: dict[str, Any]) -> None:
        """Give the launcher the engine's part of `tradebox status`, addresses masked."""
        shown = {**blob, "endpoints": shown_endpoints(self.places)}
        self.context.report("status", orjson.loads(orjson.dumps(shown, default=str)))

    def give_up(self, why: str) -> None:
        """Have the launcher end the run: another engine acts on this database."""
        self.context.report("stop", {"code": int(ExitCode.STORE), "why": why})

    def quotes(self) -> FinnhubRest:
        """Return a new Finnhub REST client."""
        return FinnhubRest(
            self.places.finnhub_rest or self.settings.finnhub.rest_url, self.finnhub_key()
        )

    def finnhub_key(self) -> str:
        """Return the vendor's key; in profile sim the one minted in the home."""
        if self.settings.finnhub.key is not None and self.settings.profile != "sim":
            return self.settings.finnhub.key.get_secret_value()
        return read_identity(self.home.sim_dir).finnhub_key


def engine_of(
    home: Home, settings: Settings, options: RunOptions, run: RunOpened
) -> Callable[[EngineContext], int]:
    """Return what the launcher runs in each forked engine."""

    def engine(context: EngineContext) -> int:
        places = endpoints(home, settings, context.ready)
        files = configure_logs(
            home.logs_dir,
            "engine",
            profile=settings.profile,
            level=settings.log.level,
            file_mb_max=settings.log.file_mb_max,
            files_max=settings.log.files_max,
            secrets=_secrets(home, settings),
        )
        try:
            return uvloop.run(_serve(home, settings, options, run, context, places))
        finally:
            files.close()

    return engine


async def _serve(
    home: Home,
    settings: Settings,
    options: RunOptions,
    run: RunOpened,
    context: EngineContext,
    places: Endpoints,
) -> int:
    plant = build_plant(home, settings, options, run, context, places)
    loop = asyncio.get_running_loop()
    runtime = Runtime(
        plant.clock, plant.events, plant.registry, slots=context.slots, rule=verdict_of
    )
    stopper = Stopper(plant, runtime)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopper.request)
    context.link.attach(loop, Asks(plant, runtime))
    context.start_heartbeat(loop)
    logger.bind(generation=context.generation, boot_epoch=context.boot_epoch).info("engine_start")
    await runtime.start(root_spec(plant, runtime))
    freeze()
    plant.vitals.ready()
    context.report("ready", {"generation": context.generation})
    logger.info("engine_ready")
    reason = await runtime.wait()
    plant.vitals.stop()
    context.report("summary", await run_summary(plant))
    await plant.pool.close()
    await plant.bus.close()
    logger.bind(reason=str(reason)).info("engine_end")
    code = int(ExitCode.OK if reason.expected else ExitCode.FAILED)
    if runtime.kernel.zombies:
        context.link.close(LEAVE_S)
        os._exit(code)  # a loop that ends waits for every task, and these are deaf
    return code


def build_plant(
    home: Home,
    settings: Settings,
    options: RunOptions,
    run: RunOpened,
    context: EngineContext,
    places: Endpoints,
) -> Plant:
    """Make everything that outlives the actors. Raises nothing for a store that is away."""
    clock, events, sessions = MonotonicClock(), EventBus(), SessionBook()
    market_clock: AffineMarketClock | WallMarketClock = (
        AffineMarketClock(Path(places.market_clock_file))
        if places.market_clock_file is not None
        else WallMarketClock()
    )
    assert places.postgres_trade is not None, "migrated, so there is a database"
    assert places.redis_engine is not None, "an address, whether it answers or not"
    pool = _pool(places.postgres_trade, settings, clock)
    bus = RedisBus(places.redis_engine)
    limits = FilterLimits.of(settings.feed.filter, market_clock.speed)
    hub = MarketHub(
        market_clock,
        limits.stale_ns_max,
        counters=shared_tick_counters(context.counters),
        is_open=sessions.is_open,
        ages=AgeLimits.of(settings.tiers, settings.feed.filter, market_clock.speed),
    )
    _count_restarts(context, events)
    feed_epochs = EpochGate(context.boot_epoch, context.generation, "feed")
    slot = FeedSlot(
        FEEDS,
        AdmissionGate(feed_epochs, hub.deliver),
        clock,
        market_clock,
        events.publish,
        hang_s_max=settings.feed.hang_ms_max / 1000,
    )
    return Plant(
        home=home,
        settings=settings,
        options=options,
        context=context,
        places=places,
        run=run,
        clock=clock,
        market_clock=market_clock,
        events=events,
        registry=Registry(),
        pool=pool,
        journal=PgJournal(pool, run.run_id),
        reference=PgReference(pool),
        bus=bus,
        rows=RedisRows(bus),
        prices=RedisPrices(bus, settings.feed.price_ttl_ms),
        hub=hub,
        slot=slot,
        limits=limits,
        verdicts=_join(slot, hub, sessions),
        sessions=sessions,
        instruments=InstrumentBook(),
        kill=KillSwitch(home.kill_file),
        claim=PgEngineLock(
            places.postgres_trade,
            owner_of(home.root),
            connect_s_max=settings.postgres.connect_timeout_s,
        ),
        feed_epochs=feed_epochs,
        control_epochs=EpochGate(context.boot_epoch, context.generation, "control"),
        vitals=Vitals(clock, events),
    )


def _count_restarts(context: EngineContext, events: EventBus) -> None:
    restarts = context.counters.counter("restarts")
    events.attach(ChildRestarting, lambda _: restarts.add())


def _pool(dsn: str, settings: Settings, clock: Clock) -> PgPool:
    """Return the engine's pool; the journal's actor keeps it."""
    connect_s = settings.postgres.connect_timeout_s
    return PgPool(
        dsn, clock, connect_s_max=connect_s, statement_s_max=STATEMENT_S_MAX, is_kept=True
    )


def _join(slot: FeedSlot, hub: MarketHub, sessions: SessionBook) -> VerdictBook:
    """Let the feeds know what is near and which hours these are, and whom they decide for.

    The book takes what the active one does not accept.
    """
    verdicts = VerdictBook()
    slot.on_verdict = verdicts.note
    slot.near, slot.on_polled = hub.near, hub.poll
    slot.hours, slot.session = sessions.hours, sessions.session
    return verdicts


def _secrets(home: Home, settings: Settings) -> list[str]:
    """Return every secret value of the home, for the log's redaction."""
    kept = [
        path.read_text(encoding="utf-8", errors="replace").strip()
        for path in home.secrets_dir.iterdir()
        if path.is_file()
    ]
    kept += secrets_of(settings)
    if settings.profile == "sim":
        identity = read_identity(home.sim_dir)
        kept += [
            identity.finnhub_key,
            identity.alphavantage_key,
            identity.alphavantage_premium_key,
        ]
    return kept
