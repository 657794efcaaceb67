"""What a complete snapshot says about the books: findings, and nothing done about them here.

Rules of this file:
- pure: book and snapshot in, findings out; the order path turns findings into facts;
- orders are compared by orderRef and permId, executions by execId stem, positions by symbol;
- what is not ours is external: it is named, never touched;
- one orderRef has one permId: a second one that was ever seen, and one that lives, are a fork;
- a difference of positions is a finding only when two snapshots in a row, far enough apart,
  show the same one: a fill may have been under way.
"""

from dataclasses import dataclass
from typing import Final

from tradebox.domain.orders import OrderRole, OrderState
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.ports.orders import BrokerSnapshot, OpenOrderFact

_DEAD: Final = frozenset({"Filled", "Cancelled", "ApiCancelled", "Inactive"})
ENDED_UNFILLED: Final = frozenset({OrderState.CANCELLED, OrderState.EXPIRED})
"""Ends that a broker's list may contradict; the others take its word at once."""


@dataclass(frozen=True, slots=True)
class ExternalOrder:
    """An order in our account that is none of ours."""

    symbol: str
    perm_id: int
    text: str


@dataclass(frozen=True, slots=True)
class ForkedOrder:
    """One orderRef, two permanent ids, at least one of them live."""

    record: OrderRecord
    perm_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MissingOrder:
    """An order of ours that no list of the broker knows."""

    record: OrderRecord


@dataclass(frozen=True, slots=True)
class InactiveOrder:
    """An order of ours that the broker lists as inactive or rejected."""

    record: OrderRecord


@dataclass(frozen=True, slots=True)
class BackOrder:
    """An order that the books have ended; the broker lists these copies of it at work."""

    record: OrderRecord
    perm_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PositionGap:
    """Broker and books differ by this many signed shares."""

    symbol: str
    broker: int
    books: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything one snapshot says."""

    external: tuple[ExternalOrder, ...] = ()
    forked: tuple[ForkedOrder, ...] = ()
    missing: tuple[MissingOrder, ...] = ()
    inactive: tuple[InactiveOrder, ...] = ()
    gaps: tuple[PositionGap, ...] = ()
    listed: tuple[OrderRecord, ...] = ()
    """Ours, found among the open orders."""
    back: tuple["BackOrder", ...] = ()
    """Of these, those that the books have ended and no list of the broker has."""

    def strange(self, started_ns: int) -> set[object]:
        """Return what stands out, each as something to be compared; started_ns: of the read."""
        gone = (one.record for one in self.missing if one.record.is_live_since(started_ns))
        return {
            *self.external,
            *self.gaps,
            *(("inactive", one.record.ref) for one in self.inactive),
            *(("forked", one.record.ref, one.perm_ids) for one in self.forked),
            *(("missing", record.ref) for record in gone),
            *(("back", one.record.ref, one.perm_ids) for one in self.back),
        }

    @property
    def is_clean(self) -> bool:
        """Nothing stands out."""
        strange = self.external or self.forked or self.missing or self.inactive or self.back
        return not (strange or self.gaps)


def examine(book: OrderBook, snapshot: BrokerSnapshot, account_id: str) -> Findings:
    """Compare a snapshot with a book that has learnt every fact before it.

    Of a brief snapshot, what is missing or back may be explained by the lists that were not read.

    Holds:   pure; the same book and snapshot give the same findings.
    """
    external: list[ExternalOrder] = []
    live_perms: dict[str, set[int]] = {}
    listed: dict[str, OrderRecord] = {}
    inactive: dict[str, InactiveOrder] = {}
    for fact in snapshot.open_orders:
        if fact.account != account_id:
            continue
        record = book.find(fact.order_ref, fact.perm_id, fact.client_id, fact.order_id)
        if record is None:
            external.append(ExternalOrder(fact.symbol, fact.perm_id, _text(fact)))
            continue
        if fact.status in _DEAD:
            if fact.status == "Inactive" and not record.is_over:
                inactive[record.ref] = InactiveOrder(record)
            continue
        listed[record.ref] = record
        if fact.perm_id:
            live_perms.setdefault(record.ref, set()).add(fact.perm_id)
    forked = [
        ForkedOrder(book.orders[ref], tuple(sorted(perms | book.orders[ref].perm_ids)))
        for ref, perms in live_perms.items()
        if len(perms | book.orders[ref].perm_ids) > 1
    ]
    dead_perms: dict[str, set[int]] = {}
    for done in snapshot.completed:
        record = book.find(done.order_ref, done.perm_id, -1, -1)
        if record is not None:
            dead_perms.setdefault(record.ref, set()).add(done.perm_id)
    # A copy of a forked order that ended says nothing of the one that was last shown at work.
    known_dead = {
        ref for ref, perms in dead_perms.items() if not book.orders[ref].copies.at_work(perms)
    }
    missing = [
        MissingOrder(record)
        for record in book.open_orders()
        if record.ref not in listed and record.ref not in inactive and record.ref not in known_dead
    ]
    return Findings(
        external=tuple(external),
        forked=tuple(forked),
        missing=tuple(missing),
        # Of a forked order one copy may be inactive while its twin works: it is not over.
        inactive=tuple(one for ref, one in inactive.items() if ref not in listed),
        gaps=tuple(_gaps(book, snapshot, account_id)),
        listed=tuple(listed.values()),
        back=tuple(
            BackOrder(record, tuple(sorted(perms)))
            for ref, record in listed.items()
            if _may_be_back(record)
            and (perms := live_perms.get(ref, set()) - dead_perms.get(ref, set()))
        ),
    )


def _may_be_back(record: OrderRecord) -> bool:
    is_forked = len(record.perm_ids) > 1
    is_filled = record.state is OrderState.FILLED
    return record.state in ENDED_UNFILLED or (is_filled and is_forked)


def _text(fact: OpenOrderFact) -> str:
    price = fact.limit_price or fact.stop_price or ""
    return f"{fact.side} {fact.quantity} {fact.symbol} {fact.order_type} {price} {fact.status}"


def _gaps(book: OrderBook, snapshot: BrokerSnapshot, account_id: str) -> list[PositionGap]:
    rows = {
        (fact.symbol, fact.con_id): int(fact.quantity)
        for fact in snapshot.positions
        if fact.account == account_id
    }
    broker: dict[str, int] = {}
    for (symbol, _con_id), quantity in rows.items():
        broker[symbol] = broker.get(symbol, 0) + quantity
    books = book.positions()
    return [
        PositionGap(symbol, broker.get(symbol, 0), books.get(symbol, 0))
        for symbol in sorted({*broker, *books})
        if broker.get(symbol, 0) != books.get(symbol, 0)
    ]


def explains_gap(gap: PositionGap, gone_stop: OrderRecord) -> bool:
    """Return whether a stop that vanished, filled in full, would close this gap exactly."""
    if gone_stop.row.role is not OrderRole.STOP or gone_stop.row.symbol != gap.symbol:
        return False
    shares = gone_stop.row.side.sign * (gone_stop.row.quantity - gone_stop.booked)
    return gap.books + shares == gap.broker
