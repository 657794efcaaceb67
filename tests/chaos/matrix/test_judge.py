"""The judge is judged: for each invariant a made-up ledger or book that breaks it is caught."""

from typing import Any

import pytest

from support.judge import S_NS, Case, Seen, Span, judge

ACCOUNT_ID = "SIM1234567P"
ENTRY, STOP, PLAN = "tb-entry", "tb-stop", "p1"


class Tale:
    """A ledger with a book that agrees, told step by step; `at` is in seconds."""

    def __init__(self) -> None:
        self.ledger: list[dict[str, Any]] = []
        self.seen = Seen(
            self.ledger,
            account_ids={"paper": ACCOUNT_ID, "live": "SIM7654321L"},
            now_ns=1000 * S_NS,
        )
        self._executions = 0

    def row(self, at: float, kind: str, **fields: Any) -> None:
        self.ledger.append(
            {"seq": len(self.ledger), "kind": kind, "mono_ns": int(at * S_NS), "at_ns": 0,
             "account": "paper", "client_id": 11, **fields}
        )  # fmt: skip

    def message(self, at: float, ref: str, order_id: int, **more: Any) -> None:
        fields = [""] * 114
        fields[84] = more.pop("what_if", "0")
        fields[0], fields[1] = "3", str(order_id)
        fields[23], fields[26] = more.pop("account_id", ACCOUNT_ID), ref
        payload = "\0".join(fields).encode().hex()
        self.row(at, "message", message_id=3, payload=payload, **more)

    def cancel(self, at: float, order_id: int, message_id: int = 4) -> None:
        payload = f"{message_id}\x001\x00{order_id}\x00".encode().hex()
        self.row(at, "message", message_id=message_id, payload=payload)

    def place(
        self, at: float, ref: str, perm: int, quantity: int = 40, *, role: str = "entry",
        side: str = "", parent: int = 0, order_id: int = 0, symbol: str = "AAPL", plan: str = PLAN,
        **more: Any,
    ) -> None:  # fmt: skip
        """An order, recorded and sent a moment before it stands at the exchange."""
        order_id = order_id or perm
        side = side or ("BUY" if role == "entry" else "SELL")
        kind = {"entry": "MKT", "stop": "STP"}.get(role, "LMT")
        tif = {"entry": "DAY", "stop": "GTC"}.get(role, "IOC")
        self.message(at, ref, order_id, **more)
        ticket = {
            "order_ref": ref, "symbol": symbol, "side": side, "quantity": quantity,
            "order_type": kind, "tif": tif,
        }  # fmt: skip
        more.pop("account_id", None)
        self.row(at, "order_placed", order_id=order_id, perm_id=perm, parent_perm_id=parent,
                 ticket=ticket, **more)  # fmt: skip
        if not any(row["order_ref"] == ref for row in self.seen.orders):
            self.seen.orders.append(
                {"order_ref": ref, "plan_id": plan, "account": "paper", "account_id": ACCOUNT_ID,
                 "symbol": symbol, "role": role, "side": side, "quantity": quantity, "filled": 0,
                 "state": "working", "order_id": order_id, "mono_ns": int((at - 0.01) * S_NS)}
            )  # fmt: skip
        self.seen.open_orders["paper", ref] = (symbol, side, quantity)

    def state(
        self, at: float, perm: int, status: str = "PreSubmitted", *, total: int = 40,
        armed: int = 40, filled: int = 0,
    ) -> None:  # fmt: skip
        self.row(at, "order_state", perm_id=perm, total=total, armed=armed, filled=filled,
                 status=status)  # fmt: skip

    def fill(
        self, at: float, ref: str, perm: int, shares: int = 40, *, side: str = "BUY",
        symbol: str = "AAPL", is_booked: bool = True, plan: str = PLAN, **more: Any,
    ) -> str:  # fmt: skip
        self._executions += 1
        exec_id = f"0001.{self._executions:04d}.01"
        self.row(at, "execution", exec_id=exec_id, perm_id=perm, symbol=symbol, side=side,
                 shares=shares, cum_quantity=shares, order_ref=ref, **more)  # fmt: skip
        sign = 1 if side == "BUY" else -1
        key = ("paper", symbol)
        self.seen.positions[key] = self.seen.positions.get(key, 0) + sign * shares
        if is_booked:
            self.seen.held[key] = self.seen.held.get(key, 0) + sign * shares
            self.seen.fills.append(
                {"exec_id": exec_id, "order_ref": ref, "plan_id": plan, "account": "paper",
                 "symbol": symbol, "side": side, "quantity": shares}
            )  # fmt: skip
        return exec_id

    def over(self, at: float, ref: str, perm: int, status: str, state: str, **more: Any) -> None:
        """An order ends at the exchange, and a moment later in the books."""
        self.state(at, perm, status, **more)
        self.row_of(ref)["state"] = state
        self.seen.open_orders.pop(("paper", ref), None)
        self.move(at + 0.01, ref, state)

    def move(self, at: float, ref: str, state: str, cause: str = "orderStatus") -> None:
        self.seen.moves.append(
            {"order_ref": ref, "state": state, "cause": cause, "mono_ns": int(at * S_NS)}
        )

    def row_of(self, ref: str) -> dict[str, Any]:
        return next(row for row in self.seen.orders if row["order_ref"] == ref)

    def span(self, what: str, begin: float, end: float, symbol: str = "") -> None:
        one = Span(what, "paper", symbol, int(begin * S_NS), int(end * S_NS))
        self.seen.spans.append(one)

    def alert(self, at: float, kind: str) -> None:
        self.seen.alerts.append(
            {"account": "paper", "symbol": None, "severity": "critical", "kind": kind, "text": "",
             "mono_ns": int(at * S_NS)}
        )  # fmt: skip

    def rules(self) -> set[str]:
        return {violation.rule for violation in judge(self.seen)}


