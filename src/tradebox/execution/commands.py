"""Carries out what people ask of one account, and answers.

Rules of this file:
- called by the controller between two messages, so that nothing else is under way;
- a command can be carried out twice with the same end: a program may die before it answered;
- what settles a symbol acts on a look that began after it was asked: an older one may lack what a
  person has done at the broker since;
- PostgreSQL away: nobody can ask, and nobody is answered; the kill file works without it.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from tradebox.domain.capabilities import gateway_build
from tradebox.domain.orders import AccountName
from tradebox.errors import PlanInvalid, StoreUnavailable
from tradebox.execution.adoption import Adoption
from tradebox.execution.kill_switch import KillSwitch, is_symbol, kill_name
from tradebox.execution.order_link import OrderLink
from tradebox.execution.order_path import OrderPath
from tradebox.execution.plan_runner import PlanRunner
from tradebox.ports.capability_store import CapabilityStore
from tradebox.ports.clock import MarketClock
from tradebox.ports.command_store import Command, CommandKind, CommandStore
from tradebox.supervision.clock import Clock

PERIOD_S: Final = 0.25
CAPABILITIES_S: Final = 2.0
LOOK_NS_MAX: Final = 20_000_000_000
"""Below the deadline of what a person asks: later it would come as a surprise."""
Answer = Mapping[str, Any]


class CommandDesk:
    """Takes, carries out and answers the commands of one account."""

    def __init__(
        self,
        account: AccountName,
        store: CommandStore,
        runner: PlanRunner,
        path: OrderPath,
        link: OrderLink,
        kill: KillSwitch,
        clock: Clock,
        market_clock: MarketClock,
        *,
        capabilities: CapabilityStore,
    ) -> None:
        self._account = account
        self._store = store
        self._runner = runner
        self._path = path
        self._link = link
        self._kill = kill
        self._clock = clock
        self._market_clock = market_clock
        self._adoption = Adoption(runner, path, market_clock)
        self._capabilities = capabilities
        self._capabilities_due_s = 0.0
        self._is_first = True
        self._due_s = 0.0
        self._looks: list[tuple[Command, int]] = []
        self._do: Mapping[CommandKind, Callable[[Command], Coroutine[Any, Any, Answer | None]]] = {
            CommandKind.PAUSE: self._pause,
            CommandKind.RESUME: self._resume,
            CommandKind.KILL: self._set_kill,
            CommandKind.EXIT: self._exit,
            CommandKind.FLATTEN: self._flatten,
            CommandKind.RECONCILE: self._look,
            CommandKind.ADOPT: self._look,
            CommandKind.RELEASE: self._look,
        }
        self._seen: Mapping[CommandKind, Callable[[Command], Coroutine[Any, Any, Answer]]] = {
            CommandKind.RECONCILE: self._reconcile,
            CommandKind.ADOPT: self._adopt,
            CommandKind.RELEASE: self._release,
        }

    async def on_timer(self) -> None:
        """Carry out what waits; answer the looks that are done."""
        if self._clock.now() < self._due_s:
            return
        self._due_s = self._clock.now() + PERIOD_S
        try:
            await self._read_capabilities()
            await self._answer_looks()
            for command in await self._store.take(self._account, again=self._is_first):
                answer = await self._do[command.kind](command)
                if answer is not None:
                    await self._answer(command, answer)
            self._is_first = False
        except StoreUnavailable:
            return

    async def _read_capabilities(self) -> None:
        """Keep what a drill proved of this gateway at hand; another build knows nothing of it."""
        info, now_s = self._link.info, self._clock.now()
        if info is None or now_s < self._capabilities_due_s:
            return
        self._capabilities_due_s = now_s + CAPABILITIES_S
        build = gateway_build(info.server_version)
        self._path.learn_capabilities(await self._capabilities.proven(self._link.account_id, build))

    async def _answer(self, command: Command, answer: Answer) -> None:
        await self._store.answer(command, answer, self._market_clock.now_ns())

    async def _pause(self, command: Command) -> Answer:
        self._kill.pause(self._account, str(command.args.get("reason", "")))
        return {"done": True, "entries": "paused"}

    async def _resume(self, command: Command) -> Answer:
        symbol = str(command.args.get("symbol", ""))
        if symbol and not is_symbol(symbol):
            return {"done": False, "why": f"{symbol} is no symbol"}
        self._kill.clear(symbol)
        if not symbol:
            self._kill.resume(self._account)
            self._link.halted = None
            await self._path.resume_limits()
        self._kill.read_row(await self._path.read_switches())
        name = self._kill.stopped_by(self._account, symbol)
        if not name:
            return {"done": True, "entries": "on"}
        why = f"{name} still stops entries: its row, or its file in the home's folder run/"
        is_another = bool(symbol) and name != kill_name(symbol)
        return {"done": is_another, "entries": "stopped", "why": why}

    async def _set_kill(self, command: Command) -> Answer:
        symbol = str(command.args.get("symbol", ""))
        if symbol and not is_symbol(symbol):
            return {"done": False, "why": f"{symbol} is no symbol"}
        self._kill.set(str(command.args.get("reason", "")) or "asked by a person", symbol)
        return {"done": True, "entries": "stopped"}

    async def _exit(self, command: Command) -> Answer:
        plan_id = str(command.args.get("plan_id", ""))
        running = self._runner.plans.get(plan_id)
        if running is None:
            why = f"{plan_id} does not run on {self._account}: `tradebox plan list` shows what does"
            return {"done": False, "why": why}
        if not running.state.phase.is_final:
            await self._runner.cancel(plan_id, "a person asked to exit")
        return {"done": True, "plan": plan_id, "state": running.state.phase.value}

    async def _flatten(self, command: Command) -> Answer:
        """Pause, and have every plan leave; what no plan of ours holds is not touched."""
        del command
        self._kill.pause(self._account, "flatten")
        asked = []
        for running in self._runner.active():
            asked.append(running.state.plan_id)
            await self._runner.cancel(running.state.plan_id, "a person asked to flatten")
        return {"done": True, "entries": "paused", "plans": asked}

    async def _look(self, command: Command) -> Answer | None:
        """Have the broker's lists read; the command waits for what they say."""
        if not self._link.is_connected:
            return {"done": False, "why": f"the order link is {self._link.state}"}
        self._looks.append((command, self._link.mono_ns()))
        self._link.want_look("a person asked")
        return None

    async def _answer_looks(self) -> None:
        """Carry out what waited for a look that is done."""
        report = self._path.by_hand.report
        waiting: list[tuple[Command, int]] = []
        try:
            while self._looks:
                command, asked_ns = self._looks.pop(0)
                if report is not None and report["started_mono_ns"] >= asked_ns:
                    await self._answer(command, await self._seen[command.kind](command))
                elif not self._link.is_connected:
                    await self._answer(command, {"done": False, "why": "the order link is down"})
                elif self._link.mono_ns() - asked_ns > LOOK_NS_MAX:
                    why = "the broker's lists could not be read in time: nothing is changed"
                    await self._answer(command, {"done": False, "why": why})
                else:
                    waiting.append((command, asked_ns))
        finally:
            self._looks = waiting + self._looks

    async def _reconcile(self, command: Command) -> Answer:
        del command
        report = self._path.by_hand.report
        assert report is not None, "a look was taken"
        return {"done": True, **report}

    async def _adopt(self, command: Command) -> Answer:
        symbol = str(command.args.get("symbol", ""))
        try:
            document, whole = dict(command.args.get("document", {})), command.args.get("whole")
            plan_id = await self._adoption.adopt(symbol, document, whole=bool(whole))
        except PlanInvalid as invalid:
            return {"done": False, "why": invalid.message}
        return {"done": True, "symbol": symbol, "plan_id": plan_id}

    async def _release(self, command: Command) -> Answer:
        symbol = str(command.args.get("symbol", ""))
        keep = bool(command.args.get("keep", False))
        why = await self._path.by_hand.release(symbol, keep=keep)
        return {"done": not why, "symbol": symbol, "why": why}
