"""Facts in, changes of the books out: what each message of the broker means for us.

Rules of this file:
- nothing is written or sent here; the order path commits the changes, then applies them;
- order state comes from openOrder, orderStatus, completedOrder and executions; a code is noted,
  names a refusal that the lists have shown, and asks for a look;
- an order is absent only after two complete reads, far enough apart, both after its send, with
  no break of the link before, between or in them;
- by the same proof an order that we believe ended is taken for alive: what is not in the books
  at work could be replaced by a second one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from tradebox.domain.order_table import Move
from tradebox.domain.orders import OrderState
from tradebox.execution.codes import row_of
from tradebox.execution.missing_shares import Missing, missing_shares
from tradebox.execution.order_book import (
    ENDED,
    ORDER_IDS_BELOW,
    OrderBook,
    OrderRecord,
    stem_of,
)
from tradebox.execution.order_link import OrderLink
from tradebox.execution.procedures import Alarm
from tradebox.execution.reconcile import BackOrder, Findings, PositionGap, examine, explains_gap
from tradebox.ports.order_store import (
    Change,
    CommissionSeen,
    Noted,
    PermSeen,
    PositionAdjusted,
    SymbolQuarantined,
)
from tradebox.ports.orders import (
    BrokerFact,
    CodeFact,
    CommissionFact,
    CompletedOrderFact,
    ExecutionFact,
    LinkClosed,
    OpenOrderFact,
    OrderStatusFact,
    PositionFact,
    SnapshotTaken,
)
from tradebox.supervision.clock import Clock

_NS_PER_S: Final = 1_000_000_000
_TOLD_MAX: Final = 10_000
_GAP: Final = "the broker holds"
_CANCELLED: Final = "order-cancelled"
_EXPLAIN_S: Final = 1.0
"""Real seconds a fill may follow the position that it changed."""
_CONFIRM_S: Final = 0.5
"""Real seconds a status may follow the code that tells of a cancel we asked for."""


@dataclass(slots=True)
class Learnt:
    """What one fact means."""

    changes: list[Change] = field(default_factory=list)
    records: list[OrderRecord] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    findings: Findings | None = None
    is_news: bool = False
    """A brief read shows what the last whole one did not: nothing was taken over of it."""


class Intake:
    """Turns the facts of one account into changes."""

    def __init__(
        self,
        book: OrderBook,
        link: OrderLink,
        clock: Clock,
        absence_gap_s: float,
        drilled: Callable[[], str] = lambda: "",
    ) -> None:
        self._book = book
        self._link = link
        self._clock = clock
        self._drilled = drilled
        self._gap_ns = int(absence_gap_s * _NS_PER_S)
        self._gap_s = absence_gap_s
        self._gaps: dict[str, tuple[PositionGap, int]] = {}
        self._standing: dict[str, tuple[PositionGap, int]] = {}
        """Those of symbols that are quarantined: a person was told."""
        self._shown_gaps: dict[str, PositionGap] = {}
        """What the last snapshot showed, confirmed ones with it."""
        self._vanished: list[OrderRecord] = []
        self._proof_session = -1
        """The session of the reads that a proof is being put together from."""
        self._commissions: dict[str, str] = {}
        self._told: set[object] = set()
        self._strange: set[object] = set()
        """What the last whole read showed."""
        self._confirming: dict[str, float] = {}
        self._positions: dict[str, int] = {}
        self._moved: dict[str, float] = {}
        self.look_at_s: float | None = None
        """When the next look is due that proves an absence or a gap."""
        self._blocked_all = ""
        self._blocked_ns = 0
        """Monotonic time of the last block: a look that was under way then lifts none."""
        self.blocked: dict[str, str] = {}
        """Symbols that a code blocked, until the next clean snapshot."""
        self.clean_ns = 0
        """Monotonic start of the last reconciled snapshot."""

    def forget(self, stems: Iterable[str]) -> None:
        """Let go of executions that the book forgot."""
        for stem in stems:
            self._commissions.pop(stem, None)
        if len(self._told) > _TOLD_MAX:
            self._told.clear()

    def unconfirmed(self) -> str:
        """Return why a look is due: what was told and no status or fill followed. "" = none is."""
        now_s = self._clock.now()
        due = [ref for ref, at_s in self._confirming.items() if now_s >= at_s]
        for ref in due:
            del self._confirming[ref]
        found = [self._book.orders[ref] for ref in due if ref in self._book.orders]
        doubted = [record.ref for record in found if not record.is_over]
        if doubted:
            return f"no status after the cancel of {doubted[0]}"
        moved = [symbol for symbol, at_s in self._moved.items() if now_s >= at_s]
        for symbol in moved:
            del self._moved[symbol]
        apart = [one for one in moved if self._positions[one] != self._book.position(one)]
        return f"the broker holds other shares of {apart[0]}: no fill says why" if apart else ""

    def see_position(self, fact: PositionFact) -> None:
        """Take note of a position the broker streams; what no fill explains soon is looked at."""
        symbol, quantity = fact.symbol, int(fact.quantity)
        if fact.account != self._link.account_id or self._positions.get(symbol) == quantity:
            return
        self._positions[symbol] = quantity
        if quantity != self._book.position(symbol):
            self._moved.setdefault(symbol, self._clock.now() + _EXPLAIN_S)

    def settled(self) -> None:
        """A person settled something: what stands out after it is told anew."""
        self._told.clear()
        self._gaps.clear()

    def unproven(self, symbol: str) -> str:
        """Return what the next looks must settle before a symbol takes entries, or ""."""
        if symbol == self._drilled():
            return "a drill is under way"
        if symbol in self._gaps:
            gap = self._gaps[symbol][0]
            return f"position gap: broker {gap.broker}, books {gap.books}"
        unknown = [record for record in self._book.open_orders(symbol) if record.is_unknown]
        if unknown:
            return f"unknown order {unknown[0].ref}"
        return self.blocked.get(symbol, self._blocked_all)

    def is_gapped(self, symbol: str) -> bool:
        """Return whether broker and books differ, seen just now or told to a person before."""
        return symbol in self._gaps or _GAP in self._book.quarantined.get(symbol, "")

    def has_gap(self, symbol: str) -> bool:
        """Return whether the last snapshot showed another position than the books."""
        return symbol in self._gaps

    def confirmed_gap(self, symbol: str) -> PositionGap | None:
        """Return the difference that a person was told of, as the last snapshot showed it."""
        is_told = _GAP in self._book.quarantined.get(symbol, "")
        return self._shown_gaps.get(symbol) if is_told else None

    def shown_gap(self, symbol: str) -> PositionGap | None:
        """Return how the last snapshot and the books differ, None where they agree."""
        return self._shown_gaps.get(symbol)

    def load(self, with_commission: Iterable[str]) -> None:
        """Take over which executions have their commission in the books, by execId."""
        self._commissions = {
            stem: exec_id
            for exec_id in with_commission
            for stem, suffix in (stem_of(exec_id),)
            if suffix <= 1  # of a corrected one it may be the commission from before
        }

    def knows(self, fact: BrokerFact) -> bool:
        """Say whether a fact is one of the day's lists that says nothing new."""
        if isinstance(fact, ExecutionFact | CompletedOrderFact):
            return self._book.knows(fact)
        if isinstance(fact, CommissionFact):
            return self._commissions.get(stem_of(fact.exec_id)[0]) == fact.exec_id
        return False

    def learn(self, fact: BrokerFact) -> Learnt:
        """Return what a fact changes."""
        if isinstance(fact, OpenOrderFact):
            return self._of(self._book.learn_open(fact))
        if isinstance(fact, OrderStatusFact):
            learnt = self._of(self._book.learn_status(fact))
            if fact.status == "Inactive":
                self._link.want_look("an order is inactive")
            for record in learnt.records:
                if record.copies.is_split and fact.status in ENDED:
                    self._link.want_look(f"a copy of {record.ref} ended, another one may work")
            return learnt
        if isinstance(fact, ExecutionFact):
            if fact.account != self._link.account_id:
                return Learnt()
            return self._of(self._book.learn_execution(fact))
        if isinstance(fact, CompletedOrderFact):
            return self._of(self._book.learn_completed(fact))
        if isinstance(fact, CommissionFact):
            return self._commission(fact)
        if isinstance(fact, CodeFact):
            return self._code(fact)
        if isinstance(fact, LinkClosed):
            return self._closed(fact)
        if isinstance(fact, SnapshotTaken):
            return self._snapshot(fact)
        return Learnt()

    def _of(self, found: tuple[OrderRecord | None, list[Change]]) -> Learnt:
        record, changes = found
        if record is None:
            return Learnt(changes)
        if record.perm_ids and any(isinstance(change, PermSeen) for change in changes):
            self._link.want_look(f"{record.ref} has a second permId")
        return Learnt(changes, [record])

    def _commission(self, fact: CommissionFact) -> Learnt:
        stem = stem_of(fact.exec_id)[0]
        if stem not in self._book.fills or self._commissions.get(stem) == fact.exec_id:
            return Learnt()
        self._commissions[stem] = fact.exec_id
        return Learnt([CommissionSeen(stem, fact.commission, fact.realised_pnl)])

    def _code(self, fact: CodeFact) -> Learnt:
        row = row_of(fact.code)
        learnt = Learnt()
        record = None
        if 0 < fact.request_id < ORDER_IDS_BELOW and self._link.info is not None:
            record = self._book.by_order_id(self._link.client_id, fact.request_id)
        if row.stops_entries and (record is not None or fact.request_id <= 0):
            self._link.halt(f"code {fact.code}: {fact.text}")
        if row.scope == "order" and "BLOCK_NEW" in row.actions:
            self._blocked_all = f"code {fact.code}: {fact.text}"
            self._blocked_ns = self._link.mono_ns()
            self._link.want_look(f"code {fact.code}")
        if record is None:
            if row.wants_person and row.scope != "feed":
                self._tell(learnt, "warning", "broker_code", f"{fact.code}: {fact.text}", fact.code)
            return learnt
        record.code, record.code_text = fact.code, fact.text
        learnt.records.append(record)
        data = (("code", str(fact.code)), ("text", fact.text), ("class", row.code_class))
        learnt.changes.append(
            Noted("broker_code", record.row.symbol, record.row.plan_id, record.ref, data)
        )
        if record.change_wanted is not None and row.is_refusal:
            record.change_doubted_ns = self._link.mono_ns()
            self._link.want_look(f"code {fact.code} on a modify")
        elif row.code_class == _CANCELLED and record.cancel_asked_s is not None:
            # The status stands beside it on the wire; a look costs the whole day's orders.
            self._confirming.setdefault(record.ref, self._clock.now() + _CONFIRM_S)
        elif row.wants_look and not record.is_over:
            self._link.want_look(f"code {fact.code} on {record.ref}")
        if "BLOCK_SYMBOL" in row.actions:
            self.blocked[record.row.symbol] = f"code {fact.code}: {fact.text}"
            self._blocked_ns = self._link.mono_ns()
        if row.wants_person or not row.is_known:
            text = f"{record.ref} {record.row.symbol}: code {fact.code}: {fact.text}"
            self._tell(learnt, "warning", "broker_code", text, (record.ref, fact.code))
        return learnt

    def _closed(self, fact: LinkClosed) -> Learnt:
        learnt = Learnt()
        for record in self._book.open_orders():
            if record.state is OrderState.SENDING:
                learnt.changes += self._book.move(record, Move.LOST, fact.reason)
                learnt.records.append(record)
            if record.change_wanted is not None:
                record.change_doubted_ns = self._link.mono_ns()
            record.cancel_asked_s = None
        return learnt

    def lost(self, record: OrderRecord, cause: str) -> Learnt:
        """Return what the silence after a send means: unknown, and a look."""
        self._link.want_look(cause)
        return Learnt(self._book.move(record, Move.LOST, cause), [record])

    # snapshots

    def _snapshot(self, fact: SnapshotTaken) -> Learnt:
        findings = examine(self._book, fact.snapshot, self._link.account_id)
        learnt = Learnt(findings=findings)
        started_ns = fact.started_mono_ns
        if not fact.snapshot.is_whole:
            return self._glance(fact, learnt, findings.strange(started_ns))
        self._strange = findings.strange(started_ns)
        if fact.session != self._proof_session:
            self._proof_session = fact.session
            for record in self._book.orders.values():
                record.absent_ns = record.back_ns = None
        for record in findings.listed:
            record.seen_ns, record.absent_ns = started_ns, None
        for back in findings.back:
            self._back(back, started_ns, learnt)
        for inactive in findings.inactive:
            move = Move.CANCELLED if inactive.record.filled else Move.REFUSED
            cause = f"listed as inactive; {inactive.record.code_text}"
            learnt.changes += self._book.move(inactive.record, move, cause)
            learnt.records.append(inactive.record)
        if self.has_all_of(fact):
            for missing in findings.missing:
                self._missing(missing.record, started_ns, learnt)
        for fork in findings.forked:
            symbol = fork.record.row.symbol
            text = f"{fork.record.ref} {symbol} is there twice: permIds {fork.perm_ids}"
            self._quarantine(learnt, symbol, "forked_order", text, fork.record.ref)
        for order in findings.external:
            if order.symbol == self._drilled():
                continue
            text = f"external order {order.perm_id}: {order.text}"
            self._quarantine(learnt, order.symbol, "external_order", text, order.perm_id)
        if self.has_all_of(fact):
            self._compare_positions(findings.gaps, started_ns, learnt)
        return learnt

    def _glance(self, fact: SnapshotTaken, learnt: Learnt, strange: set[object]) -> Learnt:
        """Take a brief read for what it is: a proof that nothing has changed, or a reason to look.

        What it shows otherwise than the last whole read, a fill or an end that was not heard of
        may explain, and they stand in the lists that were not read.
        """
        assert learnt.findings is not None
        for record in learnt.findings.listed:
            record.seen_ns, record.absent_ns = fact.started_mono_ns, None
        learnt.is_news = strange != self._strange or not self.has_all_of(fact)
        if learnt.is_news:
            self._link.want_look("a brief look shows something new", is_pressing=True)
        return learnt

    def has_all_of(self, fact: SnapshotTaken) -> bool:
        """Say whether every fact since a snapshot began was taken: else the books may lack a fill.

        Positions are compared by the next one, which a lost fact has asked for already.
        """
        return fact.session == self._link.breaks

    def _missing(self, record: OrderRecord, started_ns: int, learnt: Learnt) -> None:
        if record.sent_s * _NS_PER_S > started_ns:
            return
        if record.absent_ns is None:
            record.absent_ns = started_ns
        if started_ns - record.absent_ns < self._gap_ns:
            self._look_again()
            return
        refusal = record.code and row_of(record.code).is_refusal and record.is_unknown
        cause = "two complete reads do not know it"
        if refusal:
            cause = f"{cause}; code {record.code}: {record.code_text}"
        if record.is_live and not record.copies.is_split:
            self._vanished.append(record)
        move = Move.REFUSED if refusal else Move.ABSENT
        learnt.changes += self._book.move(record, move, cause)
        learnt.records.append(record)

    def _back(self, back: BackOrder, started_ns: int, learnt: Learnt) -> None:
        """Take an order for alive that two reads list at work after its end was told."""
        record = back.record
        if record.back_ns is None:
            record.back_ns = started_ns
        if started_ns - record.back_ns < self._gap_ns:
            self._look_again()
            return
        record.back_ns = None
        record.copies.revive(back.perm_ids)
        text = f"{record.ref} {record.row.symbol} had ended, and two complete reads list it at work"
        learnt.changes += self._book.move(record, Move.COPY_LIVES, text)
        learnt.records.append(record)
        self._tell(learnt, "critical", "order_back", text, (record.ref, started_ns))
        # Its end may have been said meanwhile, and passed over as known.
        self._link.want_look(text)

    def _look_again(self) -> None:
        if self.look_at_s is None:
            self.look_at_s = self._clock.now() + self._gap_s

    def _compare_positions(
        self, gaps: tuple[PositionGap, ...], started_ns: int, learnt: Learnt
    ) -> None:
        self._shown_gaps = {gap.symbol: gap for gap in gaps}
        seen: dict[str, tuple[PositionGap, int]] = {}
        standing: dict[str, tuple[PositionGap, int]] = {}
        for gap in gaps:
            if gap.symbol == self._drilled():
                continue
            is_told = gap.symbol in self._book.quarantined
            before = (self._standing if is_told else self._gaps).get(gap.symbol)
            first_ns = before[1] if before is not None and before[0] == gap else started_ns
            is_new = started_ns - first_ns < self._gap_ns
            if is_new or is_told:
                (standing if is_told else seen)[gap.symbol] = (gap, first_ns)
            if is_told and self._missing_of(gap, started_ns) is None:
                continue
            if is_new:
                self._look_again()
            else:
                self._confirmed(gap, started_ns, learnt)
        self._gaps, self._standing = seen, standing
        # A stop that is gone explains a gap of its own read, never one that opens later.
        with_gap = {gap.symbol for gap in gaps}
        self._vanished = [one for one in self._vanished if one.row.symbol in with_gap]

    def _confirmed(self, gap: PositionGap, started_ns: int, learnt: Learnt) -> None:
        difference = gap.broker - gap.books
        for record in self._vanished:
            if explains_gap(gap, record):
                reason = f"stop {record.ref} is gone and so is what it protected"
                learnt.changes.append(
                    PositionAdjusted(gap.symbol, difference, reason, record.row.plan_id)
                )
                learnt.records.append(record)
                self._vanished.remove(record)
                text = f"{gap.symbol}: {reason}: adjusted by {difference}"
                self._tell(learnt, "critical", "position_adjusted", text, (gap, record.ref))
                return
        text = f"{gap.symbol}: {_GAP} {gap.broker}, the books {gap.books}"
        self._quarantine(learnt, gap.symbol, "position_gap", text, gap)
        missing = self._missing_of(gap, started_ns)
        if missing is not None:
            # Its stop would sell what is not held: the plan must know before it fires.
            reason = f"{-missing.shares} shares left past our orders; the stop still rests"
            learnt.changes.append(
                PositionAdjusted(gap.symbol, missing.shares, reason, missing.plan_id)
            )
            books = gap.books + missing.shares
            self._shown_gaps[gap.symbol] = PositionGap(gap.symbol, gap.broker, books)
            text = f"{gap.symbol}: {missing.plan_id}: {reason}"
            self._tell(learnt, "critical", "position_adjusted", text, (gap, missing.plan_id))

    def _missing_of(self, gap: PositionGap, started_ns: int) -> Missing | None:
        """Return what a plan lost; an order that is gone without a word may have sold it."""
        if any(record.row.symbol == gap.symbol for record in self._vanished):
            return None
        return missing_shares(gap, self._book, started_ns)

    def _quarantine(self, learnt: Learnt, symbol: str, kind: str, text: str, key: object) -> None:
        if symbol not in self._book.quarantined:
            learnt.changes.append(SymbolQuarantined(symbol, text))
        self._tell(learnt, "critical", kind, text, key)

    def _tell(self, learnt: Learnt, severity: str, kind: str, text: str, key: object) -> None:
        if (kind, key) in self._told:
            return
        self._told.add((kind, key))
        learnt.alarms.append(Alarm(severity, kind, text))

    def reconciled(self, fact: SnapshotTaken) -> None:
        """Take note that a snapshot's changes are applied."""
        self.clean_ns = fact.started_mono_ns
        if fact.started_mono_ns >= self._blocked_ns:
            self._blocked_all = ""
            self.blocked.clear()
