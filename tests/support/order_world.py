"""One account's order path over the sim gateway: real sockets, real books, a scripted market.

Rules of this file:
- a pump plays the controller: facts in order, a timer now and then, one call at a time;
- nothing sleeps to hope: `until` polls a condition to a deadline.
"""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

from support.tws_bench import TwsBench, eventually
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.config import AccountSettings
from tradebox.domain.market import AdmittedTick, Instrument, Quality, Source
from tradebox.domain.orders import AccountName, OrderType, Side, Tif
from tradebox.domain.path import EnterRequest, Evidence, LinkState
from tradebox.errors import BrokerUnavailable, StoreUnavailable
from tradebox.execution.identity import Identity
from tradebox.execution.kill_switch import KillSwitch
from tradebox.execution.order_link import LinkDeadlines, OrderLink
from tradebox.execution.order_path import OrderPath
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.procedures import Patience
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.execution.symbol_facts import SymbolFacts
from tradebox.ports.order_store import (
    Batch,
    CommissionSeen,
    DaySeen,
    DaySoFar,
    FillSeen,
    KnownOrder,
    LoadedBooks,
    OrderMoved,
    OrderRecorded,
    PermSeen,
    PositionAdjusted,
    SymbolQuarantined,
)
from tradebox.supervision.clock import MonotonicClock

ACCOUNT_ID = "SIM1234567P"
CENT = Decimal("0.01")
INSTRUMENTS = {
    "AAPL": Instrument("AAPL", 265598, "NASDAQ", "USD", CENT, "APPLE INC"),
    "MSFT": Instrument("MSFT", 272093, "NASDAQ", "USD", CENT, "MICROSOFT CORP"),
}
QUICK = Patience(
    entry_partial_s=0.3, cascade_s=0.15, change_s=0.5, look_s=0.15, exit_s=2.0, retry_s=0.05
)


class MemoryStore:
    """OrderStore in memory, for paths whose PostgreSQL is not the point; it can be taken away."""

    def __init__(self) -> None:
        self.orders: dict[str, KnownOrder] = {}
        self.fills = {}
        self.paid: set[str] = set()
        self.adjustments: list[PositionAdjusted] = []
        self.quarantined: dict[str, str] = {}
        self.batches: dict[str, Batch] = {}
        self.is_down = False
        self.days: dict[str, DaySoFar] = {}
        self.rows_by_switch: dict[str, str] = {}

    @property
    def changes(self):
        return [change for batch in self.batches.values() for change in batch.changes]

    async def commit(self, batch: Batch) -> None:
        self._check()
        if batch.batch_id in self.batches:
            return
        self.batches[batch.batch_id] = batch
        for change in batch.changes:
            self._apply(change)

    def _check(self) -> None:
        if self.is_down:
            raise StoreUnavailable("PostgreSQL is away")

    def _apply(self, change) -> None:
        if isinstance(change, OrderRecorded):
            self.orders.setdefault(change.row.order_ref, KnownOrder(change.row))
        elif isinstance(change, OrderMoved) and change.order_ref in self.orders:
            known = self.orders[change.order_ref]
            row = replace(
                known.row,
                state=change.state,
                filled=change.filled,
                quantity=change.quantity,
                limit_price=change.limit_price,
                stop_price=change.stop_price,
            )
            self.orders[change.order_ref] = replace(known, row=row)
        elif isinstance(change, PermSeen):
            known = self.orders[change.order_ref]
            perms = (*known.perm_ids, change.perm_id)
            self.orders[change.order_ref] = replace(known, perm_ids=perms)
        elif isinstance(change, FillSeen):
            self.fills[change.fill.exec_stem] = change.fill
        elif isinstance(change, CommissionSeen):
            self.paid.add(change.exec_stem)
        elif isinstance(change, PositionAdjusted):
            self.adjustments.append(change)
        elif isinstance(change, DaySeen):
            known = self.days.get(change.day, DaySoFar(change.net_liquidation_usd))
            self.days[change.day] = replace(
                known,
                peak_usd=change.peak_usd,
                stops_in_row=change.stops_in_row,
                rejects=change.rejects,
            )
        elif isinstance(change, SymbolQuarantined):
            self.quarantined[change.symbol] = change.reason

    async def load(self, account, client_id) -> LoadedBooks:
        self._check()
        ids = [known.row.order_id for known in self.orders.values()]
        return LoadedBooks(
            orders=tuple(self.orders.values()),
            fills=tuple(self.fills.values()),
            with_commission=tuple(self.fills[stem].exec_id for stem in sorted(self.paid)),
            adjustments=tuple(self.adjustments),
            quarantined=tuple(self.quarantined.items()),
            order_id_max=max(ids, default=0),
        )

    async def day_so_far(self, account, day):
        self._check()
        return self.days.get(day, DaySoFar())

    async def switches(self):
        self._check()
        return dict(self.rows_by_switch)


