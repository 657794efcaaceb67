"""The controller of one account: gives the plan runner prices, facts and time; one class for both.

Rules of this file:
- one message at a time, in order; prices conflate per symbol, facts never do;
- a price reaches so many plans a message: what hundreds of them do at once must not hold up facts;
  a newer price takes the older one's place, and comes first to those that had to wait;
- what time brings about is done in parts, each a message: a price waits for one part at most;
  what a plan is armed by is read beside the messages;
- it listens to the order link only after the books and plans were loaded from PostgreSQL: until
  then it sends nothing, and what the link saw meanwhile is read again;
- PostgreSQL away at the start is waited for in place: stops rest at the broker.
"""

from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tradebox.actors.market_hub import Need
from tradebox.domain.market import AdmittedTick
from tradebox.domain.plan_state import Phase, PlanState
from tradebox.errors import StoreUnavailable
from tradebox.execution.commands import CommandDesk
from tradebox.execution.demo import Demo
from tradebox.execution.plan_runner import ArmingRead, PlanRunner
from tradebox.ports.orders import BrokerFact, FactSink
from tradebox.supervision.actor import NO_REPLY, Actor, Context, ReplyTo
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import ExitReason

TIMER_S: Final = 0.25
PLANS_AT_ONCE: Final = 5
"""So many plans of a symbol see a price in one message: each of them may send orders."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """To self: a quarter of a second has passed."""


@dataclass(frozen=True, slots=True)
class NextPart:
    """To self, behind what waits: go on with what the timer began."""


@dataclass(frozen=True, slots=True)
class OtherPlans:
    """To self, behind what waits: show a price to those plans that it has not reached."""

    tick: AdmittedTick
    plan_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Drain:
    """Question before an ordered stop: begin nothing more, answer when nothing is under way."""


ControllerMessage = AdmittedTick | OtherPlans | TimerFired | NextPart | ArmingRead | BrokerFact


class PriceHub(Protocol):
    """Where prices come from; actors/market_hub.py is the real one."""

    def subscribe(
        self,
        name: str,
        deliver: Callable[[AdmittedTick], object],
        symbols: frozenset[str] | None,
    ) -> None:
        """Deliver admitted ticks; replaces an older subscription of the name."""
        ...

    def unsubscribe(self, name: str) -> None:
        """Stop delivering."""
        ...

    def want(self, owner: str, symbols: frozenset[str]) -> None:
        """Say whose prices are needed."""
        ...

    def need(self, owner: str, needs: Mapping[str, Need]) -> None:
        """Say why, where it is more than watching."""
        ...


class Controller(Actor[ControllerMessage]):
    """Follows the plans of one account.

    Holds:   a price that nobody waits for costs no message; a full mailbox refuses facts, and
             the link then reads everything again.
    """

    mailbox_capacity = 20_000
    """Above what the lists hold after a day of `orders_per_day_max` orders, filled in parts."""
    overflow = Overflow.CONFLATE

    def __init__(
        self,
        runner: PlanRunner,
        hub: PriceHub,
        attach: Callable[[FactSink], None],
        *,
        demo: Demo | None = None,
        commands: CommandDesk | None = None,
    ) -> None:
        self._runner = runner
        self._hub = hub
        self._attach = attach
        self._demo = demo
        self._commands = commands
        self._symbols: frozenset[str] = frozenset()
        self._parts: AsyncGenerator[None, None] | None = None
        self._drained: ReplyTo | None = None
        self._unreached: dict[str, OtherPlans] = {}
        """By symbol: the plans that its last price has not reached."""

    def conflate_key(self, msg: ControllerMessage) -> Hashable | None:
        """Prices of one symbol replace each other; nothing else does."""
        return msg.symbol if isinstance(msg, AdmittedTick) else None

    async def init(self, ctx: Context) -> None:
        """Load what PostgreSQL holds, then listen; or come back to it with the timer."""
        self._ctx = ctx
        self._runner.arm_aside(ctx.spawn_io, ctx.ref.tell)
        await self._load()
        ctx.send_after(TIMER_S, TimerFired())

    async def handle(self, msg: ControllerMessage) -> None:
        """Act on a price, a fact, or the timer."""
        if isinstance(msg, AdmittedTick):
            await self._on_price(msg)
        elif isinstance(msg, OtherPlans):
            await self._on_others(msg)
        elif isinstance(msg, TimerFired):
            await self._on_timer()
        elif isinstance(msg, NextPart):
            await self._go_on()
        elif isinstance(msg, ArmingRead):
            await self._runner.on_arming(msg)
            self._want()
        else:
            await self._runner.on_fact(msg)
        if self._drained is not None and self._runner.is_quiet:
            self._drained.reply(True)
            self._drained = None

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:
        """Answer Drain: at once when nothing is under way, else when the last procedure ends."""
        if not isinstance(req, Drain):
            return await super().handle_call(req, reply_to)
        self._runner.is_draining = True
        if self._runner.is_quiet:
            return True
        self._drained = reply_to
        return NO_REPLY

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening; plans and stops stay as they are."""
        del reason
        if self._parts is not None:
            await self._parts.aclose()
        self._hub.unsubscribe(self._runner.account.value)

    async def _load(self) -> None:
        name = self._runner.account.value
        try:
            await self._runner.load()
        except StoreUnavailable:
            return
        self._want()
        self._hub.subscribe(name, self._deliver, None)
        self._attach(self._ctx.ref.tell)

    async def _on_price(self, tick: AdmittedTick) -> None:
        waiting = self._unreached.pop(tick.symbol, None)
        first = () if waiting is None else waiting.plan_ids
        await self._show(tick, [*dict.fromkeys((*first, *self._runner.plans_of(tick.symbol)))])

    async def _on_others(self, others: OtherPlans) -> None:
        if self._unreached.get(others.tick.symbol) is others:
            del self._unreached[others.tick.symbol]
            await self._show(others.tick, others.plan_ids)

    async def _show(self, tick: AdmittedTick, plan_ids: Sequence[str]) -> None:
        """Show a price to the first plans, and to the others in messages of their own."""
        await self._runner.on_tick(tick, plan_ids[:PLANS_AT_ONCE])
        while plan_ids := plan_ids[PLANS_AT_ONCE:]:
            others = OtherPlans(tick, plan_ids)
            if self._ctx.ref.tell(others):
                self._unreached[tick.symbol] = others
                return
            await self._runner.on_tick(tick, plan_ids[:PLANS_AT_ONCE])

    async def _on_timer(self) -> None:
        if self._runner.is_loaded:
            self._parts = self._timer_parts()
            await self._go_on()
        else:
            await self._load()
            self._ctx.send_after(TIMER_S, TimerFired())

    async def _timer_parts(self) -> AsyncGenerator[None, None]:
        """Do what time brings about, and rest where a price may come between."""
        async with aclosing(self._runner.timer_parts()) as parts:
            async for _ in parts:
                yield
        if self._commands is not None:
            yield
            await self._commands.on_timer()
        if self._demo is not None and not self._runner.is_draining:
            yield
            await self._demo.on_timer()

    async def _go_on(self) -> None:
        """Do one part, and the next when its message comes; a full mailbox waits for all."""
        parts = self._parts
        assert parts is not None, "a timer has begun"
        async for _ in parts:
            self._want()
            if self._ctx.ref.tell(NextPart()):
                return
        self._parts = None
        self._want()
        self._ctx.send_after(TIMER_S, TimerFired())

    def _want(self) -> None:
        extra = frozenset[str]() if self._demo is None else self._demo.symbols
        self._symbols = self._runner.symbols
        name = self._runner.account.value
        needs: dict[str, Need] = {}
        for running in self._runner.active():
            symbol = running.document.symbol
            needs[symbol] = min(needs.get(symbol, Need.WATCHED), _need_of(running.state))
        self._hub.need(name, needs)
        self._hub.want(name, self._symbols | extra | self._runner.watched)

    def _deliver(self, tick: AdmittedTick) -> None:
        if tick.symbol in self._symbols:
            self._ctx.ref.tell(tick)


def _need_of(state: PlanState) -> Need:
    """Return why a plan needs its prices: shares held, an order out, an entry waited for."""
    if state.position > 0:
        return Need.POSITION
    if state.phase in (Phase.ENTERING, Phase.OPEN, Phase.EXITING):
        return Need.ORDER
    return Need.ARMED if state.phase is Phase.ARMED else Need.WATCHED
