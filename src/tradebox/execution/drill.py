"""The broker drill: asks a paper account's gateway, with small orders, what it does.

Rules of this file:
- never on a live account, never beside a position; after each step all of it is undone;
- what is recorded is what was seen: facts in wire order, and never what was hoped for;
- a step that cannot be shown (the market does not play along) finds nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

from tradebox.domain.market import Instrument
from tradebox.domain.money import Rounding, round_to_increment
from tradebox.domain.orders import AccountName, OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.errors import NotDone
from tradebox.ports.orders import (
    BrokerFact,
    CodeFact,
    ExecutionFact,
    LinkInfo,
    OpenOrderFact,
    OrderPort,
    OrderStatusFact,
    OrderTicket,
)
from tradebox.supervision.clock import Clock

SHARES: Final = 10
SHARES_MAX: Final = 5_000
WAIT_S: Final = 4.0
CALM_S: Final = 0.6
POLL_S: Final = 0.02
BURST_S: Final = 0.02
_DONE: Final = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})


@dataclass(frozen=True, slots=True)
class Shown:
    """The top of the book. Sizes in shares."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    ask_size: int


class Quotes(Protocol):
    """Where the drill sees prices; a connection of its own."""

    async def shown(self, symbol: str) -> Shown | None:
        """Return the top of the book, None where there is none."""
        ...

    async def type_of_delayed(self, symbol: str) -> str:
        """Ask for delayed data; return "delayed", "live", or "" where nothing came."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step saw. found: an answer of domain/capabilities.py, "" where it showed nothing."""

    name: str
    found: str
    evidence: dict[str, Any] = field(default_factory=dict)


