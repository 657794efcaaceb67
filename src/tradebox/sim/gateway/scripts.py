"""What a gateway does when a fault begins: notices, lost links, restarts, and the broker's acts.

Rules of this file:
- a fault that names an account concerns the gateway of that account alone;
- what the broker does to orders goes through the exchange and into its ledger;
- a link that is lost ends with its fault: by its time, its count, or when it is cleared.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.orders import ExchangeEvent, OrderType, Side, Ticket
from tradebox.sim.faults import FaultBoard, Value
from tradebox.sim.gateway.gateway_port import GatewayView
from tradebox.sim.gateway.order_messages import commission_report, exec_details
from tradebox.sim.gateway.session import Session
from tradebox.sim.market.prices import micros_of

WITHHELD_EVENTS_MAX = 10_000
_COMPETING = 10197
_NOTICE_TEXTS = {
    1100: "Connectivity between IB and Trader Workstation has been lost.",
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained. "
    "All data farms are connected: usfarm; ushmds; secdefil.",
    2103: "Market data farm connection is broken:usfarm",
    2104: "Market data farm connection is OK:usfarm",
}
_COMPETING_TEXT = "No market data during competing live session"


class ScriptedGateway(GatewayView, Protocol):
    """What the scripts need of a gateway beyond what its sessions do."""

    @property
    def faults(self) -> FaultBoard:
        """Return the board of the gateways."""
        ...

    def acted_ns(self) -> int:
        """Return the market time of what the broker is told to do."""
        ...

    def sessions(self) -> Sequence[Session]:
        """Return the connections that have a client id."""
        ...

    def push(self, events: Sequence[ExchangeEvent]) -> None:
        """Say events to whom they concern."""
        ...


class Scripts:
    """The faults of one gateway that are acts, and its link to the broker."""

    def __init__(self, gateway: ScriptedGateway) -> None:
        self._gateway = gateway
        self._down_until_s = 0.0
        self._is_cut = False
        self._restore_code = 1102
        self._withheld: list[ExchangeEvent] = []
        self._acts: dict[str, Callable[[Mapping[str, Value]], None]] = {
            "disconnect": self._disconnect,
            "half_open": self._fall_silent,
            "notice": self._notice,
            "link_loss": self._cut,
            "nightly_restart": self._restart,
            "replay_executions": self._replay,
            "correct_execution": self._correct,
            "bust_execution": self._bust,
            "mass_errors": self._mass_errors,
            "cancel_by_broker": self._cancel_by_broker,
            "manual_order": self._manual_order,
            "competing_session": self._compete,
        }

    @property
    def is_down(self) -> bool:
        """Say whether the gateway takes no connections, for it restarts."""
        return self._gateway.real_s() < self._down_until_s

    def on_fault(self, name: str, arguments: Mapping[str, Value]) -> None:
        """Let a fault begin."""
        act = self._acts.get(name)
        if act is not None and arguments.get("account") in ("", self._gateway.account_name):
            act(arguments)

    def passes(self, events: Sequence[ExchangeEvent]) -> bool:
        """Say whether events may be pushed now; keep or lose them where the link is cut."""
        if not self._is_cut:
            return True
        fault = self._link_fault()
        if fault is None:
            self.look()
            return True
        if fault["pushes"] == "pass":
            return True
        if fault["pushes"] == "wait" and len(self._withheld) < WITHHELD_EVENTS_MAX:
            self._withheld += events
        return False

    def look(self) -> None:
        """Restore the link once its fault is over."""
        if self._is_cut and self._link_fault() is None:
            self._is_cut = False
            self._say(self._restore_code, _NOTICE_TEXTS.get(self._restore_code, ""))
            withheld, self._withheld = self._withheld, []
            self._gateway.push(withheld)

    def _link_fault(self) -> Mapping[str, Value] | None:
        name = "link_loss"
        if not self._gateway.faults.is_set(name, account=self._gateway.account_name):
            return None
        return self._gateway.take_fault(name)

    def _said_to(self, arguments: Mapping[str, Value]) -> list[Session]:
        client_id = arguments.get("client_id", -1)
        return [one for one in self._gateway.sessions() if client_id in (-1, one.client_id)]

    def _say(self, code: int, text: str) -> None:
        for session in self._gateway.sessions():
            session.say_error(-1, code, text)

    # -- the link -------------------------------------------------------------------------

    def _disconnect(self, arguments: Mapping[str, Value]) -> None:
        for session in self._said_to(arguments):
            session.abort()

    def _fall_silent(self, arguments: Mapping[str, Value]) -> None:
        for session in self._said_to(arguments):
            session.fall_silent()

    def _notice(self, arguments: Mapping[str, Value]) -> None:
        code = int(arguments["code"])
        text = str(arguments["text"]) or _NOTICE_TEXTS.get(code, "")
        for session in self._said_to(arguments):
            for _ in range(int(arguments["repeats"])):
                session.say_error(-1, code, text)

    def _cut(self, arguments: Mapping[str, Value]) -> None:
        self._is_cut, self._restore_code = True, int(arguments["code"])
        self._say(1100, _NOTICE_TEXTS[1100])

    def _restart(self, arguments: Mapping[str, Value]) -> None:
        self._say(1100, _NOTICE_TEXTS[1100])
        self._down_until_s = self._gateway.real_s() + float(arguments["down_s"])
        for session in self._gateway.sessions():
            session.close()

    def _compete(self, _arguments: Mapping[str, Value]) -> None:
        for stream in self._gateway.streams.all():
            stream.session.say_error(stream.request_id, _COMPETING, _COMPETING_TEXT)

    # -- the broker's acts ----------------------------------------------------------------

    @property
    def _exchange(self) -> Exchange:
        return self._gateway.exchange

    def _replay(self, _arguments: Mapping[str, Value]) -> None:
        gateway = self._gateway
        for execution in self._exchange.executions(gateway.account_name, gateway.now_ns()):
            for session in gateway.sessions():
                if session.client_id == execution.client_id:
                    session.send(exec_details(-1, execution, session.frame))
                    session.send(commission_report(execution, session.frame.currency))

    def _correct(self, arguments: Mapping[str, Value]) -> None:
        self._amend(arguments, int(arguments["shares"]), micros_of(float(arguments["price"])))

    def _bust(self, arguments: Mapping[str, Value]) -> None:
        self._amend(arguments, 0, 0)

    def _amend(self, arguments: Mapping[str, Value], shares: int, price_micros: int) -> None:
        account = self._gateway.account_name
        latest = self._exchange.last_execution(account, int(arguments["order_id"]))
        if latest is not None:
            price = price_micros or (latest.price_micros if shares else 0)
            at_ns = self._gateway.acted_ns()
            self._exchange.correct(account, latest.exec_id, max(shares, 0), price, at_ns)

    def _mass_errors(self, arguments: Mapping[str, Value]) -> None:
        gateway = self._gateway
        for order in self._exchange.open_orders(gateway.account_name):
            for session in gateway.sessions():
                for _ in range(int(arguments["times"])):
                    if session.client_id == order.client_id:
                        code, text = int(arguments["code"]), str(arguments["text"])
                        session.say_error(order.order_id, code, text)

    def _cancel_by_broker(self, arguments: Mapping[str, Value]) -> None:
        gateway = self._gateway
        for order in self._exchange.open_orders(gateway.account_name):
            is_wanted = (
                arguments["order_id"] in (0, order.order_id)
                and arguments["perm_id"] in (0, order.perm_id)
                and arguments["order_type"] in ("", order.ticket.order_type.value)
            )
            if is_wanted:
                self._exchange.end(gateway.account_name, order.perm_id, gateway.acted_ns())

    def _manual_order(self, arguments: Mapping[str, Value]) -> None:
        gateway = self._gateway
        instrument = gateway.instrument(str(arguments["symbol"]))
        quantity = int(arguments["quantity"])
        if instrument is None or quantity <= 0 or arguments["side"] not in tuple(Side):
            return
        ticket = Ticket(
            instrument.symbol,
            instrument.con_id,
            Side(str(arguments["side"])),
            quantity,
            OrderType.MKT,
        )
        order_id = self._exchange.next_order_id(gateway.account_name, 0)
        self._exchange.submit(gateway.account_name, 0, order_id, ticket, gateway.acted_ns())
