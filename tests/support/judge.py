"""A judge of what happened to money, from outside: the gateway's ledger, its client, PostgreSQL.

Rules of this file:
- pure: what was seen goes in, violations come out; the engine's own word is no evidence;
- an order's life is what the ledger says; PostgreSQL and the official client must agree with it;
- times are monotonic ns of the machine; a span says when something could not be known or done.

The invariants.
    I1   never two live orders for one intent
    I2   no order while the link is not CLEAN
    I3   every position of ours has exactly one full-size live stop within 5 s, or a person knows
    I4   every execution is booked once
    I5   no order state from an error text or a timeout
    I6   no entry on a stale or invalid price
    I7   PostgreSQL is never behind the wire
    I8   never a wrong account
    I9   no order of others is touched, and no entry goes where others stand
    I10  books equal broker, or the symbol is blocked
    I11  one sender, under its own client id
    I12  what is sold is held: no oversell, no plan on the wrong side
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from support.judge_lives import Life, Lives

S_NS = 1_000_000_000
COVER_S_MAX = 5.0
GRACE_NS = 1 * S_NS
"""What was under way when a span began may still arrive."""
CLOCKS_NS = 50_000_000
"""Wall and monotonic clock are told apart to this, within one run."""
LIVE_STATES = frozenset({"acked", "working", "partial", "sent_unknown", "sending"})
OVER_STATES = frozenset({"filled", "cancelled", "rejected", "expired", "never_sent"})
PREFIX = "tb"
"""Every orderRef of ours begins so."""


@dataclass(frozen=True)
class Violation:
    """One invariant that did not hold. subject: the order, plan or symbol concerned."""

    rule: str
    account: str
    subject: str
    text: str


@dataclass(frozen=True)
class Span:
    """A stretch of monotonic time.

    what: blind (no order may leave), spoilt (no entry in the symbol may leave), away (nobody could
    know or act), store_away (PostgreSQL takes nothing). "" for account or symbol: any.
    """

    what: str
    account: str
    symbol: str
    from_ns: int
    to_ns: int

    def is_of(self, what: str, account: str, symbol: str = "") -> bool:
        """Say whether it concerns this account and symbol."""
        return (
            self.what == what
            and self.account in ("", account)
            and (symbol == "" or self.symbol in ("", symbol))
        )


@dataclass
class Seen:
    """What was looked at. Rows of PostgreSQL carry `mono_ns` for when they were written."""

    ledger: list[dict[str, Any]]
    orders: list[dict[str, Any]] = field(default_factory=list)
    """trade.broker_order"""
    moves: list[dict[str, Any]] = field(default_factory=list)
    """order_ref, state, cause, mono_ns of every order_moved"""
    fills: list[dict[str, Any]] = field(default_factory=list)
    """trade.fill"""
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    """trade.position"""
    adopted: list[tuple[str, str, int, int]] = field(default_factory=list)
    """(account, symbol, shares, mono_ns) that a person gave to a plan"""
    quarantined: dict[tuple[str, str], int] = field(default_factory=dict)
    """(account, symbol) -> since"""
    alerts: list[dict[str, Any]] = field(default_factory=list)
    """account, severity, kind, text, mono_ns"""
    positions: dict[tuple[str, str], int] = field(default_factory=dict)
    """by the official client"""
    open_orders: dict[tuple[str, str], tuple[str, str, int]] = field(default_factory=dict)
    """(account, orderRef) -> symbol, side, quantity, by the official client"""
    account_ids: dict[str, str] = field(default_factory=dict)
    client_ids: dict[str, int] = field(default_factory=lambda: {"paper": 11, "live": 12})
    spans: list[Span] = field(default_factory=list)
    now_ns: int = 0

    def within(
        self, what: str, account: str, at_ns: int, symbol: str = "", grace_ns: int = 0
    ) -> bool:
        """Say whether a moment lies in a span of this kind, its first `grace_ns` left out."""
        return any(
            span.is_of(what, account, symbol) and span.from_ns + grace_ns < at_ns < span.to_ns
            for span in self.spans
        )

    def was_told(self, account: str, from_ns: int, to_ns: int, kind: str = "") -> bool:
        """Say whether a critical alert of an account was raised in this time."""
        return any(
            alert["severity"] == "critical"
            and alert["account"] in (account, None)
            and kind in ("", alert["kind"])
            and from_ns <= alert["mono_ns"] <= to_ns
            for alert in self.alerts
        )


@dataclass(frozen=True)
class Window:
    """A stretch in which a position of ours was not covered by exactly one full-size stop.

    cause: entry_partial, exit, scale_out, stop_replacement or repair.
    """

    account: str
    symbol: str
    cause: str
    from_ns: int
    to_ns: int

    @property
    def lasted_s(self) -> float:
        """Return how long it was."""
        return (self.to_ns - self.from_ns) / S_NS


class Case:
    """What was seen, and the lives of the orders that the ledger tells of."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.rows = {row["order_ref"]: row for row in seen.orders}
        roles = {ref: str(row["role"]) for ref, row in self.rows.items()}
        self.lives = Lives(seen.ledger, seen.client_ids, roles, seen.adopted)

    def role(self, ref: str) -> str:
        """Return the role of an order, "" where PostgreSQL does not know it."""
        return str(self.rows.get(ref, {}).get("role", ""))

    def plan(self, ref: str) -> str:
        """Return the plan of an order, "" where PostgreSQL does not know it."""
        return str(self.rows.get(ref, {}).get("plan_id", ""))

    def windows(self) -> list[Window]:
        """Return every uncovered stretch, oldest first, what nobody could know cut out."""
        found = []
        for account, symbol, from_ns, to_ns in self.lives.uncovered(self.seen.now_ns):
            for begin, end in self._known(account, from_ns, to_ns):
                cause = self._cause(account, symbol, from_ns, to_ns)
                found.append(Window(account, symbol, cause, begin, end))
        return found

    def _known(self, account: str, from_ns: int, to_ns: int) -> list[tuple[int, int]]:
        parts = [(from_ns, to_ns)]
        for span in self.seen.spans:
            if not (span.is_of("away", account) or span.is_of("blind", account)):
                continue
            cut = []
            for begin, end in parts:
                cut += [(begin, min(end, span.from_ns)), (max(begin, span.to_ns), end)]
            parts = [(begin, end) for begin, end in cut if begin < end]
        return parts

    def _cause(self, account: str, symbol: str, from_ns: int, to_ns: int) -> str:
        roles = {
            self.role(life.ref)
            for life in self.lives.of(account, symbol)
            if life.placed_ns <= to_ns and (life.ended_ns is None or life.ended_ns >= from_ns)
        }
        for role, cause in (("exit", "exit"), ("slice", "scale_out"), ("entry", "entry_partial")):
            if role in roles:
                return cause
        had_stop = any(
            life.is_stop and life.placed_ns < from_ns for life in self.lives.of(account, symbol)
        )
        return "stop_replacement" if had_stop else "repair"