@pytest.fixture
def tale() -> Tale:
    """A plan that entered and rests, covered by its stop."""
    made = Tale()
    made.place(1.0, ENTRY, 101)
    made.place(1.0, STOP, 102, role="stop", parent=101)
    made.fill(2.0, ENTRY, 101)
    made.over(2.0, ENTRY, 101, "Filled", "filled", filled=40)
    made.state(2.0, 102)
    return made


def left(tale: Tale) -> Tale:
    """The plan leaves: the stop is cancelled, an exit sells what is held."""
    tale.cancel(10.0, 102)
    tale.over(10.2, STOP, 102, "Cancelled", "cancelled")
    tale.place(10.5, "tb-exit", 103, role="exit")
    tale.fill(10.6, "tb-exit", 103, side="SELL")
    tale.over(10.6, "tb-exit", 103, "Filled", "filled", filled=40)
    return tale


def test_a_sound_life_breaks_nothing(tale):
    assert judge(tale.seen) == []
    assert judge(left(tale).seen) == []


def test_two_live_orders_of_one_intent(tale):
    tale.place(20.0, ENTRY, 201)
    tale.place(21.0, ENTRY, 202, order_id=201)
    assert "I1" in tale.rules()


def test_one_intent_under_two_order_ids(tale):
    tale.message(20.0, STOP, 999)
    assert "I1" in tale.rules()


def test_two_entries_of_one_plan_at_once(tale):
    tale.place(20.0, "tb-again", 201)
    tale.place(21.0, "tb-more", 202)
    assert "I1" in tale.rules()


def test_a_fork_is_no_fault_of_ours_once_it_is_told_and_blocked(tale):
    tale.place(20.0, STOP, 202, role="stop", order_id=102)
    assert "I1" in tale.rules()
    tale.seen.quarantined["paper", "AAPL"] = 21 * S_NS
    assert "I1" in tale.rules()
    tale.alert(21.0, "forked_order")
    assert "I1" not in tale.rules()


