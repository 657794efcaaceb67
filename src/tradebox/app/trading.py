"""The trading branch of one account: order link, reconciler, controller, and what they share.

Rules of this file:
- link, spool and keeper are made once per engine, so that a restarted actor finds them again;
- path and plans are made anew at each start of the controller, from PostgreSQL;
- live trades in profiles sim and live only; in profile sim both talk to the stand-in.
"""

import os
from typing import TYPE_CHECKING

from tradebox.actors.controller import Controller
from tradebox.actors.order_link import OrderLinkActor
from tradebox.actors.reconciler import ReconcilerActor
from tradebox.adapters.ibkr.orders.port import IbOrderPort
from tradebox.adapters.postgres.capabilities import PgCapabilities
from tradebox.adapters.postgres.commands import PgCommands
from tradebox.adapters.postgres.orders import PgOrderStore
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.spool import Spool
from tradebox.app.beside import Beside
from tradebox.config import AccountSettings
from tradebox.config.settings import NIGHTLY_WINDOWS
from tradebox.domain.market import Instrument
from tradebox.domain.orders import AccountName
from tradebox.execution.commands import CommandDesk
from tradebox.execution.demo import Demo
from tradebox.execution.identity import Identity
from tradebox.execution.order_link import LinkDeadlines, OrderLink
from tradebox.execution.order_path import OrderPath
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.plan_runner import PlanRunner
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.execution.symbol_facts import SymbolFacts
from tradebox.execution.windows import LinkWindows
from tradebox.supervision.spec import Backoff, ChildSpec, Rank, RestartScope, SupFlags
from tradebox.supervision.supervisor import nested

if TYPE_CHECKING:
    from tradebox.app.engine import Plant

CONTROLLER_CHECKIN_S = 5.0
PAST_BARS_S_MAX = 10.0
"""Below the check-in of who asks; the broker's farm of history may sleep until it is asked."""
HANDLER_S_MAX = 0.040
"""CPU of one message: above what a controller with some hundred plans needs, below a burn."""
PAPER_PATIENCE = Backoff(initial_s=0.2, max_s=30.0)
LIVE_CONFIRM = "TRADEBOX_LIVE_CONFIRM"


def account_names(plant: "Plant") -> tuple[AccountName, ...]:
    """Return the accounts that trade in this profile, live first."""
    if plant.settings.profile == "paper":
        return (AccountName.PAPER,)
    return (AccountName.LIVE, AccountName.PAPER)


def account_spec(plant: "Plant", name: AccountName) -> ChildSpec:
    """Return the branch of one account: a failure of the link restarts what hangs on it.

    Only live may end the engine: paper's branch waits longer each time instead of escalating.
    """
    desk = _Desk(plant, name)
    flags = SupFlags(strategy=RestartScope.REST_FOR_ONE, intensity=5, period=60.0)
    children = [
        ChildSpec(
            id="link",
            start=lambda: OrderLinkActor(desk.link),
            shutdown=1.0,
            checkin=CONTROLLER_CHECKIN_S,
        ),
        ChildSpec(
            id="reconciler",
            start=lambda: ReconcilerActor(desk.link),
            shutdown=1.0,
            checkin=CONTROLLER_CHECKIN_S,
        ),
        ChildSpec(
            id="controller",
            start=desk.controller,
            shutdown=2.0,
            checkin=CONTROLLER_CHECKIN_S,
            init_timeout=10.0,
            budget=HANDLER_S_MAX,
            rank=Rank.URGENT if name is AccountName.LIVE else Rank.PATIENT,
        ),
    ]
    patience = PAPER_PATIENCE if name is AccountName.PAPER else None
    return nested(name.value, flags, children, gate=plant.control_epochs, backoff=patience)


