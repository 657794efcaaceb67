"""Every combination of wrong live configuration: not one order message reaches the gateway.

Rules of this file:
- the start is the real one: `tradebox run` with a config file, the environment and the typed
  number up to the engine's door, then the engine's own trading desk of each account;
- a wire tap stands before the gateway and counts the messages by their id; 3 is placeOrder;
- where a link comes up at all, an entry is asked for and a ticket is pushed past every gate.
"""

import itertools
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support import exchange_bench
from support.order_world import INSTRUMENTS, KnownFacts, MarketTime, MemoryStore, ScriptedPrices
from support.order_world import enter as entry_of
from support.tws_bench import TwsBench, eventually
from support.wire_tap import ORDER_MESSAGES, PLACE_ORDER, Tap
from tradebox import app
from tradebox.app.servers import endpoints
from tradebox.app.trading import LIVE_CONFIRM, _Desk, account_names
from tradebox.cli.run import run as run_command
from tradebox.config import Home
from tradebox.domain.orders import AccountName
from tradebox.domain.path import RequestDenied
from tradebox.errors import TradeboxError
from tradebox.execution.kill_switch import KillSwitch
from tradebox.execution.order_path import OrderPath
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.ports.claim import Claim
from tradebox.ports.orders import OrderTicket
from tradebox.sim.exchange.accounts import AccountSpec
from tradebox.supervision.clock import MonotonicClock

LIVE, OTHER, PAPER, SIM = "U1234567", "U7654321", "DU1234567", "SIM1234567L"


NUMBERS = [LIVE, OTHER, PAPER, SIM, ""]
PORTS = ["live", "paper", "4002", "7497"]


@dataclass(frozen=True)
class Start:
    """What a person writes, sets and types. port: whose gateway live.port names."""

    enabled: bool = True
    typed: str = LIVE
    confirmed: str = LIVE
    configured: str = LIVE
    port: str = "live"


def is_right(start: Start, managed: str) -> bool:
    """All agree on one live account, whichever it is."""
    numbers = {start.typed, start.confirmed, start.configured, managed}
    return start.enabled and start.port == "live" and len(numbers) == 1 and managed in (LIVE, OTHER)


class World:
    """Two gateways behind taps, and starts of the program against them."""

    def __init__(self, bench: TwsBench, folder: Path, monkeypatch) -> None:
        self.bench = bench
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.clock = MonotonicClock()
        self.market_time = MarketTime(bench.market.clock)
        self.taps = {"live": Tap(bench.live_address), "paper": Tap(bench.address)}
        self.ports: dict[str, int] = {"4001": 4001, "4002": 4002, "7496": 7496, "7497": 7497}
        self.paper_port = "paper"
        self.is_waived = False

    async def start(self) -> None:
        for name, tap in self.taps.items():
            self.ports[name] = (await tap.start())[1]

    @property
    def connections(self) -> int:
        return sum(tap.connections for tap in self.taps.values())

    @property
    def order_messages(self) -> int:
        return sum(tap.sent[kind] for tap in self.taps.values() for kind in ORDER_MESSAGES)

    def plant_of(self, start: Start, profile: str = "live", paper: str = PAPER) -> Any:
        """Go through the command up to the engine's door; None where it does not open."""
        home = Home(self.folder / "home")
        home.root.mkdir(mode=0o700, exist_ok=True)
        account = f'account = "{start.configured}"\n' if start.configured else ""
        home.config_file.write_text(
            f'profile = "{profile}"\n[finnhub]\nkey = "none"\n'
            f'[postgres]\nurl = "postgresql://x:x@127.0.0.1:1/x"\n'
            f'[redis]\nurl = "redis://127.0.0.1:1"\n'
            f'[paper]\naccount = "{paper}"\nport = {self.ports[self.paper_port]}\n'
            f"[live]\nenabled = {str(start.enabled).lower()}\n{account}"
            f"port = {self.ports[start.port]}\n"
            f"first_day_cap_waived = {str(self.is_waived).lower()}\n"
        )
        if start.confirmed:
            self.monkeypatch.setenv(LIVE_CONFIRM, start.confirmed)
        else:
            self.monkeypatch.delenv(LIVE_CONFIRM, raising=False)
        begun: list[tuple[Any, Any]] = []
        self.monkeypatch.setattr(
            app, "run", lambda _, settings, options: begun.append((settings, options)) or 0
        )
        try:
            run_command(home=home.root, tui=False, live_account=start.typed)
        except TradeboxError:
            return None
        ((settings, options),) = begun
        return SimpleNamespace(
            home=home,
            settings=settings,
            options=options,
            places=endpoints(home, settings, {}),
            clock=self.clock,
            market_clock=self.market_time,
            events=SimpleNamespace(publish=lambda event: event),
            claim=SimpleNamespace(claim=Claim.HELD),
            pool=SimpleNamespace(keep=lambda lane: None),
            run=SimpleNamespace(run_id="run-1"),
            boot_epoch=1,
            past_bars=SimpleNamespace(brokers={}),
        )

    async def ended(self) -> int:
        """Wait until every connection's last byte was read; return the order messages of all."""
        await eventually(lambda: not any(tap.open for tap in self.taps.values()), "the last byte")
        return self.order_messages

    async def trade(self, plant: Any, name: AccountName, shares: int = 1) -> str:
        """Try everything that could send an order; return what came of it.

        The confirmation is read when the desk is built, as it is in an engine.
        """
        desk = _Desk(plant, name)
        desk._keeper._store = store = MemoryStore()
        world = PathWorld(
            self.clock, self.market_time, ScriptedPrices(self.bench.market), INSTRUMENTS.get,
            self.bench.market.clock.is_open, plant.events.publish, KnownFacts(),
        )  # fmt: skip
        own = plant.settings.live if name is AccountName.LIVE else plant.settings.paper
        rules = PathRules.of(own, plant.settings.profile, name)
        kill = KillSwitch(plant.home.root / "KILL")
        path = OrderPath(desk.link, store, desk._keeper, kill, world, rules)
        facts: deque[object] = deque()
        await path.recover()
        path.attach(lambda fact: facts.append(fact) or True)
        try:
            return await self._ask(desk.link, path, facts, shares)
        finally:
            desk.link.close("the case ends")

    async def _ask(self, link, path, facts, shares) -> str:
        said = "connected"
        try:
            await link.connect()
            await link.take_snapshot()
        except TradeboxError as error:
            said = type(error).__name__
        else:
            await eventually(lambda: any(getattr(f, "tag", "") == "AvailableFunds" for f in facts))
        while facts:
            await path.on_fact(facts.popleft())
        await path.request(entry_of(quantity=shares))
        denied = [one for one in path.take_events() if isinstance(one, RequestDenied)]
        if denied:
            said = f"{said}: {denied[0].denied.check}"
            if not link.account_agrees:
                with pytest.raises(TradeboxError):
                    link.send(ticket_of(link))
        await self._flushed(link)
        return said

    async def _flushed(self, link) -> None:
        """Wait until the tap has read what was written before this."""
        if link.is_connected:
            await link.heartbeat()


