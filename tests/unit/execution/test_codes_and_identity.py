"""Codes as data, and the book that a connection must be."""

from dataclasses import replace

import pytest

from tradebox.domain.orders import AccountName
from tradebox.execution.codes import row_of, table
from tradebox.execution.coverage import WINDOW_S_MAX, CoverWatch
from tradebox.execution.identity import Identity, account_fault, address_fault
from tradebox.ports.orders import LinkInfo


def test_every_code_has_a_class_and_an_action():
    rows = table()
    assert len(rows) > 480
    for row in rows.values():
        assert row.code_class, row
        assert row.actions, row


@pytest.mark.parametrize("code", [10_999, 0, 77_777])
def test_an_unknown_code_keeps_the_order_has_it_looked_up_and_is_shown(code):
    row = row_of(code)
    assert not row.is_known
    assert "KEEP_ORDER" in row.actions
    assert row.wants_look
    assert row.wants_person
    assert not row.is_refusal


def test_an_unknown_warning_changes_nothing():
    row = row_of(2199)
    assert row.code_class == "warning"
    assert not row.wants_look


@pytest.mark.parametrize("code", [10_326, 10_327, 10_341, 135, 110, 201, 104])
def test_codes_after_which_the_book_is_read(code):
    assert row_of(code).wants_look


PAPER = Identity("paper", AccountName.PAPER, "DU123", "127.0.0.1", 4002)
LIVE = Identity("live", AccountName.LIVE, "U123", "127.0.0.1", 4001, live_is_confirmed=True)
SIM = Identity("sim", AccountName.PAPER, "SIM1P", "127.0.0.1", 5555)


def info(who, accounts=None):
    return LinkInfo(accounts or (who.account_id,), 1, 178, who.host, who.port)


@pytest.mark.parametrize("who", [PAPER, LIVE, SIM, replace(PAPER, account_id="DF9")])
def test_a_book_that_agrees_in_everything_is_ours(who):
    assert address_fault(who) is None
    assert account_fault(who, info(who)) is None


@pytest.mark.parametrize(
    "who",
    [
        replace(PAPER, account_id="U123"),
        replace(PAPER, account_id="SIM1"),
        replace(LIVE, account_id="DU123"),
        replace(LIVE, live_is_confirmed=False),
        replace(LIVE, profile="paper"),
        replace(SIM, account_id="DU123"),
        replace(SIM, account_id="U123"),
        replace(SIM, account_id=None),
    ],
)
def test_a_wrong_account_is_refused(who):
    assert account_fault(who, info(who, (who.account_id or "X",)))


def test_an_account_that_the_gateway_does_not_manage_is_refused():
    assert account_fault(PAPER, info(PAPER, ("DU999",)))
    assert account_fault(PAPER, replace(info(PAPER), port=4001))


@pytest.mark.parametrize(
    "who",
    [
        replace(PAPER, port=4001),
        replace(PAPER, port=7496),
        replace(LIVE, port=4002),
        replace(LIVE, port=7497),
        replace(PAPER, port=None),
        *(replace(SIM, port=port) for port in (4001, 4002, 7496, 7497)),
    ],
)
def test_a_wrong_port_is_not_dialled(who):
    assert address_fault(who)


def test_uncovered_time_is_measured_by_cause_and_alarmed_once():
    watch, limit_s = CoverWatch(), WINDOW_S_MAX["exit"]

    def see(now_s, *, is_covered=False):
        return watch.see("p1", is_covered=is_covered, cause="exit", now_s=now_s)

    assert [see(0.0), see(limit_s), see(limit_s + 1), see(limit_s + 2)] == [
        None,
        None,
        "exit",
        None,
    ]
    assert see(limit_s + 3, is_covered=True) is None
    assert watch.totals["exit"].count == 1
    assert watch.totals["exit"].longest_s == limit_s + 3
