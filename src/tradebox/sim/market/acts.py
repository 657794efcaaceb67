"""What the market itself can be told to do: splits, dividends and halts.

Rules of this file:
- everything of it happens to everybody: exchange, gateways and vendors;
- what is announced is in the ledger before it is known, so that a restart knows it too.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from tradebox.errors import ConfigInvalid
from tradebox.sim.faults import FaultBoard, FaultSpec, Value
from tradebox.sim.market.actions import DIVIDEND, SPLIT, Action
from tradebox.sim.market.market import Market
from tradebox.sim.market.prices import micros_of

CATALOGUE: tuple[FaultSpec, ...] = (
    FaultSpec(
        "split",
        "split a symbol's shares at the next open; its orders are cancelled",
        {"symbol": "AAPL", "numerator": 2, "denominator": 1},
        is_immediate=True,
        ranges={"numerator": (1, 1000), "denominator": (1, 1000)},
    ),
    FaultSpec(
        "dividend",
        "pay a dividend at the next open",
        {"symbol": "AAPL", "amount": 0.5},
        is_immediate=True,
        ranges={"amount": (0.000001, 1000)},
    ),
    FaultSpec("halt", "halt trading in a symbol", {"symbol": "AAPL"}, is_immediate=True),
    FaultSpec("resume", "let a halted symbol trade again", {"symbol": "AAPL"}, is_immediate=True),
)


class Notes(Protocol):
    """Where announcements are kept."""

    def note(self, kind: str, at_ns: int, **fields: object) -> None:
        """Put a row into the ledger."""
        ...


class MarketActs:
    """The board of the market, and what its faults do."""

    def __init__(self, market: Market, notes: Notes) -> None:
        self._market = market
        self._notes = notes
        self.board = FaultBoard(CATALOGUE)
        self.board.check_by(self._check)
        self.board.listen(self._on_fault)
        self._acts: dict[str, Callable[[str, Mapping[str, Value]], None]] = {
            "split": self._split,
            "dividend": self._dividend,
            "halt": lambda symbol, _: self._market.halt(symbol),
            "resume": lambda symbol, _: self._market.resume(symbol),
        }

    def _check(self, name: str, arguments: Mapping[str, Value]) -> None:
        """Refuse what the market could not do, also where it is not due yet."""
        symbol = str(arguments["symbol"])
        if self._market.instrument(symbol) is None:
            raise ConfigInvalid(
                f"{name}: there is no symbol {symbol!r}: GET /market lists those that trade",
                field="symbol",
                value=symbol,
            )

    def _on_fault(self, name: str, arguments: Mapping[str, Value]) -> None:
        self._acts[name](str(arguments["symbol"]), arguments)

    def _split(self, symbol: str, arguments: Mapping[str, Value]) -> None:
        new, old = int(arguments["numerator"]), int(arguments["denominator"])
        self._keep(self._market.announce_split(symbol, new, old))

    def _dividend(self, symbol: str, arguments: Mapping[str, Value]) -> None:
        self._keep(self._market.announce_dividend(symbol, micros_of(float(arguments["amount"]))))

    def _keep(self, action: Action) -> None:
        self._notes.note(
            "action_announced",
            self._market.reached_ns,
            action=action.kind,
            symbol=action.symbol,
            number=action.number,
            happens_ns=action.at_ns,
            numerator=action.numerator,
            denominator=action.denominator,
            amount_micros=action.amount_micros,
        )


def action_from(row: Mapping[str, object]) -> Action:
    """Return the action that a ledger row announced."""
    return Action(
        SPLIT if row["action"] == SPLIT else DIVIDEND,
        str(row["symbol"]),
        int(str(row["number"])),
        int(str(row["happens_ns"])),
        int(str(row["numerator"])),
        int(str(row["denominator"])),
        int(str(row["amount_micros"])),
    )