def ticket_of(link) -> OrderTicket:
    request = entry_of()
    intent = SimpleNamespace(order_ref="tbl-1", side=request.side, role="entry", symbol="AAPL")
    return OrderTicket(
        1, intent, link.account_id, INSTRUMENTS["AAPL"], 1, request.order_type, request.tif, None,
        None, 0, transmit=True,
    )  # fmt: skip


@asynccontextmanager
async def world_of(folder, monkeypatch):
    accounts = (AccountSpec("paper", PAPER, 100_000), AccountSpec("live", LIVE, 100_000))
    monkeypatch.setattr(exchange_bench, "ACCOUNTS", accounts)
    bench = await TwsBench(None).start()
    world = World(bench, folder, monkeypatch)
    await world.start()
    try:
        yield world
    finally:
        for tap in world.taps.values():
            await tap.stop()
        await bench.stop()


@pytest.mark.asyncio
@pytest.mark.parametrize("port", PORTS)
async def test_no_wrong_configuration_sends_an_order_for_live(tmp_path, monkeypatch, port):
    tried = Counter()
    async with world_of(tmp_path, monkeypatch) as world:
        for values in itertools.product([True, False], NUMBERS, NUMBERS, NUMBERS):
            start = Start(*values, port)
            plant = world.plant_of(start)
            for managed in NUMBERS[:4]:
                tried["cases"] += 1
                if plant is None or is_right(start, managed):
                    continue
                world.bench.live.account_id = managed
                said = await world.trade(plant, AccountName.LIVE)
                tried[said] += 1
                assert said.endswith((": link", ": mode")), (start, managed, said)
                assert world.order_messages == 0, (start, managed, said)
        assert await world.ended() == 0
        is_dialled = port in ("live", "paper")
        assert (world.taps[port].connections > 0) if is_dialled else not world.connections
    assert tried["cases"] == 2 * 5 * 5 * 5 * 4
    assert sum(tried.values()) - tried["cases"] > 50, "many starts reach the engine's door"


@pytest.mark.asyncio
@pytest.mark.parametrize("port", ["paper", "live", "4001", "7496"])
async def test_no_wrong_configuration_sends_an_order_for_paper(tmp_path, monkeypatch, port):
    """Paper and live changed places in every way that settings allow, in both profiles."""
    async with world_of(tmp_path, monkeypatch) as world:
        world.paper_port = port
        for profile, configured, managed in itertools.product(
            ["paper", "live"], NUMBERS[:4], NUMBERS[:4]
        ):
            plant = world.plant_of(Start(), profile, paper=configured)
            assert plant is not None
            names = [AccountName.PAPER, *([AccountName.LIVE] if profile == "live" else [])]
            assert set(account_names(plant)) == set(names)
            if port in ("paper", "live") and configured == managed == PAPER:
                continue  # both gateways manage a paper account here, and one is ours
            world.bench.paper.account_id = world.bench.live.account_id = managed
            said = await world.trade(plant, AccountName.PAPER)
            assert said.endswith(": link"), (profile, configured, managed, said)
            assert world.order_messages == 0, (profile, configured, managed, said)
        assert await world.ended() == 0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("is_waived", "shares", "said", "messages"),
    [
        (False, 9, "connected", 2),
        (False, 11, "connected: first_day", 0),
        (True, 11, "connected", 2),
    ],
)
async def test_the_one_right_configuration_trades_and_the_first_day_is_small(
    tmp_path, monkeypatch, is_waived, shares, said, messages
):
    """The control of the grid: nothing there is refused for a reason of its own making."""
    async with world_of(tmp_path, monkeypatch) as world:
        world.is_waived = is_waived
        plant = world.plant_of(Start())
        assert await world.trade(plant, AccountName.LIVE, shares) == said
        assert world.taps["live"].sent[PLACE_ORDER] == messages == world.order_messages