def judge(seen: Seen, excused: tuple[str, ...] = ()) -> list[Violation]:
    """Return what did not hold. excused: rules, or rule:subject, that are not asked here."""
    case = Case(seen)
    found = [violation for rule in RULES for violation in rule(case)]
    return [one for one in found if not {one.rule, f"{one.rule}:{one.subject}"} & set(excused)]


def _one_live_order(case: Case) -> Iterator[Violation]:
    ids: dict[tuple[str, str], set[int]] = defaultdict(set)
    for sent in case.lives.sent:
        ids[sent.account, sent.ref].add(sent.order_id)
    for (account, ref), found in ids.items():
        if len(found) > 1:
            yield Violation("I1", account, ref, f"sent under the ids {sorted(found)}")
    groups: dict[tuple[str, str], list[Life]] = defaultdict(list)
    for life in case.lives.ours:
        groups[life.account, life.ref].append(life)
        if case.role(life.ref) == "entry":
            groups[life.account, f"entry of {case.plan(life.ref)}"].append(life)
    for (account, subject), lives in groups.items():
        for first, second in _overlapping(lives):
            is_told = (account, first.symbol) in case.seen.quarantined and case.seen.was_told(
                account, 0, case.seen.now_ns, "forked_order"
            )
            if not (is_told and first.ref == second.ref):
                text = f"{first.perm_id} and {second.perm_id} live at once"
                yield Violation("I1", account, subject, text)


