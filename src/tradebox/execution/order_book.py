"""The orders and fills of one account in memory: what was recorded, and what the broker echoed.

Rules of this file:
- the book changes only by `apply`, with changes that are in the journal (or its spool) already;
- `learn` turns a fact into changes and writes down echoes, which are hints, not books;
- an order is found by orderRef, then permId, then (client id, order id); never by time or price;
- a fill counts once by the stem of its execId; a higher suffix replaces, a lower one is old.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from tradebox.domain.order_table import LIVE, TERMINAL, UNKNOWN, Move, next_state
from tradebox.domain.orders import OrderRole, OrderState
from tradebox.execution.order_copies import Copies
from tradebox.ports.order_store import (
    Change,
    FillRow,
    FillSeen,
    KnownOrder,
    LoadedBooks,
    OrderMoved,
    OrderRecorded,
    OrderRow,
    PermSeen,
    PositionAdjusted,
    SymbolQuarantined,
    SymbolReleased,
)
from tradebox.ports.orders import (
    CompletedOrderFact,
    ExecutionFact,
    OpenOrderFact,
    OrderStatusFact,
)

_HELD_BY_PARENT: Final = "child"
_ARMED: Final = "trigger"
_NS_PER_S: Final = 1_000_000_000
_CANCELLED: Final = frozenset({"Cancelled", "ApiCancelled"})
_ENDS: Final = frozenset({Move.ALL_FILLED, Move.CANCELLED})
ORDER_IDS_BELOW: Final = 1_000_000_000
"""Higher request ids are questions, not orders."""
ENDED: Final = _CANCELLED | {"Filled"}
"""Statuses with which a copy of an order works no more."""
_WORKING: Final = frozenset({"PreSubmitted", "Submitted", "PendingCancel"})
_ACKNOWLEDGED: Final = frozenset({"PendingSubmit", "ApiPending"})


@dataclass(frozen=True, slots=True)
class Echo:
    """What the broker last said of an order's fields."""

    quantity: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: str
    parent_id: int
    oca_group: str
    oca_type: int


@dataclass(slots=True)
class OrderRecord:
    """One order: its row, what the broker echoed, and what we asked and await."""

    row: OrderRow
    perm_ids: set[int] = field(default_factory=set)
    copies: Copies = field(default_factory=Copies)
    booked: int = 0
    """Shares of booked executions; row.filled also counts what a status said."""
    status: str = ""
    why_held: str = ""
    echo: Echo | None = None
    seen_ns: int = 0
    """Monotonic time of the start of the last snapshot that listed it as open."""
    sent_s: float = 0.0
    placed_ns: int = 0
    """Market time of the send or of the last change; 0 = not known."""
    is_ageing: bool = False
    """Its good-till-cancelled date is near: a change renews it."""
    cancel_asked_s: float | None = None
    is_ended_by_us: bool = False
    """A cancel of ours was sent at any time: its end is no surprise."""
    was_over: bool = False
    """It was over before this life of the program began."""
    change_wanted: tuple[int, Decimal] | None = None
    change_asked_s: float = 0.0
    change_doubted_ns: int | None = None
    change_failures: int = 0
    code: int = 0
    code_text: str = ""
    is_revised: bool = False
    """The broker amended an execution of it: of one that is over, statuses count too many."""
    absent_ns: int | None = None
    """Monotonic start of the first complete snapshot that did not know it."""
    back_ns: int | None = None
    """The same of the first one that listed it at work after its end."""

    @property
    def ref(self) -> str:
        """Its orderRef."""
        return self.row.order_ref

    @property
    def state(self) -> OrderState:
        """Its state by the order table."""
        return self.row.state

    @property
    def is_over(self) -> bool:
        """It works no more."""
        return self.row.state in TERMINAL

    @property
    def is_live(self) -> bool:
        """The broker has it."""
        return self.row.state in LIVE

    def is_live_since(self, mono_ns: int) -> bool:
        """The broker has it, and was sent it before this monotonic time."""
        return self.is_live and self.sent_s * _NS_PER_S <= mono_ns

    @property
    def is_unknown(self) -> bool:
        """The broker may or may not have it."""
        return self.row.state in UNKNOWN

    @property
    def filled(self) -> int:
        """Shares filled by everything that was said."""
        return max(self.booked, self.row.filled)

    @property
    def remaining(self) -> int:
        """Shares that may still fill; 0 once it is over."""
        return 0 if self.is_over else max(0, self.row.quantity - self.filled)

    @property
    def is_settled(self) -> bool:
        """Every share that a status counted is booked, or was taken back."""
        return self.booked >= self.row.filled or (self.is_revised and self.is_over)

    @property
    def is_armed(self) -> bool:
        """A live stop that watches the market; a child of an unfilled parent does not."""
        if self.row.role is not OrderRole.STOP or not self.is_live:
            return False
        if _HELD_BY_PARENT in self.why_held:
            return False
        return _ARMED in self.why_held or self.status == "Submitted"

    @property
    def is_refused(self) -> bool:
        """It ended without ever having worked."""
        return self.state in (OrderState.REJECTED, OrderState.NEVER_SENT)


