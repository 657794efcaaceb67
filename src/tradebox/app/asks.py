"""What a running engine answers when the command line asks it, by way of the launcher.

Rules of this file:
- a question is answered by the actor it concerns, never by this file's own judgement;
- `harm` and `flood` exist in profile sim alone: there they prove that the tree stands what it
  claims to.
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from tradebox.actors.feed_monitor import SwapFeeds
from tradebox.app.flood import flood
from tradebox.app.trading import account_names
from tradebox.execution.kill_switch import is_symbol
from tradebox.supervision.errors import ActorDown, AskTimeout, MailboxFull
from tradebox.supervision.harm import Harm, harm
from tradebox.supervision.link import Ask
from tradebox.supervision.ref import Ping
from tradebox.supervision.tree import Runtime, TreeRow

if TYPE_CHECKING:
    from tradebox.app.engine import Plant

ANSWER_S = 2.0


class Asks:
    """Answers questions; keeps those under way, so that none is lost half done."""

    def __init__(self, plant: "Plant", runtime: Runtime) -> None:
        self._plant = plant
        self._runtime = runtime
        self._under_way: set[asyncio.Task[None]] = set()

    def __call__(self, ask: Ask) -> None:
        """Answer now, or start to."""
        match ask.name:
            case "swap_feeds":
                self._start(self._swap_feeds(ask))
            case "actor":
                self._actor(ask)
            case "lags":
                ask.reply({"recent_ms": self._plant.vitals.recent_lags_ms()})
            case "confirm_level":
                self._confirm_level(ask)
            case "kill":
                self._kill(ask)
            case "harm" if self._plant.settings.profile == "sim":
                self._harm(ask)
            case "flood" if self._plant.settings.profile == "sim":
                self._start(self._flood(ask))
            case _:
                ask.refuse(f"unknown question {ask.name}")

    def _start(self, answering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(answering)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _swap_feeds(self, ask: Ask) -> None:
        was = self._plant.slot.active
        monitor = self._runtime.registry.via("market.monitor")
        try:
            active = await monitor.ask(SwapFeeds(), ANSWER_S)
        except (ActorDown, AskTimeout, MailboxFull) as error:
            ask.refuse(f"the feed monitor does not answer: {error}")
            return
        if active is None:
            ask.refuse("no warm standby to swap to")
        else:
            ask.reply({"was": was, "active": active, "epoch": self._plant.slot.gate.epoch})

    def _confirm_level(self, ask: Ask) -> None:
        """Have both feeds take a level that waits for a person; refuse where none does."""
        symbol, slot = str(ask.data.get("symbol")), self._plant.slot
        memory = slot.memories.get(slot.active or "")
        state = None if memory is None else memory.states.get(symbol)
        if state is None:
            ask.refuse(f"no prices of {symbol} are asked for")
        elif state.rest.split is None:
            ask.refuse(f"nothing of {symbol} waits for a person")
        else:
            slot.confirm(symbol)
            split = state.rest.split
            answer = {"numerator": split.numerator, "denominator": split.denominator}
            ask.reply({"symbol": symbol, **answer})

    def _kill(self, ask: Ask) -> None:
        """Stop the entries of every account in memory: no store is needed for it."""
        symbol = str(ask.data.get("symbol", ""))
        if symbol and not is_symbol(symbol):
            ask.refuse(f"{symbol} is no symbol")
            return
        self._plant.kill.set(str(ask.data.get("reason", "")) or "asked by a person", symbol)
        ask.reply({"entries": "stopped", "accounts": sorted(account_names(self._plant))})

    def _actor(self, ask: Ask) -> None:
        name = str(ask.data.get("name"))
        found = [row for row in self._runtime.rows() if row.name == name]
        if found:
            ask.reply({each: getattr(found[0], each) for each in TreeRow.__slots__})
        else:
            ask.refuse(f"no actor {name}")

    def _harm(self, ask: Ask) -> None:
        try:
            kind = Harm(str(ask.data.get("how")))
        except ValueError:
            ask.refuse(f"how: one of {', '.join(each.value for each in Harm)}")
            return
        name = str(ask.data.get("actor"))
        incarnation = harm(self._runtime.kernel, name, kind)
        if incarnation is None:
            ask.refuse(f"no actor {name}")
        else:
            mono_ns = time.monotonic_ns()
            answer = {"actor": name, "how": kind.value, "incarnation": incarnation}
            ask.reply({**answer, "mono_ns": mono_ns})

    async def _flood(self, ask: Ask) -> None:
        """Answer when it is over: what the dashboard was told, and what it has handled of it."""
        try:
            per_s, seconds = (float(str(ask.data[name])) for name in ("per_s", "seconds"))
        except (KeyError, ValueError):
            ask.refuse("per_s and seconds: two numbers")
            return
        dashboard = self._runtime.registry.via("dashboard")
        before = await dashboard.ask(Ping(), ANSWER_S)
        told = await flood(dashboard, self._plant.clock, per_s, seconds)
        after = await dashboard.ask(Ping(), ANSWER_S)
        handled = after.handled - before.handled
        ask.reply({"told": told.count, "took_s": told.took_s, "handled": handled})