class DrillBench:
    """One connection, one symbol, and what was said of our orders."""

    def __init__(
        self,
        port: OrderPort,
        quotes: Quotes,
        instrument: Instrument,
        account_id: str,
        clock: Clock,
        token: str,
        *,
        client_id: int,
        calm_s: float = CALM_S,
    ) -> None:
        self.port = port
        self.quotes = quotes
        self.instrument = instrument
        self.account_id = account_id
        self.clock = clock
        self._token = token
        self._client_id = client_id
        self.calm_s = calm_s
        """How long nothing more is said before it counts as said."""
        self._next_id = 0
        self._count = 0
        self.facts: list[tuple[float, BrokerFact]] = []
        self.ours: list[int] = []

    def took(self, fact: BrokerFact) -> None:
        """Keep a fact with the time it came.

        Of another client nothing is kept: lists name its orders, and its order ids are as ours.
        """
        is_named = isinstance(fact, OpenOrderFact | OrderStatusFact | ExecutionFact)
        if is_named and fact.client_id != self._client_id:  # type: ignore[union-attr]  # is_named
            return
        self.facts.append((self.clock.now(), fact))

    def connected(self, info: LinkInfo) -> None:
        """Take over the ids of a connection."""
        self._next_id = max(self._next_id, info.next_valid_id)

    def place(
        self,
        side: Side,
        quantity: int,
        kind: OrderType,
        price: Decimal | None = None,
        *,
        tif: Tif = Tif.DAY,
        parent_id: int = 0,
        transmit: bool = True,
        order_id: int = 0,
        order_ref: str = "",
    ) -> int:
        """Send an order, or a change of one; return its id."""
        if not order_id:
            order_id, self._next_id = self._next_id, self._next_id + 1
            self.ours.append(order_id)
        self._count += 1
        intent = OrderIntent(
            order_ref=order_ref or f"drill-{self._token}-{order_id}",
            plan_id="drill",
            account=AccountName.PAPER,
            symbol=self.instrument.symbol,
            con_id=self.instrument.con_id,
            role=OrderRole.ENTRY,
            side=side,
            quantity=quantity,
            order_type=kind,
            tif=tif,
            transmit=transmit,
        )
        is_stop = kind is OrderType.STOP
        ticket = OrderTicket(
            order_id=order_id,
            intent=intent,
            account_id=self.account_id,
            instrument=self.instrument,
            quantity=quantity,
            order_type=kind,
            tif=tif,
            limit_price=None if is_stop else price,
            stop_price=price if is_stop else None,
            parent_id=parent_id,
            transmit=transmit,
        )
        self.port.send(ticket)
        return order_id

    def at(self, price: Decimal, factor: str) -> Decimal:
        """Return a price times a factor, on the increment."""
        return round_to_increment(
            price * Decimal(factor), self.instrument.increment, Rounding.NEAREST
        )

    def status(self, order_id: int) -> OrderStatusFact | None:
        """Return what was last said of an order."""
        for _at, fact in reversed(self.facts):
            if isinstance(fact, OrderStatusFact) and fact.order_id == order_id:
                return fact
        return None

    def open(self, order_id: int) -> OpenOrderFact | None:
        """Return an order's last echo."""
        for _at, fact in reversed(self.facts):
            if isinstance(fact, OpenOrderFact) and fact.order_id == order_id:
                return fact
        return None

    async def calm(self) -> None:
        """Wait until nothing more is to be expected."""
        await self.clock.sleep(self.calm_s)

    def state(self, order_id: int) -> str:
        """Return the last status word of an order."""
        for _at, fact in reversed(self.facts):
            if isinstance(fact, OrderStatusFact | OpenOrderFact) and fact.order_id == order_id:
                return fact.status
        return ""

    def codes(self, order_id: int, since: int = 0) -> list[int]:
        """Return the codes that named an order, from a place in the facts on."""
        return [
            fact.code
            for _at, fact in self.facts[since:]
            if isinstance(fact, CodeFact) and fact.request_id == order_id
        ]

    def fills(self, order_id: int) -> list[tuple[float, ExecutionFact]]:
        """Return an order's executions, once each, with the time they came."""
        seen: dict[str, tuple[float, ExecutionFact]] = {}
        for at_s, fact in self.facts:
            if isinstance(fact, ExecutionFact) and fact.order_id == order_id:
                seen.setdefault(fact.exec_id, (at_s, fact))
        return list(seen.values())

    def filled(self, order_id: int) -> int:
        """Return the shares of an order that were executed."""
        return sum(int(fact.quantity) for _at, fact in self.fills(order_id))

    async def until(self, condition: Callable[[], object], wait_s: float = WAIT_S) -> bool:
        """Wait for a condition; say whether it came true."""
        end_s = self.clock.now() + wait_s
        while not condition():
            if self.clock.now() > end_s:
                return False
            await self.clock.sleep(POLL_S)
        return True

    async def shown(self) -> Shown:
        """Return the top of the book. Raises NotDone where there is none."""
        shown = await self.quotes.shown(self.instrument.symbol)
        if shown is None or min(shown.bid, shown.ask, shown.last) <= 0:
            raise NotDone(f"{self.instrument.symbol}: no quote to drill with")
        return shown

    async def position(self) -> int:
        """Return what the account holds of the symbol."""
        snapshot = await self.port.snapshot(WAIT_S)
        return sum(
            int(row.quantity)
            for row in snapshot.positions
            if row.account == self.account_id and row.symbol == self.instrument.symbol
        )

    async def clean(self) -> None:
        """Cancel what works and go flat. Raises NotDone where that cannot be had."""
        for order_id in self.ours:
            if self.state(order_id) not in _DONE:
                self.port.cancel(order_id)
        await self.until(lambda: all(self.state(one) in _DONE for one in self.ours))
        self.ours.clear()
        for _ in range(10):
            held = await self.position()
            if held == 0:
                return
            side = Side.SELL if held > 0 else Side.BUY
            await self._leave(side, abs(held))
        raise NotDone(f"{self.instrument.symbol}: the drill cannot get flat; look at the account")

    async def _leave(self, side: Side, shares: int) -> None:
        order_id = self.place(side, shares, OrderType.MARKET)
        await self.until(lambda: self.filled(order_id) >= shares)
        if self.state(order_id) not in _DONE:
            self.port.cancel(order_id)
            await self.until(lambda: self.state(order_id) in _DONE, self.calm_s)

    def ended(self, order_id: int) -> bool:
        """Say whether an order works no more, by the last word on it."""
        return self.state(order_id) in _DONE

    async def hold(self, shares: int = SHARES) -> int:
        """Buy some shares at the market; return the order. Raises NotDone."""
        order_id = self.place(Side.BUY, shares, OrderType.MARKET)
        if not await self.until(lambda: self.filled(order_id) >= shares):
            raise NotDone(f"{shares} shares could not be bought: codes {self.codes(order_id)}")
        return order_id


Step = Callable[[DrillBench], Awaitable[list[Finding]]]
