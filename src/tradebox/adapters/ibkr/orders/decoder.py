"""From frames to facts, in wire order: ib_async's decoder with our own reader behind it.

Rules of this file:
- ib_async's Trade objects, events and status guesses are not used: they call live orders dead;
- the library's decoder logs and swallows what it cannot read; here such bytes end the connection;
- an execution's time is read from its text, because the library takes the host's zone;
- executions and completed orders are said again, word for word, at every look of the day: what
  was read once is not read a second time.
"""

from collections.abc import Callable
from datetime import UTC, tzinfo
from hashlib import blake2b
from typing import Any, Final, TypeVar

from ib_async.contract import Contract, ContractDetails
from ib_async.decoder import Decoder
from ib_async.objects import BarData, CommissionReport
from ib_async.order import Order, OrderState
from loguru import logger

from tradebox.adapters.ibkr import wire
from tradebox.errors import WireInvalid
from tradebox.ports.orders import (
    AccountValueFact,
    BrokerFact,
    CodeFact,
    CommissionFact,
    CompletedOrderFact,
    ExecutionFact,
    OrderStatusFact,
    PositionFact,
)

F = TypeVar("F")
KNOWN_MAX: Final = 20_000
"""Messages kept by their words; more than a busy day has."""
UNKNOWN_MAX: Final = 64
READ_ERRORS: Final = (ValueError, LookupError, TypeError, ArithmeticError, WireInvalid)