@pytest.mark.parametrize("act", ["order", "cancel"])
def test_an_order_while_the_link_is_blind(tale, act):
    tale.span("blind", 30, 40)
    if act == "order":
        tale.message(35.0, STOP, 102)
    else:
        tale.cancel(35.0, 102)
    assert tale.rules() == {"I2"}


def test_what_was_under_way_as_the_link_went_blind_is_no_fault(tale):
    tale.span("blind", 30, 40)
    tale.message(30.5, STOP, 102)
    tale.message(40.5, STOP, 102)
    assert tale.rules() == set()


def test_a_position_without_a_stop(tale):
    tale.over(10.0, STOP, 102, "Cancelled", "cancelled")
    tale.place(16.0, "tb-new", 103, role="stop")
    tale.state(16.0, 103)
    assert tale.rules() == {"I3"}
    (window,) = [one for one in Case(tale.seen).windows() if one.lasted_s > 1]
    assert (window.cause, round(window.lasted_s)) == ("stop_replacement", 6)
    tale.alert(15.5, "uncovered")
    assert tale.rules() == set(), "a person was told"


def test_the_time_until_an_exit_stands_is_the_exits(tale):
    (window,) = [one for one in Case(left(tale).seen).windows() if one.lasted_s > 0.1]
    assert (window.cause, round(window.lasted_s, 1)) == ("exit", 0.3)


def test_a_partly_filled_entry_has_no_more_than_five_seconds(tale):
    tale.place(20.0, "tb-part", 201, symbol="XOM", plan="p2")
    tale.fill(21.0, "tb-part", 201, 7, symbol="XOM", plan="p2")
    tale.over(26.0, "tb-part", 201, "Cancelled", "cancelled", filled=7)
    tale.place(26.5, "tb-cover", 203, 7, role="stop", symbol="XOM", plan="p2")
    assert tale.rules() == {"I3"}


def test_a_stop_of_another_size(tale):
    tale.state(10.0, 102, total=30, armed=30)
    assert "I3" in tale.rules()


def test_time_in_which_nobody_could_know_is_not_counted(tale):
    tale.over(10.0, STOP, 102, "Cancelled", "cancelled")
    tale.place(16.0, "tb-new", 103, role="stop")
    tale.state(16.0, 103)
    tale.span("away", 9, 15)
    assert tale.rules() == set()


def test_two_stops_of_one_position(tale):
    tale.place(20.0, "tb-second", 103, role="stop")
    tale.state(20.0, 103)
    assert {"I3", "I12"} <= tale.rules()


def test_a_fill_that_is_not_booked(tale):
    tale.place(20.0, "tb-more", 103)
    tale.fill(21.0, "tb-more", 103, is_booked=False)
    assert "I4" in tale.rules()


def test_a_fill_that_is_booked_twice(tale):
    tale.seen.fills.append(dict(tale.seen.fills[0]))
    assert "I4" in tale.rules()


def test_a_fill_that_nobody_made(tale):
    tale.seen.fills.append({**tale.seen.fills[0], "exec_id": "0009.0001.01"})
    assert "I4" in tale.rules()


def test_a_correction_that_was_added(tale):
    row = next(row for row in tale.ledger if row["kind"] == "execution")
    tale.row(5.0, "correction", **{
        **{name: row[name] for name in ("perm_id", "symbol", "side", "cum_quantity", "order_ref")},
        "exec_id": row["exec_id"].removesuffix("01") + "02", "shares": 39,
    })  # fmt: skip
    assert "I4" in tale.rules()
    tale.seen.fills[0] |= {"exec_id": "0001.0001.02", "quantity": 39}
    assert "I4" not in tale.rules()


def test_a_state_from_an_error_text(tale):
    tale.move(5.0, STOP, "cancelled", "code 10147")
    assert tale.rules() == {"I5"}


