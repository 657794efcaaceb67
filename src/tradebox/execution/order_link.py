"""The state of one account's order link, and the one place where orders are handed to it.

Rules of this file:
- a link is CLEAN only after a complete snapshot was delivered and reconciled, and everything
  that may have been missed (connect, 1100, 1101, 1102, a full mailbox, a new listener) asks for
  a new one: each counts a break, and a snapshot older than the last break cleans nothing;
- what an exit or a missing stop waits for is read alone, open orders and positions: the rest of a
  whole look grows with the day; on a link that is not CLEAN every look is whole;
- sending is refused here, whoever asks, unless the state allows it and the database is ours;
- an error code moves the link, never an order;
- an execution or a completed order that the listener took, or says that it knows, is not handed
  to it a second time: each whole look reads the day.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tradebox.domain.events import AlertRaised, LinkChanged
from tradebox.domain.path import LinkState
from tradebox.errors import AccountMismatch, BrokerUnavailable, HeartbeatMissed
from tradebox.execution.codes import row_of
from tradebox.execution.identity import Identity, account_fault, address_fault
from tradebox.execution.windows import LinkWindows
from tradebox.ports.claim import Claim
from tradebox.ports.clock import MarketClock
from tradebox.ports.orders import (
    AccountValueFact,
    BrokerFact,
    CodeFact,
    CompletedOrderFact,
    ExecutionFact,
    FactSink,
    LinkClosed,
    LinkInfo,
    OrderPort,
    OrderTicket,
    SnapshotTaken,
)
from tradebox.supervision.clock import Clock

MONEY_TAGS: Final = frozenset(
    {"NetLiquidation", "TotalCashValue", "TotalCashBalance", "AvailableFunds", "RealizedPnL"}
)
_NS_PER_S: Final = 1_000_000_000
_BLIND_CODES: Final = frozenset({1100, 2110})
_RESTORED_CODES: Final = frozenset({1101, 1102})
_ENTRY_STATES: Final = frozenset({LinkState.CLEAN})
_COUNT_MIN: Final = 10
_TAKEN_MAX: Final = 20_000
_REDUCE_STATES: Final = frozenset({LinkState.CLEAN, LinkState.WINDOW})


@dataclass(frozen=True, slots=True)
class LinkDeadlines:
    """Real seconds. heartbeat_s: between two; the others: how long to wait."""

    heartbeat_s: float = 10.0
    heartbeat_deadline_s: float = 5.0
    snapshot_deadline_s: float = 10.0


class OrderLink:
    """One account's link; shared by the link actor, the reconciler and the order path."""

    def __init__(
        self,
        identity: Identity,
        port: OrderPort,
        client_id: int,
        clock: Clock,
        market_clock: MarketClock,
        publish: Callable[[object], object],
        *,
        deadlines: LinkDeadlines | None = None,
        windows: LinkWindows | None = None,
        claim: Callable[[], Claim] = lambda: Claim.HELD,
    ) -> None:
        self.identity = identity
        self.client_id = client_id
        self.deadlines = deadlines or LinkDeadlines()
        self._port = port
        self._clock = clock
        self._market_clock = market_clock
        self._publish = publish
        self._claim = claim
        self._windows = windows or LinkWindows()
        self._counted_min = 0
        self._base = LinkState.DOWN
        self._shown: LinkState | None = LinkState.DOWN
        self._deliver: FactSink | None = None
        self._money: dict[tuple[str, str], AccountValueFact] = {}
        self._taken: set[BrokerFact] = set()
        self._knows: Callable[[BrokerFact], bool] = lambda _: False
        self._wake: Callable[[], None] = lambda: None
        self._closed_event = asyncio.Event()
        self.info: LinkInfo | None = None
        self.halted: str | None = None
        self.breaks = 0
        self.look_wanted = ""
        """Why a snapshot is wanted; "" = none is."""
        self._look_presses = False
        self._look_is_whole = False
        self.sent_messages = 0
        self.clock_skew_s: Decimal | None = None
        """Real seconds between the gateway's clock and ours; None before its first answer."""

    @property
    def state(self) -> LinkState:
        """The state now, the reset window included."""
        if self._base is LinkState.CLEAN and self._windows.contains(self._market_clock.now_ns()):
            return LinkState.WINDOW
        return self._base

    def mono_ns(self) -> int:
        """Return monotonic time in ns, by which snapshots and sends are ordered."""
        return int(self._clock.now() * _NS_PER_S)

    @property
    def account_id(self) -> str:
        """The broker's name of the account."""
        return self.identity.account_id or ""

    @property
    def gateway(self) -> str:
        """host:port."""
        return f"{self.identity.host}:{self.identity.port}"

    @property
    def account_agrees(self) -> bool:
        """Whether this connection was proven to be the configured account's."""
        return self.info is not None and account_fault(self.identity, self.info) is None

    @property
    def is_connected(self) -> bool:
        """Whether a socket is up, whatever the state."""
        return self._base is not LinkState.DOWN

    async def wait_closed(self, clock: Clock, seconds: float) -> None:
        """Wait until the connection is over, at most this long."""
        closed = self._closed_event
        timer = clock.call_at(clock.now() + seconds, closed.set)
        try:
            await closed.wait()
        finally:
            timer.cancel()
            if self.is_connected:
                closed.clear()

    @property
    def can_enter(self) -> bool:
        """Whether an entry may be sent now."""
        is_ours = self._claim() is Claim.HELD
        return is_ours and self.state in _ENTRY_STATES and self.halted is None

    @property
    def can_reduce(self) -> bool:
        """Whether an exit, a slice or a stop may be sent now."""
        return self.state in _REDUCE_STATES and self._claim().may_send

    def attach(
        self, deliver: FactSink, knows: Callable[[BrokerFact], bool] = lambda _: False
    ) -> None:
        """Send facts to this listener from now on. What it missed is read again.

        knows: says of a fact that it would change nothing; such ones are not handed over.

        The account's money is not part of a snapshot and is streamed minutes apart: the newest
        figures of this connection are handed over.
        """
        self._deliver, self._knows = deliver, knows
        self._taken.clear()
        if self._base is not LinkState.DOWN:
            for fact in self._money.values():
                deliver(fact)
            self._broke("a new listener")

    def on_look_wanted(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a snapshot is wanted."""
        self._wake = wake
        if self.look_wanted:
            wake()

    def want_look(self, reason: str, *, is_pressing: bool = False, is_whole: bool = True) -> None:
        """Ask for a snapshot; asking twice before it starts is asking once.

        is_pressing: something waits for it that reduces a position or covers one.
        is_whole: False where open orders and positions are enough.
        """
        if self._base is LinkState.DOWN or self._base is LinkState.BLIND:
            return
        if not self.look_wanted:
            self.look_wanted = reason
        self._look_presses = self._look_presses or is_pressing
        self._look_is_whole = self._look_is_whole or is_whole
        self._wake()

    async def connect(self) -> LinkInfo:
        """Connect, and prove that the account behind the socket is ours.

        Raises:  BrokerUnavailable; ClientIdInUse; AccountMismatch, with nothing but the
                 handshake on the wire (and not that where the address is refused).
        """
        fault = address_fault(self.identity)
        if fault is not None:
            raise self._mismatch(fault)
        self.info = self.clock_skew_s = None
        self._money.clear()
        info = await self._port.connect(self.on_fact)
        fault = account_fault(self.identity, info)
        if fault is not None:
            self._port.close()
            raise self._mismatch(fault)
        self.info = info
        self._closed_event.clear()
        self._port.watch_account(self.account_id)
        self._broke("connected")
        return info

    def _mismatch(self, fault: str) -> AccountMismatch:
        self._move(LinkState.DOWN, fault)
        self.alert("critical", "account_mismatch", fault)
        return AccountMismatch(fault, account=self.account_id, gateway=self.gateway)

    def close(self, reason: str) -> None:
        """Drop the connection; orders rest at the broker."""
        self._port.close()
        if self._base is not LinkState.DOWN:
            self._closed(reason)

    def halt(self, reason: str) -> None:
        """Open no more risk until a person has looked."""
        if self.halted is None:
            self.halted = reason
            self.alert("critical", "link_halted", reason)

    def on_fact(self, fact: BrokerFact) -> None:
        """Take a fact of the port, in wire order, and hand it on."""
        if isinstance(fact, CodeFact):
            self._on_code(fact)
        if isinstance(fact, AccountValueFact) and fact.tag in MONEY_TAGS:
            self._money[fact.tag, fact.currency] = fact
        if isinstance(fact, LinkClosed):
            self._closed(fact.reason)
        if self._knows(fact):
            return
        if not isinstance(fact, ExecutionFact | CompletedOrderFact):
            self._hand_on(fact)
        elif fact not in self._taken and self._hand_on(fact):
            if len(self._taken) >= _TAKEN_MAX:
                self._taken.clear()
            self._taken.add(fact)

    @property
    def has_listener(self) -> bool:
        """Whether someone takes the facts; without one a snapshot is of no use."""
        return self._deliver is not None

    def _hand_on(self, fact: BrokerFact) -> bool:
        if self._deliver is None:
            return False
        taken = self._deliver(fact)
        if not taken and self._base is not LinkState.DOWN:
            self._broke("a fact was not taken")
        return taken

    def _on_code(self, fact: CodeFact) -> None:
        if fact.code in _BLIND_CODES:
            if self._base is not LinkState.BLIND:
                self.breaks += 1
                self._move(LinkState.BLIND, f"{fact.code}: {fact.text}")
                self.alert("warning", "link_blind", fact.text)
            return
        if fact.code in _RESTORED_CODES:
            if self._base is not LinkState.DOWN:
                self._base = LinkState.SYNCING
                self._broke(f"{fact.code}: {fact.text}")
            return
        row = row_of(fact.code)
        if row.scope != "connection":
            return
        if "HALT_PAGE" in row.actions:
            self.halt(f"code {fact.code}: {fact.text}")
        if "RECON_FULL" in row.actions and self._base is not LinkState.BLIND:
            self._broke(f"{fact.code}: {fact.text}")

    def _broke(self, reason: str) -> None:
        """Something may have been missed: no orders until a newer snapshot is reconciled."""
        self.breaks += 1
        if self._base is LinkState.BLIND:
            return
        self._move(LinkState.SYNCING, reason)
        self.look_wanted = ""
        self.want_look(reason)

    def _closed(self, reason: str) -> None:
        self.breaks += 1
        self._taken.clear()
        self.info = None
        self._take_wish()
        self._closed_event.set()
        self._move(LinkState.DOWN, reason)

    async def take_snapshot(self) -> bool:
        """Read the account, as much of it as is wanted, and put it into the stream of facts.

        Returns False where nobody took it. Raises BrokerUnavailable where it is not complete.
        """
        is_whole = self._take_wish()
        breaks, started_ns = self.breaks, self.mono_ns()
        if self.clock_skew_s is None:
            try:
                await self.heartbeat()
            except HeartbeatMissed as error:
                raise BrokerUnavailable("the gateway does not tell its time") from error
        deadline_s = self.deadlines.snapshot_deadline_s
        snapshot = await self._port.snapshot(deadline_s, is_whole=is_whole)
        return self._hand_on(SnapshotTaken(snapshot, breaks, started_ns))

    def _take_wish(self) -> bool:
        """Forget what look is wanted; return whether it is to be a whole one."""
        is_whole = self._look_is_whole or not self.look_wanted
        self.look_wanted, self._look_presses, self._look_is_whole = "", False, False
        return is_whole or self._base is not LinkState.CLEAN

    def mark_clean(self, breaks: int) -> bool:
        """Say that a snapshot was reconciled; True if nothing broke since it began."""
        if self._base is LinkState.CLEAN:
            return True
        if self._base is not LinkState.SYNCING or breaks != self.breaks:
            return False
        self._move(LinkState.CLEAN, "reconciled")
        return True

    async def heartbeat(self) -> int:
        """Return the gateway's clock in ns. Raises HeartbeatMissed, BrokerUnavailable."""
        self._count_down()
        gateway_ns = await self._port.heartbeat(self.deadlines.heartbeat_deadline_s)
        # Its clock has whole seconds: less than one of them is no difference.
        apart_ns = max(0, abs(self._market_clock.now_ns() - gateway_ns) - _NS_PER_S)
        speed = max(1.0, self._market_clock.speed)
        self.clock_skew_s = round(Decimal(apart_ns) / _NS_PER_S / Decimal(str(speed)), 3)
        return gateway_ns

    def room(self) -> int:
        """Return how many messages may leave now, by the gateway's pace."""
        return self._port.room()

    def look_wait_s(self) -> float:
        """Return how long a snapshot is to wait, so that orders keep their share of the pace."""
        is_whole = self._look_is_whole or self._base is not LinkState.CLEAN
        return self._port.look_wait_s(is_whole=is_whole, is_pressing=self._look_presses)

    def prepare(self, ticket: OrderTicket) -> None:
        """Encode what `send` will write; nothing leaves."""
        self._port.prepare(ticket)

    def _count_down(self) -> None:
        """Show that a window begins or ends, and every ten minutes how long it still lasts."""
        left_min = self._windows.left_min(self._market_clock.now_ns()) or 0
        said = f"a window for {left_min} min more; entries wait" if left_min else "no window"
        if left_min and abs(left_min - self._counted_min) >= _COUNT_MIN:
            self._shown = None
        if left_min == 0 or self._shown is None:
            self._counted_min = left_min
        self._show(said)

    def send(self, ticket: OrderTicket) -> None:
        """Write an order or a modify. Raises BrokerUnavailable; the caller checked the gate."""
        self._check_may_send()
        assert ticket.account_id == self.account_id, ticket
        self._port.send(ticket)
        self.sent_messages += 1

    def ask_margin(self, ticket: OrderTicket) -> None:
        """Write a what-if. Raises BrokerUnavailable."""
        self._check_may_send()
        self._port.ask_margin(ticket)

    def cancel(self, order_id: int) -> None:
        """Write a cancel. Raises BrokerUnavailable."""
        self._check_may_send()
        self._port.cancel(order_id)
        self.sent_messages += 1

    def _check_may_send(self) -> None:
        if not self._claim().may_send:
            raise BrokerUnavailable("the database is not this engine's", state="fenced")
        if not self.can_reduce or not self.account_agrees:
            raise BrokerUnavailable(f"the order link is {self.state}", state=str(self.state))

    def _move(self, state: LinkState, reason: str) -> None:
        self._base = state
        self._show(reason)

    def _show(self, reason: str) -> None:
        state = self.state
        if state is self._shown:
            return
        self._shown = state
        self._publish(
            LinkChanged(
                account=self.identity.name,
                account_id=self.account_id,
                state=state.value,
                gateway=self.gateway,
                reason=reason,
                at_ns=self._market_clock.now_ns(),
            )
        )

    def alert(self, severity: str, kind: str, text: str) -> None:
        """Tell a person something about this link."""
        self._publish(
            AlertRaised(
                severity=severity,
                kind=kind,
                text=f"{self.identity.name} {self.gateway}: {text}",
                account=self.identity.name,
                at_ns=self._market_clock.now_ns(),
            )
        )