def stem_of(exec_id: str) -> tuple[str, int]:
    """Return an execId without its last segment, and that segment as a number."""
    stem, _, suffix = exec_id.rpartition(".")
    if not stem or not suffix.isdigit():
        return exec_id, 0
    return stem, int(suffix)


class OrderBook:
    """All orders and fills of one account that still matter.

    Holds: a position is the sum of the last version of every execution stem, plus adjustments.
    """

    def __init__(self) -> None:
        self.orders: dict[str, OrderRecord] = {}
        self.fills: dict[str, FillRow] = {}
        self.quarantined: dict[str, str] = {}
        self.order_id_max = 0
        self._open: dict[str, OrderRecord] = {}
        self._open_by_symbol: dict[str, dict[str, OrderRecord]] = {}
        self._open_entries: dict[str, OrderRecord] = {}
        self._by_perm: dict[int, OrderRecord] = {}
        self._by_id: dict[tuple[int, int], OrderRecord] = {}
        self._by_plan: dict[str, list[OrderRecord]] = {}
        self._positions: dict[str, int] = {}
        self._plan_fills: dict[str, list[str]] = {}
        self._plan_positions: dict[str, int] = {}
        self._touched: set[str] = set()
        self._last_prices: dict[str, Decimal] = {}
        self.fills_booked = 0

    def load(self, books: LoadedBooks) -> None:
        """Take over what PostgreSQL holds. The book must be empty."""
        assert not self.orders, "a book is loaded once"
        for known in books.orders:
            self._add(known.row, known)
        for fill in books.fills:
            self._put_fill(fill)
        for adjustment in books.adjustments:
            self._adjust(adjustment)
        self.quarantined.update(books.quarantined)
        self.order_id_max = max(self.order_id_max, books.order_id_max)

    def of_plan(self, plan_id: str) -> list[OrderRecord]:
        """Return the orders of a plan, oldest first."""
        return self._by_plan.get(plan_id, [])

    def plan_ids(self) -> list[str]:
        """Return every plan that has an order."""
        return list(self._by_plan)

    def plan_fills(self, plan_id: str) -> list[FillRow]:
        """Return the fills of a plan in the order they were first booked."""
        return [self.fills[stem] for stem in self._plan_fills.get(plan_id, [])]

    def plan_position(self, plan_id: str) -> int:
        """Return the signed shares a plan holds."""
        return self._plan_positions.get(plan_id, 0)

    def touch(self, plan_id: str) -> None:
        """Note that something of a plan changed."""
        self._touched.add(plan_id)

    def take_touched(self) -> set[str]:
        """Return, once, the plans of which orders, fills or stop changed."""
        touched, self._touched = self._touched, set()
        return touched

    def last_price(self, symbol: str) -> Decimal | None:
        """Return the price of the symbol's newest booked fill."""
        return self._last_prices.get(symbol)

    def position(self, symbol: str) -> int:
        """Return the signed shares the account holds of a symbol, by our books."""
        return self._positions.get(symbol, 0)

    def positions(self) -> dict[str, int]:
        """Return the signed shares of every symbol, zeros left out."""
        return {symbol: quantity for symbol, quantity in self._positions.items() if quantity}

    def open_orders(self, symbol: str | None = None) -> list[OrderRecord]:
        """Return the orders that may still work."""
        if symbol is None:
            return list(self._open.values())
        return list(self._open_by_symbol.get(symbol, {}).values())

    def open_entries(self) -> list[OrderRecord]:
        """Return the entries that may still work."""
        return list(self._open_entries.values())

    def find(
        self, order_ref: str, perm_id: int, client_id: int, order_id: int
    ) -> OrderRecord | None:
        """Return the order a fact speaks of, or None where it is not ours."""
        if order_ref:
            return self.orders.get(order_ref)
        if perm_id and perm_id in self._by_perm:
            return self._by_perm[perm_id]
        return self._by_id.get((client_id, order_id)) if order_id > 0 else None

    def by_order_id(self, client_id: int, order_id: int) -> OrderRecord | None:
        """Return the order that went out under an id."""
        return self._by_id.get((client_id, order_id))

    # learning: facts to changes

    def learn_open(self, fact: OpenOrderFact) -> tuple[OrderRecord | None, list[Change]]:
        """Return the order an openOrder speaks of and what it changes; None: external."""
        if fact.order_id < ORDER_IDS_BELOW:
            # TWS API: ids must exceed every one that was listed, whosever orders they are.
            self.order_id_max = max(self.order_id_max, fact.order_id)
        record = self.find(fact.order_ref, fact.perm_id, fact.client_id, fact.order_id)
        if record is None:
            return None, []
        changes = self._perm(record, fact.perm_id)
        quantity = int(fact.quantity)
        record.echo = Echo(
            quantity,
            fact.limit_price,
            fact.stop_price,
            fact.tif,
            fact.parent_id,
            fact.oca_group,
            fact.oca_type,
        )
        is_wanted = record.change_wanted == (quantity, fact.stop_price)
        if is_wanted and fact.tif == record.row.tif:
            record.change_wanted = record.change_doubted_ns = None
            record.change_failures = 0
        moved = replace(record.row, quantity=quantity or record.row.quantity)
        if record.row.role is OrderRole.STOP and fact.stop_price is not None:
            moved = replace(moved, stop_price=fact.stop_price)
        move = _move_of(fact.status, record, record.row.filled, moved.quantity, record.why_held)
        if move is Move.ALL_FILLED:
            moved = replace(moved, filled=moved.quantity)
        perm_id = 0 if self._is_of_another(record, fact.perm_id) else fact.perm_id
        move = record.copies.hear(perm_id, move, is_over=record.is_over)
        if move in (Move.LIVE, Move.HELD, Move.PART_FILLED) and fact.status:
            record.status = fact.status
        changes += self._moved(record, moved, move, f"openOrder {fact.status}")
        return record, changes

    def learn_status(self, fact: OrderStatusFact) -> tuple[OrderRecord | None, list[Change]]:
        """Return the order an orderStatus speaks of and what it changes; None: external."""
        record = self.find("", fact.perm_id, fact.client_id, fact.order_id)
        if record is None:
            return None, []
        changes = self._perm(record, fact.perm_id)
        filled = max(record.row.filled, int(fact.filled))
        said = _move_of(fact.status, record, filled, record.row.quantity, fact.why_held)
        move = record.copies.hear(fact.perm_id, said, is_over=record.is_over)
        if said in _ENDS and move is not said:
            record.cancel_asked_s = None  # a copy works on: the order may be cancelled again
        else:
            record.status, record.why_held = fact.status, fact.why_held
        moved = replace(record.row, filled=filled)
        changes += self._moved(record, moved, move, f"orderStatus {fact.status}")
        return record, changes

    def knows(self, fact: ExecutionFact | CompletedOrderFact) -> bool:
        """Say whether a fact of the day's lists would change nothing: each look says them all."""
        if isinstance(fact, ExecutionFact):
            stem, suffix = stem_of(fact.exec_id)
            known = self.fills.get(stem)
            return known is not None and stem_of(known.exec_id)[1] >= suffix
        record = self.find(fact.order_ref, fact.perm_id, -1, -1)
        if record is None or fact.perm_id not in record.perm_ids:
            return False
        has_same_end = record.state is OrderState.FILLED or (
            record.state is OrderState.CANCELLED
            and fact.status in _CANCELLED
            and record.row.filled < record.row.quantity
        )
        is_booked = int(fact.filled) <= record.row.filled
        return has_same_end and is_booked and record.copies.have_ended(fact.perm_id)

    def learn_completed(self, fact: CompletedOrderFact) -> tuple[OrderRecord | None, list[Change]]:
        """Return the order a completedOrder speaks of and what it changes; None: external."""
        record = self.find(fact.order_ref, fact.perm_id, -1, -1)
        if record is None:
            return None, []
        changes = self._perm(record, fact.perm_id)
        filled = max(record.row.filled, int(fact.filled))
        move: Move | None = None
        if fact.status == "Filled":
            move = Move.ALL_FILLED
        elif fact.status in _CANCELLED:
            move = Move.CANCELLED
        elif fact.status == "Inactive":
            move = Move.CANCELLED if filled else Move.REFUSED
        move = record.copies.hear(fact.perm_id, move)
        moved = replace(record.row, filled=filled)
        changes += self._moved(record, moved, move, f"completedOrder {fact.status}")
        return record, changes

    def learn_execution(self, fact: ExecutionFact) -> tuple[OrderRecord | None, list[Change]]:
        """Return the order an execution belongs to and what it changes; None: external."""
        record = self.find(fact.order_ref, fact.perm_id, fact.client_id, fact.order_id)
        if record is None:
            return None, []
        stem, suffix = stem_of(fact.exec_id)
        known = self.fills.get(stem)
        if known is not None and stem_of(known.exec_id)[1] >= suffix:
            return record, []
        fill = FillRow(
            exec_stem=stem,
            exec_id=fact.exec_id,
            order_ref=record.ref,
            plan_id=record.row.plan_id,
            perm_id=fact.perm_id,
            symbol=fact.symbol,
            con_id=fact.con_id,
            side=fact.side,
            quantity=int(fact.quantity),
            price=fact.price,
            at_ns=fact.at_ns,
        )
        changes: list[Change] = [FillSeen(fill), *self._perm(record, fact.perm_id)]
        booked = record.booked + fill.quantity - (known.quantity if known else 0)
        filled = booked if known else max(record.row.filled, booked)
        move: Move | None = Move.PART_FILLED
        if filled >= record.row.quantity:
            is_whole = self._fills_its_copy(record, fill)
            said = Move.ALL_FILLED if is_whole else Move.PART_FILLED
            move = record.copies.hear(fact.perm_id, said)
        moved = replace(record.row, filled=filled)
        changes += self._moved(record, moved, move, f"execution {fact.exec_id}")
        return record, changes

    def _fills_its_copy(self, record: OrderRecord, fill: FillRow) -> bool:
        """Say whether the copy is filled that an execution names; most orders have but one."""
        if not fill.perm_id or not record.perm_ids - {fill.perm_id}:
            return True
        others = (
            one.quantity
            for one in self.plan_fills(record.row.plan_id)
            if (one.order_ref, one.perm_id) == (record.ref, fill.perm_id)
            and one.exec_stem != fill.exec_stem
        )
        return sum(others) + fill.quantity >= record.row.quantity

    def move(self, record: OrderRecord, move: Move, cause: str) -> list[Change]:
        """Return what a move that we infer (lost, absent, not sent) changes."""
        if move is Move.ABSENT:
            record.copies.forget()
        return self._moved(record, record.row, move, cause)

    def _perm(self, record: OrderRecord, perm_id: int) -> list[Change]:
        if not perm_id or perm_id in record.perm_ids or self._is_of_another(record, perm_id):
            return []
        return [PermSeen(record.ref, perm_id)]

    def _is_of_another(self, record: OrderRecord, perm_id: int) -> bool:
        """A permId has one order: an echo that names another order's is mistaken in it."""
        return self._by_perm.get(perm_id, record) is not record

    def _moved(
        self, record: OrderRecord, row: OrderRow, move: Move | None, cause: str
    ) -> list[Change]:
        if move in (Move.CANCELLED, Move.ABSENT) and row.filled >= row.quantity:
            move = Move.ALL_FILLED  # the last copy to end was not the one that filled
        state = record.state if move is None else next_state(record.state, move)
        moved = replace(row, state=state)
        if moved == record.row:
            return []
        return [
            OrderMoved(
                record.ref,
                moved.state,
                moved.filled,
                moved.quantity,
                moved.limit_price,
                moved.stop_price,
                cause,
            )
        ]

    # applying: changes that are in the journal

    def apply(self, changes: Iterable[Change]) -> None:
        """Make the book what the journal says."""
        for change in changes:
            if isinstance(change, OrderRecorded):
                self._add(change.row, None)
            elif isinstance(change, OrderMoved):
                record = self.orders[change.order_ref]
                record.row = replace(
                    record.row,
                    state=change.state,
                    filled=change.filled,
                    quantity=change.quantity,
                    limit_price=change.limit_price,
                    stop_price=change.stop_price,
                )
                self._file(record)
            elif isinstance(change, PermSeen):
                record = self.orders[change.order_ref]
                record.perm_ids.add(change.perm_id)
                self._by_perm[change.perm_id] = record
            elif isinstance(change, FillSeen):
                self._put_fill(change.fill)
            elif isinstance(change, PositionAdjusted):
                self._adjust(change)
            elif isinstance(change, SymbolQuarantined):
                self.quarantined[change.symbol] = change.reason
            elif isinstance(change, SymbolReleased):
                self.quarantined.pop(change.symbol, None)

    def _add(self, row: OrderRow, known: KnownOrder | None) -> None:
        assert row.order_ref not in self.orders, row.order_ref
        record = OrderRecord(row)
        self.orders[row.order_ref] = record
        self._by_id[(row.client_id, row.order_id)] = record
        self._by_plan.setdefault(row.plan_id, []).append(record)
        self.order_id_max = max(self.order_id_max, row.order_id)
        self._file(record)
        record.placed_ns = known.placed_ns if known else 0
        for perm_id in known.perm_ids if known else ():
            record.perm_ids.add(perm_id)
            self._by_perm[perm_id] = record
        if record.is_over:
            record.was_over = True
            record.copies = Copies(ended=record.perm_ids)

    def _file(self, record: OrderRecord) -> None:
        """Keep the open orders at hand, all and by symbol."""
        ref, row = record.ref, record.row
        self.touch(row.plan_id)
        if record.is_over:
            if self._open.pop(ref, None) is not None:
                del self._open_by_symbol[row.symbol][ref]
                self._open_entries.pop(ref, None)
            return
        self._open[ref] = record
        self._open_by_symbol.setdefault(row.symbol, {})[ref] = record
        if row.role is OrderRole.ENTRY:
            self._open_entries[ref] = record

    def _adjust(self, change: PositionAdjusted) -> None:
        held = self._positions.get(change.symbol, 0)
        self._positions[change.symbol] = held + change.quantity
        if change.plan_id is not None:
            self._move_plan(change.plan_id, change.quantity)

    def _move_plan(self, plan_id: str, shares: int) -> None:
        self._plan_positions[plan_id] = self._plan_positions.get(plan_id, 0) + shares
        self.touch(plan_id)

    def _put_fill(self, fill: FillRow) -> None:
        old = self.fills.get(fill.exec_stem)
        delta = fill.quantity - (old.quantity if old else 0)
        self.fills[fill.exec_stem] = fill
        if fill.quantity:  # a bust names no price
            self._last_prices[fill.symbol] = fill.price
        held = self._positions.get(fill.symbol, 0)
        self._positions[fill.symbol] = held + fill.side.sign * delta
        record = self.orders.get(fill.order_ref)
        if record is not None:
            record.booked += delta
            record.is_revised |= stem_of(fill.exec_id)[1] > 1
        if fill.plan_id is not None:
            self._move_plan(fill.plan_id, fill.side.sign * delta)
        if old is None:
            self.fills_booked += 1
            if fill.plan_id is not None:
                self._plan_fills.setdefault(fill.plan_id, []).append(fill.exec_stem)

    # forgetting

    def forget_plan(self, plan_id: str) -> list[str]:
        """Let go of a plan that is flat and has nothing open; return its execution stems.

        Holds:   positions stay as they are; a replay of what was forgotten is external to the
                 book, so it books nothing a second time.
        """
        records = self._by_plan.get(plan_id, [])
        assert not self.plan_position(plan_id), plan_id
        assert all(record.is_over and record.is_settled for record in records), plan_id
        for record in self._by_plan.pop(plan_id, []):
            del self.orders[record.ref]
            key = (record.row.client_id, record.row.order_id)
            if self._by_id.get(key) is record:
                del self._by_id[key]
            for perm_id in record.perm_ids:
                if self._by_perm.get(perm_id) is record:
                    del self._by_perm[perm_id]
        stems = self._plan_fills.pop(plan_id, [])
        for stem in stems:
            del self.fills[stem]
        self._plan_positions.pop(plan_id, None)
        self._touched.discard(plan_id)
        return stems


def _move_of(
    status: str, record: OrderRecord, filled: int, quantity: int, why_held: str
) -> Move | None:
    """Return the move a broker's status names; None where it says nothing certain."""
    if status == "Filled":
        return Move.ALL_FILLED
    if status in _CANCELLED:
        return Move.CANCELLED
    if status in _WORKING:
        if 0 < filled < quantity:
            return Move.PART_FILLED
        is_new_child = record.row.parent_ref is not None and not why_held
        is_held = is_new_child or _HELD_BY_PARENT in why_held
        return Move.HELD if is_held else Move.LIVE
    if status in _ACKNOWLEDGED:
        return Move.HELD
    return None