def test_an_order_that_lives_on_though_the_books_end_it(tale):
    tale.row_of(STOP)["state"] = "rejected"
    assert "I5" in tale.rules()


def test_an_order_that_was_placed_though_the_books_say_never_sent(tale):
    tale.row_of(ENTRY)["state"] = "never_sent"
    assert "I5" in tale.rules()


def test_an_entry_on_a_bad_price(tale):
    tale.span("spoilt", 30, 40, symbol="MSFT")
    tale.place(35.0, "tb-bad", 301, symbol="MSFT", plan="p2")
    assert tale.rules() == {"I6"}


def test_an_entry_in_another_symbol_is_not_meant(tale):
    tale.span("spoilt", 30, 40, symbol="MSFT")
    tale.place(35.0, "tb-good", 301, symbol="XOM", plan="p2")
    assert tale.rules() == set()


def test_an_order_that_was_recorded_after_its_send(tale):
    tale.row_of(ENTRY)["mono_ns"] = 2 * S_NS
    assert tale.rules() == {"I7"}


def test_an_order_that_postgresql_does_not_know(tale):
    tale.message(20.0, "tb-nowhere", 301)
    assert "I7" in tale.rules()


def test_an_exit_may_be_recorded_late_while_postgresql_is_away(tale):
    left(tale)
    tale.row_of("tb-exit")["mono_ns"] = 20 * S_NS
    assert tale.rules() == {"I7"}
    tale.span("store_away", 9, 19)
    assert tale.rules() == set()
    tale.row_of(ENTRY)["mono_ns"] = 20 * S_NS
    tale.span("store_away", 0, 5)
    assert tale.rules() == {"I7"}, "an entry never"


def test_an_order_at_the_wrong_account(tale):
    tale.message(20.0, STOP, 102, account_id="SIM7654321L")
    assert tale.rules() == {"I8"}


def test_an_order_that_the_books_give_to_the_other_account(tale):
    tale.row_of(STOP)["account"] = "live"
    assert "I8" in tale.rules()


@pytest.mark.parametrize("message_id", [4, 58])
def test_a_cancel_of_what_is_not_ours(tale, message_id):
    tale.cancel(20.0, 900, message_id)
    assert tale.rules() == {"I9"}


def test_an_order_without_our_reference(tale):
    tale.place(20.0, "manual", 301, symbol="XOM", plan="p2")
    assert "I9" in tale.rules()


def test_a_question_about_margin_is_no_order(tale):
    tale.message(20.0, "whatif-1", 7, what_if="1")
    assert tale.rules() == set()


def test_an_entry_where_others_stand(tale):
    tale.seen.quarantined["paper", "XOM"] = 15 * S_NS
    tale.place(20.0, "tb-there", 301, symbol="XOM", plan="p2")
    assert tale.rules() == {"I9"}


def test_books_that_do_not_equal_the_broker(tale):
    tale.seen.held["paper", "AAPL"] = 41
    assert tale.rules() == {"I10"}
    tale.seen.quarantined["paper", "AAPL"] = 0
    assert "I10" not in tale.rules()


def test_an_open_order_that_one_side_does_not_know(tale):
    del tale.seen.open_orders["paper", STOP]
    assert tale.rules() == {"I10"}


def test_a_ledger_that_the_official_client_contradicts(tale):
    tale.seen.positions["paper", "AAPL"] = 7
    tale.seen.held["paper", "AAPL"] = 7
    assert tale.rules() == {"I10"}


def test_an_order_of_ours_from_another_client(tale):
    tale.place(20.0, "tb-other", 301, client_id=13, symbol="XOM", plan="p2")
    assert "I11" in tale.rules()


def test_more_for_sale_than_is_held(tale):
    tale.place(20.0, "tb-exit", 103, role="exit")
    assert "I12" in tale.rules()


def test_a_plan_on_the_wrong_side(tale):
    left(tale)
    tale.seen.fills.append({**tale.seen.fills[-1], "exec_id": "0001.0099.01"})
    assert "I12" in tale.rules()


