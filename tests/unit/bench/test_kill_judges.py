"""The judges of the kill drill can fail: each made-up ledger has one fault, and it is named."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[3]
KEY = ("paper", "AAPL")


@pytest.fixture(autouse=True)
def benches(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


class Book:
    """Writes rows as the gateway's ledger has them; each call is a commit of its own."""

    def __init__(self):
        self.fold = importlib.import_module("bench.ledger_fold").LedgerFold()
        self.at_ns = 0
        self.executions = 0

    def rows(self, *rows, later_ms=1):
        self.at_ns += later_ms * 1_000_000
        for row in rows:
            self.fold.take({"at_ns": self.at_ns, "mono_ns": self.at_ns, "account": "paper", **row})
        return self

    @staticmethod
    def placed(perm_id, side, quantity, order_type="MKT", tif="DAY", parent=0, ref=""):
        ticket = {
            "symbol": "AAPL", "side": side, "quantity": quantity, "order_type": order_type,
            "tif": tif, "parent_id": parent, "transmit": bool(parent) or tif == "IOC",
            "order_ref": ref or f"r{perm_id}",
        }  # fmt: skip
        return {"kind": "order_placed", "perm_id": perm_id, "ticket": ticket}

    @staticmethod
    def state(perm_id, total, filled=0, armed=None, status="Submitted"):
        armed = total if armed is None else armed
        return {"kind": "order_state", "perm_id": perm_id, "total": total, "filled": filled,
                "armed": armed, "status": status}  # fmt: skip

    def executed(self, perm_id, side, shares, cum=None, exec_id=""):
        self.executions += 1
        return {"kind": "execution", "perm_id": perm_id, "symbol": "AAPL", "side": side,
                "shares": shares, "cum_quantity": cum or shares,
                "exec_id": exec_id or f"a.{self.executions}.01.01"}  # fmt: skip

    def held(self, quantity=100):
        """An entry that is filled, and its stop."""
        return self.rows(
            self.placed(1, "BUY", quantity),
            self.placed(2, "SELL", quantity, "STP", "GTC", parent=1),
            self.state(1, quantity),
            self.state(2, quantity, armed=0),
            self.executed(1, "BUY", quantity),
            self.state(1, quantity, quantity, status="Filled"),
            self.state(2, quantity),
        )

    def sliced(self, later_ms=30):
        """The stop shrinks by 40, a slice takes them."""
        self.rows(self.state(2, 60))
        self.rows(self.placed(3, "SELL", 40, "LMT", "IOC"), self.state(3, 40),
                  self.executed(3, "SELL", 40), self.state(3, 40, 40, status="Filled"),
                  later_ms=later_ms)  # fmt: skip
        return self

    def spans(self):
        self.fold.finish()
        return [(span.cause, round(span.lasted_s * 1000)) for span in self.fold.spans]


@pytest.fixture
def book():
    return Book()


def test_a_whole_life_has_no_fault_and_its_windows_have_causes(book):
    book.held().sliced()
    book.rows(book.state(2, 60, status="Cancelled"))
    book.rows(book.placed(4, "SELL", 60, "LMT", "IOC"), book.state(4, 60),
              book.executed(4, "SELL", 60), book.state(4, 60, 60, status="Filled"),
              later_ms=80)  # fmt: skip
    assert book.spans() == [("scale_out", 30), ("exit", 80)]
    assert book.fold.faults == []
    assert book.fold.held() == {}


def test_a_partly_filled_entry_is_uncovered_until_its_stop_is_armed(book):
    book.rows(book.placed(1, "BUY", 100), book.placed(2, "SELL", 100, "STP", "GTC", parent=1),
              book.state(1, 100), book.state(2, 100, armed=0),
              book.executed(1, "BUY", 30), book.state(1, 100, 30))  # fmt: skip
    book.rows(book.executed(1, "BUY", 70, cum=100), book.state(1, 100, 100, status="Filled"),
              book.state(2, 100), later_ms=45)  # fmt: skip
    assert book.spans() == [("entry_partial", 45)]


