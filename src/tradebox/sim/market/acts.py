"""What the market itself can be told to do: splits, dividends, halts and price gaps.

Rules of this file:
- everything of it happens to everybody: exchange, gateways and vendors;
- what is announced is in the ledger before it is known, so that a restart knows it too.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from tradebox.errors import ConfigInvalid
from tradebox.sim.faults import FaultBoard, FaultSpec, Value
from tradebox.sim.market.actions import DIVIDEND, SPLIT, Action
from tradebox.sim.market.edits import PPM
from tradebox.sim.market.market import Market
from tradebox.sim.market.prices import micros_of
from tradebox.sim.market.replay import Replay

ANNOUNCED, HALTED, RESUMED, GAPPED = "action_announced", "halted", "resumed", "price_gap"
"""The ledger's kinds of rows that say what the market was told to do."""

GAP_PERCENT_MIN, GAP_PERCENT_MAX = -90.0, 900.0

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
    FaultSpec(
        "gap",
        "move a symbol's price by some percent from now on, for good",
        {"symbol": "AAPL", "percent": -5.0},
        is_immediate=True,
    ),
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
            "halt": self._halt,
            "resume": self._resume,
            "gap": self._gap,
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
        percent = float(arguments.get("percent", 0.0))
        if not GAP_PERCENT_MIN <= percent <= GAP_PERCENT_MAX:
            raise ConfigInvalid(
                f"{name}: percent={percent:g} is out of range:"
                f" give {GAP_PERCENT_MIN:g} to {GAP_PERCENT_MAX:g}",
                field="percent",
                value=percent,
            )

    def _on_fault(self, name: str, arguments: Mapping[str, Value]) -> None:
        self._acts[name](str(arguments["symbol"]), arguments)

    def _split(self, symbol: str, arguments: Mapping[str, Value]) -> None:
        new, old = int(arguments["numerator"]), int(arguments["denominator"])
        self._keep(self._market.announce_split(symbol, new, old))

    def _dividend(self, symbol: str, arguments: Mapping[str, Value]) -> None:
        self._keep(self._market.announce_dividend(symbol, micros_of(float(arguments["amount"]))))

    def _halt(self, symbol: str, _arguments: Mapping[str, Value]) -> None:
        if self._market.halt(symbol):
            self._notes.note(HALTED, self._market.present_ns, symbol=symbol)

    def _resume(self, symbol: str, _arguments: Mapping[str, Value]) -> None:
        if self._market.resume(symbol):
            self._notes.note(RESUMED, self._market.present_ns, symbol=symbol)

    def _gap(self, symbol: str, arguments: Mapping[str, Value]) -> None:
        factor_ppm = PPM + micros_of(float(arguments["percent"])) // 100
        self._market.gap(symbol, factor_ppm)
        self._notes.note(GAPPED, self._market.present_ns, symbol=symbol, factor_ppm=factor_ppm)

    def _keep(self, action: Action) -> None:
        self._notes.note(
            ANNOUNCED,
            self._market.reached_ns,
            action=action.kind,
            symbol=action.symbol,
            number=action.number,
            happens_ns=action.at_ns,
            numerator=action.numerator,
            denominator=action.denominator,
            amount_micros=action.amount_micros,
        )


def recall(row: Mapping[str, object], replay: Replay) -> None:
    """Let a replay have what a ledger row says of the market; other rows say nothing of it."""
    kind = row["kind"]
    if kind == ANNOUNCED:
        replay.actions.add(_action_from(row))
        return
    if kind not in (HALTED, RESUMED, GAPPED):
        return
    edits, at_ns = replay.edit(str(row["symbol"])), int(str(row["at_ns"]))
    if kind == HALTED:
        edits.halt(at_ns)
    elif kind == RESUMED:
        edits.resume(at_ns)
    else:
        edits.gaps.append((at_ns, int(str(row["factor_ppm"]))))


def _action_from(row: Mapping[str, object]) -> Action:
    return Action(
        SPLIT if row["action"] == SPLIT else DIVIDEND,
        str(row["symbol"]),
        int(str(row["number"])),
        int(str(row["happens_ns"])),
        int(str(row["numerator"])),
        int(str(row["denominator"])),
        int(str(row["amount_micros"])),
    )