def test_shares_by_hand_are_nobody_elses_business(tale):
    tale.row(20.0, "order_placed", client_id=0, order_id=1, perm_id=900, parent_perm_id=0,
             ticket={"order_ref": "", "symbol": "XOM", "side": "BUY", "quantity": 7,
                     "order_type": "MKT", "tif": "DAY"})  # fmt: skip
    tale.fill(20.0, "", 900, 7, symbol="XOM", is_booked=False, client_id=0)
    assert tale.rules() == {"I10"}, "the books must say so"
    tale.seen.quarantined["paper", "XOM"] = 0
    assert tale.rules() == set()


def test_what_a_person_sold_of_ours_is_bare_no_more(tale):
    tale.row(20.0, "order_placed", client_id=0, order_id=1, perm_id=900, parent_perm_id=0,
             ticket={"order_ref": "", "symbol": "AAPL", "side": "SELL", "quantity": 40,
                     "order_type": "MKT", "tif": "DAY"})  # fmt: skip
    tale.fill(20.0, "", 900, side="SELL", is_booked=False, client_id=0)
    tale.cancel(20.5, 102)
    tale.over(20.6, STOP, 102, "Cancelled", "cancelled")
    tale.seen.held["paper", "AAPL"] = 0
    case = Case(tale.seen)
    assert case.lives.held("paper", "AAPL") == 0
    assert [one for one in case.windows() if one.to_ns > 21 * S_NS] == []
    assert tale.rules() == set()


def test_adopted_shares_are_ours(tale):
    tale.row(20.0, "order_placed", client_id=0, order_id=1, perm_id=900, parent_perm_id=0,
             ticket={"order_ref": "", "symbol": "XOM", "side": "BUY", "quantity": 7,
                     "order_type": "MKT", "tif": "DAY"})  # fmt: skip
    tale.fill(20.0, "", 900, 7, symbol="XOM", is_booked=False, client_id=0)
    tale.seen.held["paper", "XOM"] = 7
    tale.place(22.0, "tb-adopted", 301, 7, role="stop", symbol="XOM", plan="p2")
    assert tale.rules() == {"I12"}
    tale.seen.adopted.append(("paper", "XOM", 7, 21 * S_NS))
    assert tale.rules() == set()


def test_a_split_doubles_what_is_held_and_ends_the_stop(tale):
    tale.row(20.0, "split", symbol="AAPL", numerator=2, denominator=1)
    tale.over(20.0, STOP, 102, "Cancelled", "cancelled")
    tale.seen.positions["paper", "AAPL"] = tale.seen.held["paper", "AAPL"] = 80
    tale.place(22.0, "tb-new", 301, 80, role="stop")
    assert tale.rules() == set()


def test_what_a_split_added_is_held_once_whoever_adopts_it(tale):
    tale.row(20.0, "split", symbol="AAPL", numerator=2, denominator=1)
    tale.over(20.0, STOP, 102, "Cancelled", "cancelled")
    tale.seen.positions["paper", "AAPL"] = tale.seen.held["paper", "AAPL"] = 80
    tale.seen.adopted.append(("paper", "AAPL", 40, 21 * S_NS))
    tale.place(22.0, "tb-exit", 301, role="exit")
    tale.fill(22.1, "tb-exit", 301, side="SELL")
    tale.over(22.1, "tb-exit", 301, "Filled", "filled", filled=40)
    tale.place(22.2, "tb-adopted", 302, role="stop", plan="p2")
    assert Case(tale.seen).lives.held("paper", "AAPL") == 40
    assert tale.rules() == set()


def test_an_excuse_covers_its_rule_or_its_subject_alone(tale):
    tale.seen.held["paper", "AAPL"] = 41
    assert judge(tale.seen, ("I10",)) == []
    assert judge(tale.seen, ("I10:AAPL",)) == []
    assert judge(tale.seen, ("I10:MSFT", "I4")) != []
