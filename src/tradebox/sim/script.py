"""A script of events: orders, cancels and faults that happen at their market times.

Rules of this file:
- a row says when (`after_s`, market seconds since the simulator began) and what (`do`);
- a row that could not happen is refused when it is given, not when it is due;
- rows of one time happen in the order in which they were given;
- everything before a row's time has happened when it happens, at any speed: the same seed and
  script give the same ledger digest.
"""

import json
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tradebox.errors import ConfigInvalid, InputError
from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.market_port import SECOND_NS, MarketView
from tradebox.sim.exchange.orders import OrderType, Side, Ticket, Tif
from tradebox.sim.faults import Value
from tradebox.sim.market.prices import micros_of

NEVER_NS = 2**62
ROWS_MAX = 100_000
DEEDS = ("submit", "cancel", "fault", "clear")
_PRICES = ("limit", "trigger", "trail", "trail_stop", "limit_offset")
_ORDER = ("after_s", "do", "account", "client_id", "order_id")
_TERMS = ("symbol", "side", "quantity", "type", "tif", "order_ref", "transmit", "parent_id")
_KEYS = {
    "submit": (*_ORDER, *_PRICES, *_TERMS, "outside_rth", "oca_group", "oca_type"),
    "cancel": _ORDER,
    "clear": ("after_s", "do", "name"),
}

Row = Mapping[str, Value]
SetFault = Callable[[str, dict[str, Value]], None]


@dataclass(order=True, slots=True)
class _Due:
    at_ns: int
    number: int
    row: Row = field(compare=False)


class Script:
    """The rows that have not happened yet."""

    def __init__(
        self,
        market: MarketView,
        exchange: Exchange,
        begin_ns: int,
        set_fault: SetFault,
        clear_fault: Callable[[str], None],
        check_fault: SetFault,
    ) -> None:
        self._market = market
        self._exchange = exchange
        self._begin_ns = begin_ns
        self._set_fault = set_fault
        self._clear_fault = clear_fault
        self._check_fault = check_fault
        self._due: list[_Due] = []
        self._count = 0
        self._reached_ns = begin_ns

    @property
    def next_ns(self) -> int:
        """Return the market time of the next row; far away if there is none."""
        return self._due[0].at_ns if self._due else NEVER_NS

    def add(self, rows: Sequence[Row]) -> None:
        """Take in rows. Raises ConfigInvalid for the first one that cannot be."""
        for row in rows:
            self._check(row)
        for row in rows:
            self._count += 1
            at_ns = self._begin_ns + micros_of(float(row["after_s"])) * (SECOND_NS // 1_000_000)
            insort(self._due, _Due(at_ns, self._count, row))

    def run(self, until_ns: int) -> None:
        """Let happen what is due."""
        while self._due and self._due[0].at_ns <= until_ns:
            due = self._due.pop(0)
            self._reached_ns = max(self._reached_ns, due.at_ns)
            self._do(due.row, self._reached_ns)

    def _do(self, row: Row, at_ns: int) -> None:
        ids = str(row.get("account", "paper")), int(row.get("client_id", 1))
        match row["do"]:
            case "submit":
                self._exchange.submit(*ids, int(row["order_id"]), self._ticket(row), at_ns)
            case "cancel":
                self._exchange.cancel(*ids, int(row["order_id"]), at_ns)
            case "clear":
                self._clear_fault(str(row["name"]))
            case _:
                self._set_fault(str(row["name"]), _arguments(row))

    def _ticket(self, row: Row) -> Ticket:
        instrument = self._market.instrument(str(row["symbol"]))
        prices = {name: micros_of(float(row.get(name, 0))) for name in _PRICES}
        return Ticket(
            symbol=str(row["symbol"]),
            con_id=instrument.con_id if instrument else 0,
            side=Side(str(row["side"])),
            quantity=int(row["quantity"]),
            order_type=OrderType(str(row.get("type", "MKT"))),
            limit_micros=prices["limit"],
            trigger_micros=prices["trigger"],
            trail_micros=prices["trail"],
            trail_stop_micros=prices["trail_stop"],
            limit_offset_micros=prices["limit_offset"],
            tif=Tif(str(row.get("tif", "DAY"))),
            order_ref=str(row.get("order_ref", "")),
            transmit=bool(row.get("transmit", True)),
            parent_id=int(row.get("parent_id", 0)),
            outside_rth=bool(row.get("outside_rth", False)),
            oca_group=str(row.get("oca_group", "")),
            oca_type=int(row.get("oca_type", 0)),
        )

    def _check(self, row: Row) -> None:
        problem = ""
        if self._count >= ROWS_MAX:
            problem = f"the script has more than {ROWS_MAX} rows"
        elif not isinstance(row, Mapping) or row.get("do") not in DEEDS:
            problem = f"a row needs `do`, one of {', '.join(DEEDS)}"
        else:
            try:
                self._check_deed(row)
            except KeyError as error:
                problem = f"{error} is missing"
            except InputError as error:
                problem = error.message
            except (ValueError, TypeError, ArithmeticError, AssertionError) as error:
                problem = str(error)
        if problem:
            raise ConfigInvalid(f"script row {row!r:.200}: {problem}", field="script")

    def _check_deed(self, row: Row) -> None:
        """Raise what is wrong with a row: any error says why it cannot happen."""
        deed = str(row["do"])
        known = _KEYS.get(deed, tuple(row))
        unknown = [key for key in row if key not in known]
        assert not unknown, f"{deed} has no {unknown[0]!r}: it has {', '.join(known)}"
        assert 0 <= float(row["after_s"]) < NEVER_NS / SECOND_NS, "after_s is out of range"
        if deed in ("submit", "cancel"):
            assert int(row["order_id"]) > 0, "order_id is 1 or more"
            assert int(row.get("client_id", 1)) >= 0, "client_id is 0 or more"
            account = str(row.get("account", "paper"))
            assert account in ("paper", "live"), f"there is no account {account!r}"
        else:
            assert deed == "clear" or "." in str(row["name"]), "name is board.fault"
            self._check_fault(str(row["name"]), _arguments(row))
        if deed == "submit":
            ticket = self._ticket(row)
            assert ticket.quantity > 0, "quantity is 1 or more"
            assert ticket.con_id, f"there is no symbol {ticket.symbol!r}"


def _arguments(row: Row) -> dict[str, Value]:
    """Return what a row says of its fault."""
    return {key: value for key, value in row.items() if key not in ("after_s", "do", "name")}


def read_script(path: Path) -> list[Row]:
    """Return the rows of a file of JSON lines. Raises ConfigInvalid."""
    rows: list[Row] = []
    at_line = 1
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    rows.append(json.loads(line))
                at_line += 1
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigInvalid(
            f"the script {path} cannot be read at line {at_line} ({error}): give one JSON"
            " object per line",
            field="script",
            value=str(path),
        ) from error
    return rows
