"""The ledger and what a restart finds."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.exchange_bench import Bench
from tradebox.errors import HomeUnusable
from tradebox.sim.exchange.ledger import Ledger


def played(path=None, seed=1):
    bench = Bench(path, seed=seed)
    bench.bracket()
    bench.market.print_trade(99.4, 40)
    bench.submit(3, kind="LMT", limit=98.0, tif="GTC", order_ref="ref-3")
    bench.submit(3, kind="LMT", limit=98.5, tif="GTC", order_ref="ref-3", quantity=50)
    bench.submit(4, quantity=10)
    bench.submit(5, quantity=0)
    bench.cancel(3)
    bench.submit(6, side="SELL", kind="STP", trigger=90.0, tif="GTC", quantity=10)
    return bench


def books(exchange):
    book = exchange._books["paper"]
    return (
        book.orders,
        book.executions,
        book.highest_ids,
        book.account,
        [order.perm_id for order in book.all_live()],
    )


def test_a_restart_finds_accounts_orders_positions_ids_and_executions(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = played(path)
    first.close()
    second = Bench(path, market=first.market)
    assert books(second.exchange) == books(first.exchange)
    assert second.ledger.digest() == first.ledger.digest()
    assert second.exchange.next_order_id("paper", 7) == 7
    order = second.submit(7, quantity=1)
    assert order.perm_id > max(first.exchange._books["paper"].orders)
    second.close()


def test_orders_go_on_trading_after_a_restart(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = played(path)
    first.close()
    second = Bench(path, market=first.market)
    second.market.print_trade(99.4, 100)
    assert second.order(1).status == "Filled"
    assert second.order(2).why_held == "trigger"
    second.market.print_trade(97.9)
    assert second.order(2).status == "Filled"
    second.close()


def test_held_orders_do_not_survive_a_restart_but_their_ids_do(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = Bench(path)
    first.submit(4, kind="LMT", limit=99.0, transmit=False)
    first.close()
    second = Bench(path, market=first.market)
    assert second.exchange.open_orders("paper") == []
    assert second.exchange.next_order_id("paper", 7) == 5
    second.close()


def test_the_account_id_of_the_ledger_wins(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = played(path)
    first.close()
    text = path.read_text().replace("SIM1234567P", "SIM7654321P")
    path.write_text(text)
    second = Bench(path, market=first.market)
    assert second.exchange.account_id("paper") == "SIM7654321P"
    second.close()


def test_the_same_script_and_seed_give_the_same_digest():
    digests = {played().ledger.digest() for _ in range(2)}
    assert len(digests) == 1
    assert played(seed=2).ledger.digest() not in digests


@pytest.mark.parametrize("cut", [1, 7, 40])
def test_a_cut_last_line_is_dropped(tmp_path, cut):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, lambda: 5)
    for number in range(3):
        ledger.append("note", number, text="x" * 50)
        ledger.commit()
    ledger.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = Ledger(path, lambda: 6)
    assert [row["at_ns"] for row in again.rows()] == [0, 1]
    again.append("note", 9)
    again.commit()
    assert [row["seq"] for row in again.rows()] == [1, 2, 3]
    again.close()


def test_a_damaged_middle_line_is_refused(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"kind":"note","at_ns":1}\nbroken\n{"kind":"note","at_ns":2}\n')
    with pytest.raises(HomeUnusable):
        Ledger(path, lambda: 0)


def test_a_ledger_that_cannot_be_opened_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable):
        Ledger(tmp_path / "file" / "ledger.jsonl", lambda: 0)


def test_after_a_failed_write_nothing_is_committed_or_said_any_more(tmp_path):
    bench = Bench(tmp_path / "ledger.jsonl")
    bench.submit(1, kind="LMT", limit=99.0)
    said = len(bench.events)
    os.close(bench.ledger._descriptor)
    bench.ledger._descriptor = os.open("/dev/full", os.O_WRONLY)
    for order_id in (2, 3):
        with pytest.raises(HomeUnusable):
            bench.submit(order_id, kind="LMT", limit=99.0)
    assert len(bench.events) == said
    with pytest.raises(HomeUnusable):
        bench.market.print_trade(99.0)
    bench.close()


def test_uncommitted_rows_are_not_on_disk(tmp_path):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, lambda: 0)
    ledger.append("note", 1)
    assert path.read_bytes() == b""
    ledger.commit()
    assert json.loads(path.read_text())["kind"] == "note"
    ledger.close()


ROWS = st.lists(st.tuples(st.text(max_size=8), st.integers(0, 2**60)), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, cut=st.integers(0, 60))
def test_what_is_read_after_a_crash_is_a_prefix_of_what_was_written(tmp_path, rows, cut):
    path = tmp_path / "ledger.jsonl"
    path.unlink(missing_ok=True)
    ledger = Ledger(path, lambda: 1)
    for text, at_ns in rows:
        ledger.append("note", at_ns, text=text)
    ledger.commit()
    ledger.close()
    data = path.read_bytes()
    path.write_bytes(data[: max(len(data) - cut, 0)])
    again = Ledger(path, lambda: 2)
    kept = [(row["text"], row["at_ns"]) for row in again.rows()]
    again.close()
    assert kept == rows[: len(kept)]