def test_a_stop_that_is_replaced_has_a_window_of_its_own(book):
    book.held()
    book.rows(book.state(2, 100, status="Cancelled"))
    book.rows(book.placed(5, "SELL", 100, "STP", "GTC", parent=9), book.state(5, 100), later_ms=70)
    assert book.spans() == [("stop_replacement", 70)]


def test_a_stop_that_never_comes_back_is_uncovered_to_the_end(book):
    book.held()
    book.rows(book.state(2, 100, status="Cancelled"))
    book.rows(book.placed(7, "BUY", 1), later_ms=9_000)
    assert book.spans() == [("stop_gone", 9_000)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (lambda b: (b.placed(3, "SELL", 40, "LMT", "IOC"), b.state(3, 40)), "more is for sale"),
        (
            lambda b: (b.placed(3, "SELL", 100, "STP", "GTC", parent=9), b.state(3, 100)),
            "two stops are armed",
        ),
        (lambda b: (b.executed(2, "SELL", 130),), "the side changed"),
        (lambda b: (b.placed(3, "BUY", 5, ref="r1"),), "placed twice"),
        (
            lambda b: (b.placed(3, "BUY", 10, "STP", "GTC", parent=9), b.state(3, 10)),
            "wrong side",
        ),
    ],
)
def test_each_fault_is_named(book, rows, said):
    book.held()
    assert book.fold.faults == []
    book.rows(*rows(book))
    book.fold.finish()
    assert any(said in fault for fault in book.fold.faults), book.fold.faults


def test_what_a_commit_passes_through_is_no_fault(book):
    book.held()
    book.rows(book.placed(3, "SELL", 40, "LMT", "IOC"), book.state(3, 40), book.state(2, 60))
    book.fold.finish()
    assert book.fold.faults == []


def test_a_correction_replaces(book):
    book.held()
    row = book.executed(1, "BUY", 90, cum=90, exec_id="a.1.01.02")
    book.rows({**row, "kind": "correction"})
    assert book.fold.held() == {KEY: 90}
    assert list(book.fold.executions) == ["a.1.01.02"]


def test_time_after_clean_is_told_apart():
    uncovered = importlib.import_module("bench.uncovered")
    span = importlib.import_module("bench.ledger_fold").Span
    ms = 1_000_000
    away = uncovered.absences(
        {"paper": [50 * ms, 400 * ms], "live": [60 * ms]}, [10 * ms, 200 * ms, 300 * ms]
    )
    assert [(a.account, a.begin_ns // ms, a.clean_ns // ms, a.kills) for a in away] == [
        ("live", 10, 60, 1), ("paper", 10, 50, 1), ("paper", 200, 400, 2),
    ]  # fmt: skip
    across = span(KEY, "scale_out", 5, 205 * ms, 425 * ms)
    before = span(KEY, "scale_out", 5, 100 * ms, 120 * ms)
    over_in_time = span(KEY, "entry_partial", 5, 205 * ms, 300 * ms)
    reaches_two = span(KEY, "exit", 5, 20 * ms, 210 * ms)
    after = [uncovered.after_clean_ns(one, away) for one in (across, before, over_in_time)]
    assert after == [25 * ms, None, 0]
    assert uncovered.after_clean_ns(reaches_two, away) == 150 * ms
    told = uncovered.uncovered([across, before, over_in_time], away)
    assert told["engine_up"]["scale_out"]["longest_s"] == 0.02
    assert told["across_a_kill"]["scale_out"]["after_clean_ms"]["max"] == 25.0


def test_an_order_id_of_two_orders_is_named_and_a_late_change_is_not():
    judge = importlib.import_module("bench.drill_judge")
    sent = [
        SimpleNamespace(account=account, order_id=order_id, ref=ref)
        for account, order_id, ref in [
            ("paper", 7, "a"), ("paper", 7, "a"), ("live", 7, "b"), ("live", 8, "c"),
        ]
    ]  # fmt: skip
    assert judge.reused_ids(sent) == []
    sent.append(SimpleNamespace(account="live", order_id=8, ref="d"))
    assert judge.reused_ids(sent) == ["live: order id 8 was used for ['c', 'd']"]