class MemorySpool:
    def __init__(self) -> None:
        self.records: list[bytes] = []

    def append(self, record: bytes) -> None:
        self.records.append(record)

    def pending(self):
        return tuple(self.records)

    def clear(self) -> None:
        self.records.clear()


class MarketTime:
    """The scripted market's clock as our MarketClock."""

    speed = 1.0

    def __init__(self, clock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        return self._clock.now_ns()


class ScriptedPrices:
    """The scripted market's last prices as the hub gives them."""

    def __init__(self, market) -> None:
        self._market = market
        self.quality = Quality.LIVE

    def last(self, symbol):
        quote = self._market.quote(symbol)
        if quote is None:
            return None
        now_ns = self._market.clock.now_ns()
        return AdmittedTick(
            symbol, quote.last_micros, 100, now_ns, now_ns, Source.FINNHUB, Quality.LIVE, 1, 1, 1
        )

    def quality_now(self, symbol):
        return self.quality


class Judge:
    """Looks at the exchange from outside: what may be sold is held, and one stop at a time."""

    def __init__(self, bench) -> None:
        self._exchange = bench.bench.exchange
        self._bench = bench.bench
        self.faults: list[str] = []
        self.refs: set[str] = set()
        self._exchange.attach("paper", self._look)

    def _look(self, _events) -> None:
        for symbol in ("AAPL", "MSFT"):
            position = self._bench.position(symbol)
            live = [
                order
                for order in self._exchange.open_orders("paper")
                if order.ticket.symbol == symbol and "child" not in order.why_held
            ]
            stops = [order for order in live if order.ticket.order_type.value == "STP"]
            for side in ("SELL", "BUY"):
                held = position if side == "SELL" else -position
                reducing = [
                    order
                    for order in live
                    if order.ticket.side.value == side
                    and (order in stops or order.ticket.tif.value == "IOC")
                ]
                shares = sum(order.remaining for order in reducing)
                if reducing and shares > max(0, held):
                    self.faults.append(f"{symbol}: {side} {shares} live, {held} held")
            if len(stops) > 1:
                self.faults.append(f"{symbol}: {len(stops)} stops live")


class KnownFacts(SymbolFacts):
    """Every symbol trades a lot, and nothing is due."""

    def day_volume(self, symbol):
        return 10_000_000

    def last_close(self, symbol):
        return Decimal(200) if symbol == "MSFT" else Decimal(100)

    def ex_date(self, symbol):
        return ""


class OrderWorld:
    """Everything around one order path; `restart` is a crash of all of it but the gateway."""

    def __init__(self, bench: TwsBench, store, spool, kill_file, **rules) -> None:
        self.bench = bench
        self.store = store
        self.spool = spool
        self.clock = MonotonicClock()
        self.market_time = MarketTime(bench.market.clock)
        self.prices = ScriptedPrices(bench.market)
        self.kill = KillSwitch(kill_file)
        self.published: list[object] = []
        self.events: list[object] = []
        self.errors: list[BaseException] = []
        self._rules = {"patience": QUICK, "absence_gap_s": 0.2, "ack_deadline_s": 1.0, **rules}
        self.port_number = bench.address[1]
        self.judge = Judge(bench)
        self._build()

    def _build(self) -> None:
        host, port = self.bench.address[0], self.port_number
        identity = Identity("sim", AccountName.PAPER, ACCOUNT_ID, host, port)
        self.port = IbOrderPort(host, port, 11, self.clock, connect_deadline_s=2.0)
        self.link = OrderLink(
            identity,
            self.port,
            11,
            self.clock,
            self.market_time,
            self.published.append,
            deadlines=LinkDeadlines(snapshot_deadline_s=2.0),
        )
        world = PathWorld(
            clock=self.clock,
            market_clock=self.market_time,
            prices=self.prices,
            instrument=INSTRUMENTS.get,
            session_is_open=self.bench.market.clock.is_open,
            publish=self.published.append,
            facts=KnownFacts(),
        )
        settings = AccountSettings()
        rules = replace(PathRules.of(settings, "sim", AccountName.PAPER), **self._rules)
        self.keeper = RecordKeeper(
            AccountName.PAPER,
            self.store,
            self.spool,
            self.clock,
            self.market_time,
            run_id="run-1",
            epoch=1,
            publish=self.published.append,
        )
        self.path = OrderPath(self.link, self.store, self.keeper, self.kill, world, rules)
        self.facts = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task] = []

    async def start(self, *, connect: bool = True):
        self.recovered = await self.path.recover()
        self.path.attach(self._deliver)
        looks = asyncio.Event()
        self.link.on_look_wanted(looks.set)
        self._tasks = [
            asyncio.ensure_future(self._guard(self._pump())),
            asyncio.ensure_future(self._guard(self._reconcile(looks))),
        ]
        if connect:
            async with asyncio.timeout(5):
                await self.link.connect()
            await self.until(lambda: self.link.state is LinkState.CLEAN, "a clean link")
            await self.until(lambda: self.path.account_state.net_liquidation_usd, "NLV")
        return self

    def _deliver(self, fact) -> bool:
        self.facts.append(fact)
        self._wake.set()
        return True

    async def _guard(self, work) -> None:
        try:
            await work
        except Exception as error:
            self.errors.append(error)
            raise

    async def _pump(self) -> None:
        while True:
            while self.facts:
                self.events += await self.path.on_fact(self.facts.popleft())
            self._wake.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self._wake.wait()
            except TimeoutError:
                self.events += await self.path.on_timer()

    async def _reconcile(self, looks) -> None:
        while True:
            await looks.wait()
            while wait_s := self.link.look_wait_s():
                await self.clock.sleep(wait_s)
            looks.clear()
            try:
                await self.link.take_snapshot()
            except BrokerUnavailable:
                continue

    async def until(self, condition, what="the condition"):
        def checked():
            if self.errors:
                raise self.errors[0]
            return condition()

        return await eventually(checked, what)

    async def ask(self, request) -> None:
        """Make a request between two turns of the pump, as the controller does."""
        await self.path.request(request)
        self.events += self.path.take_events()

    async def stop(self) -> None:
        self.link.close("the test ends")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def restart(self):
        """Die without a word, and come back with what PostgreSQL and the gateway hold."""
        await self.stop()
        self._build()
        return await self.start()

    def of(self, kind) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def orders(self, role=None) -> list:
        rows = [known.row for known in self.store.orders.values()]
        return [row for row in rows if role is None or row.role is role]


def enter(plan_id="p1", quantity=100, side=Side.BUY, stop="95", **fields) -> EnterRequest:
    values = {
        "plan_id": plan_id,
        "symbol": "AAPL",
        "side": side,
        "quantity": quantity,
        "order_type": OrderType.MARKET,
        "tif": Tif.DAY,
        "limit_price": None,
        "entry_stop_price": None,
        "protective_stop": Decimal(stop),
        "evidence": Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1),
        "reason": "test",
    }
    return EnterRequest(**{**values, **fields})


@asynccontextmanager
async def order_world(tmp_path, *, store=None, rules=None, **settings):
    """A started world; settings go to the exchange."""
    bench = await TwsBench(None, **settings).start()
    world = OrderWorld(
        bench, store or MemoryStore(), MemorySpool(), tmp_path / "KILL", **(rules or {})
    )
    try:
        await world.start()
        yield world
    finally:
        await world.stop()
        await bench.stop()


__all__ = ["ACCOUNT_ID", "MemorySpool", "MemoryStore", "OrderWorld", "SimpleNamespace", "enter"]
