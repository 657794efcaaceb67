"""What the gateway's ledger says of positions, of what is for sale, and of uncovered time.

Rules of this file:
- the ledger alone is read: no word of the engine;
- rows of one market moment are one commit: cover is judged at its end, never inside it;
- a span without full cover has the cause of the row that opened it; what more than a position is
  for sale, a second armed stop, a changed side and an orderRef seen twice are faults.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DONE = frozenset({"Filled", "Cancelled", "Inactive"})
OF_ORDERS = frozenset({"order_placed", "order_modified", "order_state", "execution", "correction"})
Key = tuple[str, str]
"""Account and symbol."""


class LedgerTail:
    """Reads a growing file of JSON lines from where the last look ended."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._held = b""

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that came since the last look."""
        self._held += self._file.read()
        whole, cut, rest = self._held.rpartition(b"\n")
        if not cut:
            return []
        self._held = rest
        return [json.loads(line) for line in whole.splitlines()]

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Seen:
    """One order. kind: entry, stop, slice or exit; sign: +1 of a buy."""

    key: Key
    ref: str
    kind: str
    sign: int
    total: int
    filled: int = 0
    armed: int = 0
    is_done: bool = False

    @property
    def workable(self) -> int:
        """Shares that may trade now."""
        return 0 if self.is_done else max(min(self.total, self.armed) - self.filled, 0)


@dataclass(slots=True)
class Span:
    """A stretch in which a position was not wholly covered. Units: monotonic ns."""

    key: Key
    cause: str
    shares: int
    begin_ns: int
    end_ns: int = 0
    has_reducer: bool = False

    @property
    def lasted_s(self) -> float:
        """How long it was."""
        return (self.end_ns - self.begin_ns) / 1e9


@dataclass
class LedgerFold:
    """Folds rows in order; `finish` judges the last commit and closes what is open.

    may_arm_early: the broker may arm a stop whole while its entry is still being filled.
    """

    may_arm_early: bool = False
    positions: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    orders: dict[int, Seen] = field(default_factory=dict)
    executions: dict[str, tuple[str, str, str, int]] = field(default_factory=dict)
    """By execId: account, symbol, side, shares."""
    spans: list[Span] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    count: int = 0
    _live: dict[Key, set[int]] = field(default_factory=lambda: defaultdict(set))
    _open: dict[Key, Span] = field(default_factory=dict)
    _hints: dict[Key, str] = field(default_factory=dict)
    _before: dict[Key, int] = field(default_factory=dict)
    _touched: set[Key] = field(default_factory=set)
    _refs: set[str] = field(default_factory=set)
    _told: set[tuple[str, Key, str]] = field(default_factory=set)
    _moment: tuple[int, int] = (0, 0)

    def take(self, row: Mapping[str, Any]) -> None:
        """Take the next row of the ledger."""
        kind = row["kind"]
        if kind not in OF_ORDERS:
            return
        if row["at_ns"] != self._moment[0]:
            self.settle()
        self._moment = (row["at_ns"], row["mono_ns"])
        self.count += 1
        if kind == "order_placed":
            self._placed(row)
        elif kind == "order_state":
            self._state(row)
        elif kind in ("execution", "correction"):
            self._executed(row)

    def finish(self) -> None:
        """Judge the last commit; a span that is still open ends here."""
        self.settle()
        for span in self._open.values():
            span.end_ns = self._moment[1]
            self.spans.append(span)
        self._open.clear()

    def role(self, row: Mapping[str, Any]) -> str:
        """Return what the order of a row is for: entry, stop, slice or exit; "" if unknown."""
        seen = self.orders.get(row.get("perm_id", 0))
        return "" if seen is None else seen.kind

    def held(self) -> dict[Key, int]:
        """Return every position that is not flat."""
        return {key: shares for key, shares in self.positions.items() if shares}

    def live(self, account: str) -> dict[str, tuple[str, str, int]]:
        """Return symbol, side and size of every order that is not done, by orderRef."""
        live = [self.orders[one] for key, ids in self._live.items() if key[0] == account
                for one in ids]  # fmt: skip
        return {one.ref: (one.key[1], "BUY" if one.sign > 0 else "SELL", one.total) for one in live}

    def _placed(self, row: Mapping[str, Any]) -> None:
        ticket = row["ticket"]
        key = row["account"], ticket["symbol"]
        kind = self._kind(key, ticket)
        sign = 1 if ticket["side"] == "BUY" else -1
        ref = ticket["order_ref"]
        self._touched.add(key)
        if ref in self._refs:
            self.faults.append(f"orderRef {ref} was placed twice")
        self._refs.add(ref)
        self.orders[row["perm_id"]] = Seen(key, ref, kind, sign, ticket["quantity"])
        self._live[key].add(row["perm_id"])
        span = self._open.get(key)
        if span is not None and kind in ("slice", "exit"):
            span.has_reducer = True

    def _kind(self, key: Key, ticket: Mapping[str, Any]) -> str:
        if ticket["order_type"] == "STP" and (ticket["parent_id"] or ticket["transmit"]):
            return "stop"
        if ticket["tif"] != "IOC":
            return "entry"
        has_stop = any(self._orders(key, "stop"))
        return "slice" if has_stop else "exit"

    def _orders(self, key: Key, *kinds: str) -> Iterator[Seen]:
        orders = (self.orders[perm_id] for perm_id in self._live[key])
        return (one for one in orders if one.kind in kinds and one.workable)

    def _state(self, row: Mapping[str, Any]) -> None:
        seen = self.orders.get(row["perm_id"])
        if seen is None:
            return
        before = seen.workable
        self._touched.add(seen.key)
        seen.filled, seen.armed = row["filled"], row["armed"]
        shrunk = row["total"] < seen.total
        seen.total, seen.is_done = row["total"], row["status"] in DONE
        if seen.is_done:
            self._live[seen.key].discard(row["perm_id"])
        if seen.workable >= before:
            return
        if seen.kind == "stop":
            self._hints[seen.key] = "scale_out" if shrunk else "stop_gone"
        elif seen.kind in ("slice", "exit"):
            self._hints[seen.key] = "scale_out" if seen.kind == "slice" else "exit"

    def _executed(self, row: Mapping[str, Any]) -> None:
        key = row["account"], row["symbol"]
        sign = 1 if row["side"] == "BUY" else -1
        stem = row["exec_id"].rpartition(".")[0]
        delta = row["shares"]
        if row["kind"] == "correction":
            old = [exec_id for exec_id in self.executions if exec_id.rpartition(".")[0] == stem]
            delta -= sum(self.executions.pop(exec_id)[3] for exec_id in old)
        self.executions[row["exec_id"]] = (*key, row["side"], row["shares"])
        self._touched.add(key)
        self._before.setdefault(key, self.positions[key])
        self.positions[key] += sign * delta
        seen = self.orders.get(row["perm_id"])
        if seen is None:
            return
        seen.filled = row["cum_quantity"]
        if seen.kind == "entry":
            self._hints[key] = "entry_partial"

    def settle(self) -> None:
        """Judge every symbol that was touched: the commit is whole now."""
        at_ns = self._moment[1]
        for key in self._touched:
            self._judge_symbol(key, at_ns)
        self._touched.clear()
        self._before.clear()
        self._hints.clear()

    def _judge_symbol(self, key: Key, at_ns: int) -> None:
        position = self.positions[key]
        if self._before.get(key, 0) * position < 0:
            self._fault("the side changed", key, str(position))
        stops = list(self._orders(key, "stop"))
        reducers = list(self._orders(key, "slice", "exit"))
        for_sale = sum(one.workable for one in stops + reducers)
        if len(stops) > 1:
            self._fault("two stops are armed", key, " ".join(one.ref for one in stops))
        if any(one.sign * position > 0 for one in stops + reducers):
            self._fault("a reducing order is on the wrong side", key, str(position))
        is_early = self.may_arm_early and any(self._orders(key, "entry"))
        if for_sale > abs(position) and not is_early:
            self._fault("more is for sale than held", key, f"{for_sale} of {position}")
        self._note_cover(key, abs(position) - for_sale, at_ns)

    def _fault(self, what: str, key: Key, detail: str) -> None:
        """Tell a fault once."""
        if (what, key, detail) not in self._told:
            self._told.add((what, key, detail))
            self.faults.append(f"{key[0]} {key[1]}: {what}: {detail}")

    def _note_cover(self, key: Key, missing: int, at_ns: int) -> None:
        span = self._open.get(key)
        if missing > 0 and span is None:
            self._open[key] = Span(key, self._hints.get(key, "other"), missing, at_ns)
        elif missing <= 0 and span is not None:
            del self._open[key]
            span.end_ns = at_ns
            if span.cause == "stop_gone":
                span.cause = "exit" if span.has_reducer else "stop_replacement"
            self.spans.append(span)