def _overlapping(lives: list[Life]) -> Iterator[tuple[Life, Life]]:
    for index, first in enumerate(lives):
        for second in lives[index + 1 :]:
            begin = max(first.placed_ns, second.placed_ns)
            if all(life.ended_ns is None or life.ended_ns > begin for life in (first, second)):
                yield first, second


def _no_order_while_blind(case: Case) -> Iterator[Violation]:
    for sent in case.lives.messages:
        if case.seen.within("blind", sent.account, sent.at_ns, grace_ns=GRACE_NS):
            what = "order" if sent.message_id == 3 else "cancel"
            yield Violation("I2", sent.account, sent.ref or str(sent.order_id), f"{what} was sent")


def _always_covered(case: Case) -> Iterator[Violation]:
    for window in case.windows():
        to_ns = window.to_ns + int(COVER_S_MAX * S_NS)
        is_told = case.seen.was_told(window.account, window.from_ns, to_ns)
        if window.lasted_s > COVER_S_MAX and not is_told:
            text = f"not covered for {window.lasted_s:.1f} s ({window.cause}), nobody told"
            yield Violation("I3", window.account, window.symbol, text)


def _booked_once(case: Case) -> Iterator[Violation]:
    done = {stem: row for stem, row in case.lives.executions.items() if row["shares"]}
    booked: dict[str, dict[str, Any]] = {}
    for row in case.seen.fills:
        stem = str(row["exec_id"]).rpartition(".")[0]
        if stem in booked:
            yield Violation("I4", row["account"], stem, "booked twice")
        booked[stem] = row
    for stem, row in done.items():
        ours = booked.get(stem)
        if ours is None:
            yield Violation("I4", row["account"], stem, f"{row['shares']} shares are not booked")
            continue
        told = tuple(ours[name] for name in ("account", "symbol", "side", "quantity"))
        true = tuple(row[name] for name in ("account", "symbol", "side", "shares"))
        if told != true:
            yield Violation("I4", row["account"], stem, f"booked as {told}, is {true}")
    for stem, ours in booked.items():
        if stem not in done and ours["quantity"]:
            yield Violation("I4", ours["account"], stem, "booked, and the broker knows nothing")


def _state_by_facts(case: Case) -> Iterator[Violation]:
    ends: dict[str, list[Life]] = defaultdict(list)
    for life in case.lives.ours:
        ends[life.ref].append(life)
    for move in case.seen.moves:
        if move["state"] not in OVER_STATES:
            continue
        for life in ends.get(move["order_ref"], ()):
            began = life.placed_ns <= move["mono_ns"] - CLOCKS_NS
            lives_on = life.ended_ns is None or life.ended_ns > move["mono_ns"] + CLOCKS_NS
            if began and lives_on and not case.lives.is_forked(life):
                text = f"{move['state']} ({move['cause']}) while it lives"
                yield Violation("I5", life.account, life.ref, text)
    for row in case.seen.orders:
        lives = ends.get(row["order_ref"], [])
        is_live = any(life.ended_ns is None for life in lives)
        if row["state"] in OVER_STATES and is_live:
            yield Violation("I5", row["account"], row["order_ref"], f"{row['state']}, but it lives")
        if row["state"] == "never_sent" and lives:
            yield Violation("I5", row["account"], row["order_ref"], "never sent, but it was placed")


def _no_entry_on_bad_price(case: Case) -> Iterator[Violation]:
    for sent in case.lives.first_sent():
        symbol = str(case.rows.get(sent.ref, {}).get("symbol", ""))
        if case.role(sent.ref) == "entry" and case.seen.within(
            "spoilt", sent.account, sent.at_ns, symbol, GRACE_NS
        ):
            yield Violation("I6", sent.account, sent.ref, f"entry in {symbol} on a bad price")


def _journal_first(case: Case) -> Iterator[Violation]:
    for sent in case.lives.first_sent():
        row = case.rows.get(sent.ref)
        if row is None:
            yield Violation("I7", sent.account, sent.ref, "on the wire, not in PostgreSQL")
            continue
        is_late = row["mono_ns"] > sent.at_ns + CLOCKS_NS
        may_be = row["role"] != "entry" and case.seen.within("store_away", sent.account, sent.at_ns)
        if is_late and not may_be:
            late_s = (row["mono_ns"] - sent.at_ns) / S_NS
            yield Violation("I7", sent.account, sent.ref, f"recorded {late_s:.3f} s after its send")


