"""An order path of our own over a stand-in gateway and an embedded PostgreSQL, for one part alone.

Rules of this file:
- path, link, socket, commits and gateway are the engine's own; what is left out is the engine;
- the gateway is a process of its own and its ledger is the clock of what arrived there;
- facts are taken one at a time, as a controller takes them; the account is read by the engine's
  own reconciler, at its pace.
"""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from bench.live_run import environ
from tradebox.actors.controller import TIMER_S
from tradebox.actors.reconciler import ReconcilerActor
from tradebox.adapters.embedded.lease import stores
from tradebox.adapters.embedded.secrets import role_passwords
from tradebox.adapters.finnhub.rest import FinnhubRest
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.adapters.marketclock import market_clock_of
from tradebox.adapters.postgres.migrate import migrate
from tradebox.adapters.postgres.orders import PgOrderStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.spool import Spool
from tradebox.config import AccountSettings, Home, LimitSettings, load_settings
from tradebox.domain.market import AdmittedTick, Instrument, Quality, Source
from tradebox.domain.orders import AccountName
from tradebox.domain.path import LinkState
from tradebox.execution.identity import Identity
from tradebox.execution.kill_switch import KillSwitch
from tradebox.execution.order_link import LinkDeadlines, OrderLink
from tradebox.execution.order_path import OrderPath
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.execution.symbol_facts import SymbolFacts
from tradebox.ports.clock import MarketClock
from tradebox.ports.ticks import Quote
from tradebox.sim.market.data import load
from tradebox.sim.market.more import with_symbols
from tradebox.sim.market.replay import Replay
from tradebox.supervision.actor import Context
from tradebox.supervision.clock import MonotonicClock

STOP_S_MAX = 20.0
POLL_S = 0.005
ANSWER_S = 30.0
CLIENT_ID = 11


@dataclass(frozen=True)
class Place:
    """A home with a gateway and a database. ready: what the stand-in said at its start."""

    home: Home
    ready: dict[str, Any]
    dsn: str

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Yield the gateway's rows."""
        with Path(self.ready["ledger_file"]).open() as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)


@contextmanager
def place(*arguments: str) -> Iterator[Place]:
    """Start a stand-in and a PostgreSQL on a fresh home; end both with it."""
    folder = Path(tempfile.mkdtemp(prefix="tradebox-bench-"))
    home = Home(folder / "h")
    home.root.mkdir(mode=0o700)
    process = subprocess.Popen(
        [sys.executable, "-m", "tradebox.sim", "--home", str(home.root), "--json", *arguments],
        stdout=subprocess.PIPE,
        env=environ(),
        text=True,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        with stores(home, load_settings(home, environ={})) as addresses:
            asyncio.run(migrate(addresses.postgres_owner, role_passwords(home)))
            yield Place(home, ready, addresses.postgres_trade)
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S_MAX)
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


class KnownFacts(SymbolFacts):
    """Every symbol trades a lot, and nothing is due."""

    def day_volume(self, symbol: str) -> int | None:
        """Return many shares."""
        del symbol
        return 100_000_000

    def last_close(self, symbol: str) -> Decimal | None:
        """Return what no limit asks for here."""
        del symbol
        return None

    def ex_date(self, symbol: str) -> str | None:
        """Return that nothing is due."""
        del symbol
        return ""


class AskedPrices:
    """Prices as they were last asked for: the bench asks before it needs one."""

    def __init__(self, clock: MarketClock) -> None:
        self._clock = clock
        self.prices: dict[str, Decimal] = {}

    def last(self, symbol: str) -> AdmittedTick | None:
        """Return the price as of now."""
        price = self.prices.get(symbol)
        if price is None:
            return None
        now_ns = self._clock.now_ns()
        return AdmittedTick(
            symbol, int(price * 1_000_000), 1, now_ns, now_ns, Source.FINNHUB, Quality.LIVE, 1, 1,
            1,
        )  # fmt: skip

    def quality_now(self, symbol: str) -> Quality:
        """Return what every price here is worth."""
        del symbol
        return Quality.LIVE


@dataclass(frozen=True)
class _Ground:
    """What the reconciler uses of an actor's context."""

    clock: MonotonicClock
    spawn_io: Callable[[Coroutine[Any, Any, None]], object]