class _Desk:
    """What the three actors of one account share."""

    def __init__(self, plant: "Plant", name: AccountName) -> None:
        self._plant = plant
        self._name = name
        settings = _settings(plant, name)
        places = plant.places
        is_live = name is AccountName.LIVE
        address = places.gateway_live if is_live else places.gateway_paper
        assert address is not None, "the launcher waits for the gateway's address"
        identity = Identity(
            profile=plant.settings.profile,
            name=name,
            account_id=places.account_live if is_live else places.account_paper,
            host=address[0],
            port=address[1],
            live_is_confirmed=_live_is_confirmed(plant),
        )
        self._port = IbOrderPort(identity.host, address[1], settings.client_id, plant.clock)
        self._deadline_s = settings.snapshot_deadline_s
        plant.past_bars.brokers[name.value] = lambda symbol: self._port.daily_bars(
            symbol, PAST_BARS_S_MAX
        )
        self.link = OrderLink(
            identity,
            self._port,
            settings.client_id,
            plant.clock,
            plant.market_clock,
            plant.events.publish,
            deadlines=LinkDeadlines(
                settings.heartbeat_s, settings.heartbeat_deadline_s, settings.snapshot_deadline_s
            ),
            windows=_windows(plant, settings),
            claim=lambda: plant.claim.claim,
        )
        self._store = PgOrderStore(plant.pool)
        self._keeper = RecordKeeper(
            name,
            self._store,
            Spool(plant.home, name.value),
            plant.clock,
            plant.market_clock,
            run_id=plant.run.run_id,
            epoch=plant.boot_epoch,
            publish=plant.events.publish,
        )

    def controller(self) -> Controller:
        """Return a controller with a fresh path and fresh plans."""
        plant = self._plant
        facts = SymbolFacts(self._bars_are_read)
        beside = Beside(plant.slot, plant.market_clock)
        world = PathWorld(
            clock=plant.clock,
            market_clock=plant.market_clock,
            prices=plant.hub,
            instrument=plant.instruments.get,
            session_is_open=plant.sessions.is_open,
            publish=plant.events.publish,
            facts=facts,
            spread_share=beside.spread_share,
            is_halted=beside.is_halted,
        )
        rules = PathRules.of(_settings(plant, self._name), plant.settings.profile, self._name)
        path = OrderPath(self.link, self._store, self._keeper, plant.kill, world, rules)
        runner = PlanRunner(
            self._name,
            path,
            PgPlanStore(plant.pool, plant.run.run_id, plant.boot_epoch),
            plant.reference,
            plant.market_clock,
            plant.clock,
            plant.hub,
            plant.events.publish,
            find_instrument=self._find,
            carrier=self._keeper,
            facts=facts,
            on_turn=path.note_turn,
        )
        demo = Demo(runner, plant.hub, plant.market_clock, plant.clock) if self._demo() else None
        commands = CommandDesk(
            self._name,
            PgCommands(plant.pool, plant.run.run_id, plant.boot_epoch),
            runner,
            path,
            self.link,
            plant.kill,
            plant.clock,
            plant.market_clock,
            capabilities=PgCapabilities(plant.pool),
        )
        return Controller(runner, plant.hub, self.link.attach, demo=demo, commands=commands)

    def _demo(self) -> bool:
        settings = self._plant.settings
        is_paper = self._name is AccountName.PAPER
        return settings.profile == "sim" and settings.sim.demo_plans and is_paper

    def _bars_are_read(self, symbol: str, now_ns: int) -> bool:
        """Say whether past bars are there as far as they come; the stand-in's always are."""
        is_sim = self._plant.settings.profile == "sim"
        return is_sim or self._plant.past_bars.is_read(symbol, now_ns)

    async def _find(self, symbol: str) -> Instrument | None:
        """Ask the broker for a contract, and keep it at hand."""
        found = await self._port.instrument(symbol, self._deadline_s)
        if found is not None:
            self._plant.instruments.put(found)
        return found


def _settings(plant: "Plant", name: AccountName) -> AccountSettings:
    return plant.settings.live if name is AccountName.LIVE else plant.settings.paper


def _windows(plant: "Plant", settings: AccountSettings) -> LinkWindows:
    """Return the windows of a gateway; the stand-in's is there day and night, unless configured."""
    is_default = settings.windows == NIGHTLY_WINDOWS
    if plant.settings.profile == "sim" and is_default:
        return LinkWindows()
    return LinkWindows.of(settings.windows, settings.window_freeze_min)


def _live_is_confirmed(plant: "Plant") -> bool:
    """All three yes's: the setting, the environment, the number typed at the start; one account."""
    settings = plant.settings.live
    known = os.environ.get(LIVE_CONFIRM, "")
    typed = plant.options.live_account
    return bool(settings.enabled and settings.account and known == settings.account == typed)