def _right_account(case: Case) -> Iterator[Violation]:
    for sent in case.lives.sent:
        wanted = case.seen.account_ids.get(sent.account)
        if sent.account_id != wanted:
            text = f"names {sent.account_id!r} at the gateway of {wanted}"
            yield Violation("I8", sent.account, sent.ref, text)
        row = case.rows.get(sent.ref)
        if row is not None and (row["account"], row["account_id"]) != (sent.account, wanted):
            yield Violation("I8", sent.account, sent.ref, f"is {row['account']}'s in PostgreSQL")


def _others_untouched(case: Case) -> Iterator[Violation]:
    known = {(row["account"], row["order_id"]) for row in case.seen.orders}
    for sent in case.lives.messages:
        if sent.message_id == 58:
            yield Violation("I9", sent.account, "reqGlobalCancel", "cancels what is not ours")
        elif sent.message_id == 4 and (sent.account, sent.order_id) not in known:
            yield Violation("I9", sent.account, str(sent.order_id), "cancels what is not ours")
        elif sent.message_id == 3 and not sent.ref.startswith(PREFIX):
            yield Violation("I9", sent.account, str(sent.order_id), "an order without our orderRef")
    for sent in case.lives.first_sent():
        symbol = str(case.rows.get(sent.ref, {}).get("symbol", ""))
        since_ns = case.seen.quarantined.get((sent.account, symbol))
        is_late = since_ns is not None and sent.at_ns > since_ns + CLOCKS_NS
        if is_late and case.role(sent.ref) == "entry":
            yield Violation("I9", sent.account, sent.ref, f"an entry in {symbol}, which is blocked")


def _books_agree(case: Case) -> Iterator[Violation]:
    seen = case.seen
    broker = {key: shares for key, shares in case.lives.positions().items() if shares}
    for account, symbol in sorted({*broker, *seen.positions}):
        key = (account, symbol)
        if broker.get(key, 0) != seen.positions.get(key, 0):
            text = f"ledger {broker.get(key, 0)}, official client {seen.positions.get(key, 0)}"
            yield Violation("I10", account, symbol, text)
    for account, symbol in sorted({*seen.positions, *seen.held}):
        key = (account, symbol)
        ours, theirs = seen.held.get(key, 0), seen.positions.get(key, 0)
        if ours != theirs and key not in seen.quarantined:
            yield Violation("I10", account, symbol, f"books {ours}, broker {theirs}")
    theirs = {key for key in seen.open_orders if key[1].startswith(PREFIX)}
    ours = {
        (row["account"], row["order_ref"]) for row in seen.orders if row["state"] in LIVE_STATES
    }
    for account, ref in sorted(theirs ^ ours):
        where = "the broker's" if (account, ref) in theirs else "our"
        yield Violation("I10", account, ref, f"open in {where} books only")


def _one_sender(case: Case) -> Iterator[Violation]:
    for life in case.lives.all:
        if life.ref.startswith(PREFIX) and life.client_id != case.seen.client_ids[life.account]:
            yield Violation("I11", life.account, life.ref, f"sent by client {life.client_id}")


def _sold_is_held(case: Case) -> Iterator[Violation]:
    for account, symbol, text in case.lives.oversold():
        yield Violation("I12", account, symbol, text)
    sides = {}
    for row in case.seen.orders:
        if row["role"] == "entry":
            sides[row["plan_id"]] = 1 if row["side"] == "BUY" else -1
    shares: dict[str, int] = defaultdict(int)
    for row in case.seen.fills:
        shares[str(row["plan_id"])] += (1 if row["side"] == "BUY" else -1) * row["quantity"]
    for plan_id, quantity in shares.items():
        if quantity * sides.get(plan_id, 0) < 0:
            yield Violation("I12", "", plan_id, f"{quantity} shares on the wrong side")


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _one_live_order,
    _no_order_while_blind,
    _always_covered,
    _booked_once,
    _state_by_facts,
    _no_entry_on_bad_price,
    _journal_first,
    _right_account,
    _others_untouched,
    _books_agree,
    _one_sender,
    _sold_is_held,
)