class Desk:
    """One account's path, pumped as a controller pumps it."""

    def __init__(self, at: Place, pool: PgPool) -> None:
        self.place = at
        self.clock = MonotonicClock()
        settings = load_settings(at.home, environ={})
        self.market_clock = market_clock_of(at.home, settings)
        host, _, port = str(at.ready["gateway_paper"]).partition(":")
        account = str(at.ready["accounts"]["paper"])
        identity = Identity("sim", AccountName.PAPER, account, host, int(port))
        self.port = IbOrderPort(host, int(port), CLIENT_ID, self.clock)
        self.link = OrderLink(
            identity,
            self.port,
            CLIENT_ID,
            self.clock,
            self.market_clock,
            lambda event: event,
            deadlines=LinkDeadlines(snapshot_deadline_s=ANSWER_S),
        )
        self.prices = AskedPrices(self.market_clock)
        self.instruments: dict[str, Instrument] = {}
        world = PathWorld(
            clock=self.clock,
            market_clock=self.market_clock,
            prices=self.prices,
            instrument=self.instruments.get,
            session_is_open=lambda _: True,
            publish=lambda event: event,
            facts=KnownFacts(),
        )
        limits = {"orders_per_s_max": 1000, "orders_per_min_max": 10_000}
        settings = AccountSettings(limits=LimitSettings(close_collar_share_max=None))
        rules = replace(PathRules.of(settings, "sim", AccountName.PAPER), **limits)
        store = PgOrderStore(pool)
        self.keeper = RecordKeeper(
            AccountName.PAPER,
            store,
            Spool(at.home, "paper"),
            self.clock,
            self.market_clock,
            run_id="bench",
            epoch=1,
        )
        kill = KillSwitch(at.home.root / "KILL")
        self.path = OrderPath(self.link, store, self.keeper, kill, world, rules)
        key = json.loads(Path(at.ready["identity_file"]).read_text())["finnhub_key"]
        self.vendor = FinnhubRest(str(at.ready["finnhub"]), key)
        self.facts: deque[Any] = deque()
        self.events: list[Any] = []
        self.turn = asyncio.Lock()
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Connect, reconcile, and wait for the account's money."""
        await self.path.recover()
        self.path.attach(self._deliver)
        await self.link.connect()
        await self.look()
        await self.until(lambda: self.path.account_state.net_liquidation_usd, "the money")

    def _deliver(self, fact: Any) -> bool:
        self.facts.append(fact)
        self._wake.set()
        return True

    async def look(self) -> None:
        """Reconcile: read the account, and take every fact of it."""
        await self.link.take_snapshot()
        await self.drain()
        assert self.link.state is LinkState.CLEAN, self.link.state

    async def drain(self) -> None:
        """Take what was delivered."""
        while self.facts:
            self.events += await self.path.on_fact(self.facts.popleft())

    async def pump(self) -> None:
        """Take facts as they come, look when that is wanted, let time pass; until cancelled."""
        async with asyncio.TaskGroup() as group:
            reconciler = ReconcilerActor(self.link)
            await reconciler.init(cast("Context", _Ground(self.clock, group.create_task)))
            while True:
                async with self.turn:
                    await self.drain()
                self._wake.clear()
                try:
                    async with asyncio.timeout(TIMER_S):
                        await self._wake.wait()
                except TimeoutError:
                    async with self.turn:
                        self.events += await self.path.on_timer()

    async def until(self, holds: Any, what: str) -> None:
        """Wait until something holds. Raises TimeoutError naming it."""
        until_s = time.monotonic() + ANSWER_S
        while not holds():
            if time.monotonic() > until_s:
                raise TimeoutError(f"never happened: {what}")
            await asyncio.sleep(POLL_S)
            async with self.turn:
                await self.drain()

    async def know(self, symbol: str) -> Instrument:
        """Ask for a symbol's price, and for its contract where no table names it."""
        if symbol not in self.instruments:
            found = await self.port.instrument(symbol, ANSWER_S)
            assert found is not None, symbol
            self.instruments[symbol] = found
        quote = await self.vendor.quote(symbol)
        assert isinstance(quote, Quote), quote
        self.prices.prices[symbol] = Decimal(quote.price_micros) / 1_000_000
        return self.instruments[symbol]


@asynccontextmanager
async def desk_at(at: Place) -> AsyncIterator[Desk]:
    """Give a started desk; everything of it is closed after."""
    pool = PgPool(at.dsn, MonotonicClock())
    desk = Desk(at, pool)
    try:
        await desk.start()
        yield desk
    finally:
        desk.link.close("the bench ends")
        await desk.vendor.close()
        await pool.close()


def symbols_of(at: Place) -> list[str]:
    """Return the symbols that the stand-in trades by itself."""
    return sorted(one.instrument.symbol for one in Replay(load(), at.ready["seed"]).series)


def listed(count: int) -> list[Instrument]:
    """Return so many of its contracts, synthetic ones too, as the books hold them after a day."""
    found = [one.instrument for one in with_symbols(load(), count).series]
    return [
        Instrument(
            one.symbol,
            one.con_id,
            one.primary_exchange,
            one.currency,
            Decimal(one.increment_micros) / 1_000_000,
            one.name,
        )
        for one in sorted(found, key=lambda one: one.symbol)
    ]