class FactReader:
    """What the decoder calls; turns each message into one fact or one END marker.

    on_fact: gets every fact in wire order. on_end: gets (kind, request id or -1, value).
    on_gone: the socket closed, or a message could not be read; gets the reason.
    """

    def __init__(
        self,
        on_fact: Callable[[BrokerFact], None],
        on_end: Callable[[str, int, object], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._fact = on_fact
        self._end = on_end
        self.gone = on_gone
        self.accounts: tuple[str, ...] = ()
        self.next_valid_id = 0
        self._contracts: dict[int, list[ContractDetails]] = {}
        self._bars: dict[int, list[BarData]] = {}
        self._completed: CompletedOrderFact | None = None

    # The names below are the library's.

    def connectAck(self) -> None:  # noqa: N802
        """Nothing to do: readiness is managedAccounts and nextValidId."""

    def nextValidId(self, order_id: int) -> None:  # noqa: N802
        """The lowest order id the gateway takes from this client."""
        self.next_valid_id = order_id
        self._end("next_valid_id", -1, order_id)

    def managedAccounts(self, text: str) -> None:  # noqa: N802
        """The accounts of this login."""
        self.accounts = tuple(part for part in text.split(",") if part)

    def setEventsDone(self) -> None:  # noqa: N802
        """The library says so whenever the socket is gone, ready or not."""
        self.gone("the gateway closed the connection")

    def connectionClosed(self) -> None:  # noqa: N802
        """As setEventsDone."""

    def error(self, request_id: int, code: int, text: str, _advanced: str = "") -> None:
        """A code: a fact that triggers a look, never a state."""
        self._fact(CodeFact(request_id, code, text))
        self._end("error", request_id, code)

    def openOrder(  # noqa: N802
        self, order_id: int, contract: Contract, order: Order, state: OrderState
    ) -> None:
        """An echo of a working order, or the answer to a what-if, which is no order."""
        if order.whatIf:
            self._fact(wire.margin_of(order_id, state))
        else:
            self._fact(wire.open_order_of(order_id, contract, order, state))

    def openOrderEnd(self) -> None:  # noqa: N802
        """END of open orders."""
        self._end("open_orders", -1, None)

    def orderStatus(self, *fields: Any) -> None:  # noqa: N802
        """A status, as often and in whatever order the broker says it."""
        (order_id, status, filled, remaining, average, perm_id, parent_id) = fields[:7]
        self._fact(
            OrderStatusFact(
                order_id=order_id,
                client_id=fields[8],
                perm_id=perm_id,
                parent_id=parent_id,
                status=status,
                filled=wire.quantity_of(filled),
                remaining=wire.quantity_of(remaining),
                average_price=wire.quantity_of(average),
                why_held=fields[9],
            )
        )

    def execution(self, request_id: int, fact: ExecutionFact) -> None:
        """An execution, live or replayed."""
        del request_id
        self._fact(fact)

    def execDetailsEnd(self, request_id: int) -> None:  # noqa: N802
        """END of executions."""
        self._end("executions", request_id, None)

    def commissionReport(self, report: CommissionReport) -> None:  # noqa: N802
        """What an execution cost, once that is known."""
        commission = wire.decimal_of(report.commission)
        if commission is None:
            return
        self._fact(
            CommissionFact(
                exec_id=report.execId,
                commission=commission,
                currency=report.currency,
                realised_pnl=wire.decimal_of(report.realizedPNL),
            )
        )

    def completedOrder(  # noqa: N802
        self, contract: Contract, order: Order, state: OrderState
    ) -> None:
        """An order that is done today."""
        self._completed = wire.completed_of(contract, order, state)
        self._fact(self._completed)

    def take_completed(self) -> CompletedOrderFact | None:
        """Return the completed order that was read last, once."""
        found, self._completed = self._completed, None
        return found

    def again(self, fact: CompletedOrderFact) -> None:
        """A completed order that was read before."""
        self._fact(fact)

    def completedOrdersEnd(self) -> None:  # noqa: N802
        """END of completed orders."""
        self._end("completed", -1, None)

    def position(self, account: str, contract: Contract, quantity: float, cost: float) -> None:
        """A position; what is no stock keeps its type in its name, so that it matches none."""
        is_stock = contract.secType in ("STK", "")
        self._fact(
            PositionFact(
                account=account,
                symbol=contract.symbol if is_stock else f"{contract.symbol}:{contract.secType}",
                con_id=contract.conId,
                quantity=wire.quantity_of(quantity),
                average_cost=wire.quantity_of(cost),
            )
        )

    def positionEnd(self) -> None:  # noqa: N802
        """END of positions."""
        self._end("positions", -1, None)

    def updateAccountValue(  # noqa: N802
        self, tag: str, value: str, currency: str, account: str
    ) -> None:
        """One figure of the account."""
        self._fact(AccountValueFact(account, tag, value, currency))

    def updatePortfolio(self, *_fields: object) -> None:  # noqa: N802
        """Positions are read by their own request."""

    def accountDownloadEnd(self, _account: str) -> None:  # noqa: N802
        """Account values stream on; their END starts nothing."""

    def currentTime(self, seconds: int) -> None:  # noqa: N802
        """The gateway's clock."""
        self._end("current_time", -1, seconds)

    def contractDetails(self, request_id: int, details: ContractDetails) -> None:  # noqa: N802
        """A contract that fits the question."""
        self._contracts.setdefault(request_id, []).append(details)

    def contractDetailsEnd(self, request_id: int) -> None:  # noqa: N802
        """END of contracts."""
        self._end("contracts", request_id, self._contracts.pop(request_id, []))

    def historicalData(self, request_id: int, bar: BarData) -> None:  # noqa: N802
        """A past day."""
        self._bars.setdefault(request_id, []).append(bar)

    def historicalDataEnd(self, request_id: int, _start: str, _end: str) -> None:  # noqa: N802
        """END of past days."""
        self._end("bars", request_id, self._bars.pop(request_id, []))


class FactDecoder(Decoder):
    """The library's decoder, strict: a message that cannot be read ends the connection."""

    def __init__(self, reader: FactReader, default_zone: tzinfo = UTC) -> None:
        self._reader = reader
        self._default_zone = default_zone
        self._unknown: set[str] = set()
        self._executions: dict[bytes, ExecutionFact] = {}
        self._completed: dict[bytes, CompletedOrderFact] = {}
        super().__init__(reader, 0)  # type: ignore[arg-type]  # it names its own wrapper class

    def wrap(self, methodName: str, types: list[type], skip: int = 2) -> Callable[..., None]:  # noqa: N803
        """Return a handler that reads the fields by type and lets errors out."""
        method = getattr(self._reader, methodName, None)

        def handler(fields: list[str]) -> None:
            if method is None:
                return
            values = [
                _READERS[kind](text) for kind, text in zip(types, fields[skip:], strict=False)
            ]
            method(*values)

        return handler

    def interpret(self, fields: list[str]) -> None:
        """Decode one message; unknown ids are told once, unreadable ones end the connection."""
        try:
            handler = self.handlers.get(int(fields[0]))
            if handler is None:
                self._pass_over(fields[0])
                return
            handler(fields)
        except READ_ERRORS as error:
            self._reader.gone(f"unreadable message {fields[:1]}: {error!r}")

    def _pass_over(self, message_id: str) -> None:
        """Say once a connection that the broker tells something that nobody here knows."""
        if message_id not in self._unknown and len(self._unknown) < UNKNOWN_MAX:
            self._unknown.add(message_id)
            logger.bind(message_id=message_id).warning("broker_message_unknown")

    def execDetails(self, fields: list[str]) -> None:  # noqa: N802
        """Read an execution by position, with exact decimals and the zone of its text."""
        request_id = int(fields[1])
        words = _digest([str(request_id == -1), *fields[2:]])
        fact = self._executions.get(words)
        if fact is None:
            fact = self._execution(fields, is_live=request_id == -1)
            _keep(self._executions, words, fact)
        self._reader.execution(request_id, fact)

    def completedOrder(self, fields: list[str]) -> None:  # noqa: N802
        """Read a completed order by the library, or know it again."""
        words = _digest(fields)
        fact = self._completed.get(words)
        if fact is not None:
            self._reader.again(fact)
            return
        super().completedOrder(fields)  # type: ignore[no-untyped-call]
        fact = self._reader.take_completed()
        if fact is not None:
            _keep(self._completed, words, fact)

    def _execution(self, fields: list[str], *, is_live: bool) -> ExecutionFact:
        return ExecutionFact(
            order_id=int(fields[2] or 0),
            client_id=int(fields[22] or 0),
            perm_id=int(fields[21] or 0),
            order_ref=fields[26],
            account=fields[16],
            symbol=fields[4],
            con_id=int(fields[3] or 0),
            side=wire.side_of(fields[18]),
            quantity=wire.quantity_of(fields[19]),
            price=wire.quantity_of(fields[20]),
            exec_id=fields[14],
            at_ns=wire.time_ns(fields[15], self._default_zone),
            is_live=is_live,
        )


def _digest(fields: list[str]) -> bytes:
    """Return what stands for a message's words: 16 bytes instead of some thousand."""
    return blake2b("\0".join(fields).encode(), digest_size=16).digest()


def _keep(known: dict[bytes, F], words: bytes, fact: F) -> None:
    if len(known) >= KNOWN_MAX:
        known.clear()
    known[words] = fact


_READERS: Final[dict[type, Callable[[str], Any]]] = {
    str: lambda text: text,
    int: lambda text: int(text or 0),
    float: lambda text: float(text or 0),
    bool: lambda text: bool(int(text or 0)),
}
