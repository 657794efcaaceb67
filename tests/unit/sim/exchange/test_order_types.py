"""Order types and times in force beyond the plain ones, halts, splits, corrections and busts."""

import itertools

import pytest

from support.exchange_bench import Bench
from support.scripted_market import OPEN_NS, micros
from tradebox.sim.exchange.deadlines import next_quarter_end_ns
from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.ledger import Ledger
from tradebox.sim.exchange.market_port import SECOND_NS
from tradebox.sim.exchange.orders import OrderExecuted
from tradebox.sim.market.actions import Action

HOUR_NS = 3600 * SECOND_NS


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


def holds(bench, account="paper"):
    """Cash and the cost of positions are deposits and realised profit."""
    book = bench.exchange._books[account].account
    cost = sum(one.cost_micros for one in book.positions.values())
    return book.cash_micros + cost == book.deposited_micros + book.realized_micros


def trail(bench, order_id=2, side="SELL", kind="TRAIL", **fields):
    return bench.submit(order_id, side=side, kind=kind, tif="GTC", **fields)


def test_a_trailing_stop_follows_up_never_down_and_fires(bench):
    bench.submit(1)
    order = trail(bench, trail_micros=micros(1.0))
    assert (order.stop_micros, order.why_held) == (micros(99.0), "trigger")
    bench.market.print_trade(103.0)
    assert order.stop_micros == micros(102.0)
    bench.market.print_trade(102.5)
    assert order.stop_micros == micros(102.0)
    bench.market.show(101.9, 101.95)
    bench.market.print_trade(101.95)
    assert (order.status, order.last_fill_micros) == ("Filled", micros(101.9))


def test_a_trailing_buy_by_percent_follows_down_on_the_grid(bench):
    order = trail(bench, 1, side="BUY", trail_ppm=10_000)
    assert order.stop_micros == micros(101.0)
    bench.market.print_trade(97.77)
    assert order.stop_micros == micros(98.75)
    bench.market.print_trade(98.8)
    assert order.status == "Filled"


def test_a_given_first_stop_stands_until_the_price_moves_it(bench):
    bench.submit(1)
    order = trail(bench, trail_micros=micros(1.0), trail_stop_micros=micros(99.5))
    assert order.stop_micros == micros(99.5)
    bench.market.print_trade(100.2)
    assert order.stop_micros == micros(99.5)
    bench.market.print_trade(101.0)
    assert order.stop_micros == micros(100.0)


def test_a_trailing_limit_works_at_its_offset_once_triggered(bench):
    bench.submit(1)
    order = trail(
        bench, kind="TRAIL LIMIT", trail_micros=micros(1.0), limit_offset_micros=micros(0.2)
    )
    bench.market.show(98.0, 98.1)
    bench.market.print_trade(98.9)
    assert (order.status, order.filled, order.limit_micros) == ("Submitted", 0, micros(98.8))
    bench.market.show(98.85, 98.9)
    assert order.status == "Filled"


def test_a_change_of_the_distance_starts_the_trail_again(bench):
    bench.submit(1)
    order = trail(bench, trail_micros=micros(1.0))
    bench.market.print_trade(103.0)
    trail(bench, trail_micros=micros(2.0))
    assert order.stop_micros == micros(101.0)


def test_a_trail_needs_a_distance_of_one_kind(bench):
    assert trail(bench) is None
    assert trail(bench, 3, trail_micros=1, trail_ppm=1) is None
    assert bench.codes() == [321, 321]


def test_a_trailing_stop_stands_where_it_stood_after_a_restart(tmp_path):
    bench = Bench(tmp_path / "ledger")
    bench.submit(1)
    trail(bench, trail_micros=micros(1.0))
    bench.market.print_trade(103.0)
    bench.close()
    again = Bench(tmp_path / "ledger", market=bench.market)
    assert again.order(2).stop_micros == micros(102.0)
    again.close()


def close_session(bench):
    clock = bench.market.clock
    clock.open_until_ns = clock.time_ns
    bench.exchange.on_time(bench.market.tick(1_000))


def test_orders_on_the_close_fill_whole_at_the_last_price_or_not_at_all(bench):
    whole = bench.submit(1, kind="MOC", quantity=5_000 // 10)
    good = bench.submit(2, kind="LOC", limit=100.5)
    bad = bench.submit(3, kind="LOC", limit=99.0)
    bench.market.print_trade(98.0)
    assert not whole.filled
    bench.market.print_trade(100.25)
    close_session(bench)
    assert [one.status for one in (whole, good, bad)] == ["Filled", "Filled", "Cancelled"]
    assert whole.last_fill_micros == good.last_fill_micros == micros(100.25)


def test_orders_on_the_close_have_a_cutoff(bench):
    clock = bench.market.clock
    clock.open_until_ns = clock.time_ns + 5 * 60 * SECOND_NS
    order = bench.submit(1, kind="MOC")
    assert order.status == "Inactive"
    assert bench.codes() == [201]


def test_orders_for_the_opening_take_part_in_its_first_print_alone(bench):
    clock = bench.market.clock
    clock.open_from_ns = OPEN_NS + HOUR_NS
    market = bench.submit(1, tif="OPG")
    good = bench.submit(2, kind="LMT", limit=101.0, tif="OPG")
    bad = bench.submit(3, kind="LMT", limit=99.0, tif="OPG")
    assert bench.codes() == [399] * 3
    bench.market.print_trade(100.1)
    assert market.status == "PreSubmitted"
    clock.time_ns = clock.open_from_ns
    bench.market.print_trade(100.6)
    assert [one.status for one in (market, good, bad)] == ["Filled", "Filled", "Cancelled"]
    assert market.last_fill_micros == micros(100.6)


def test_an_order_for_the_opening_waits_for_the_next_one(bench):
    order = bench.submit(1, tif="OPG")
    bench.market.print_trade(100.0)
    assert order.status == "PreSubmitted"
    close_session(bench)
    assert order.status == "PreSubmitted"


def test_a_good_till_date_ends_an_order_at_its_second(bench):
    until_ns = bench.market.clock.time_ns + HOUR_NS
    order = bench.submit(1, kind="LMT", limit=99.0, tif="GTD", good_till_ns=until_ns)
    bench.exchange.on_time(bench.market.tick(3_000_000))
    assert order.status == "Submitted"
    bench.exchange.on_time(bench.market.tick(1_000_000))
    assert (order.status, order.done_ns) == ("Cancelled", until_ns)
    assert bench.codes() == [202]
    bench.submit(2, kind="LMT", limit=99.0, tif="GTD", good_till_ns=until_ns)
    assert bench.codes(2) == [321]


def test_a_gtc_order_ends_with_the_next_quarter_and_a_change_moves_that(bench):
    order = bench.submit(1, kind="LMT", limit=90.0, tif="GTC")
    first_ns = order.expires_ns
    assert first_ns == next_quarter_end_ns(OPEN_NS)
    bench.market.clock.time_ns += 60 * 24 * HOUR_NS
    bench.submit(1, kind="LMT", limit=89.0, tif="GTC")
    assert order.expires_ns - first_ns in range(91 * 24 * HOUR_NS, 93 * 24 * HOUR_NS)
    bench.market.clock.time_ns = order.expires_ns
    bench.exchange.on_time(order.expires_ns)
    assert order.status == "Cancelled"


def test_orders_of_the_closed_hours_are_said_to_wait(bench):
    bench.market.clock.open_until_ns = bench.market.clock.time_ns
    order = bench.submit(1, kind="LMT", limit=99.0, tif="GTC")
    assert (order.status, bench.codes()) == ("PreSubmitted", [399])
    bench.submit(2, kind="LMT", limit=99.0, tif="GTC", outside_rth=True)
    assert bench.codes(2) == []


def test_a_halt_refuses_new_orders_and_holds_the_others(bench):
    bench.submit(1)
    stop = bench.submit(2, side="SELL", kind="STP", trigger=99.0, tif="GTC")
    bench.market.halted.add("AAPL")
    assert bench.submit(3) is None
    assert bench.codes(3) == [154]
    bench.market.show(98.0, 98.1)
    bench.market.print_trade(98.0)
    assert stop.status == "PreSubmitted"
    bench.market.halted.clear()
    bench.market.print_trade(98.0)
    assert stop.status == "Filled"


def test_a_split_changes_the_position_and_cancels_the_orders(bench):
    bench.submit(1)
    stop = bench.submit(2, side="SELL", kind="STP", trigger=99.0, tif="GTC")
    at_ns = bench.market.clock.time_ns + SECOND_NS
    bench.market.actions.append(Action("split", "AAPL", 0, at_ns, 3, 2))
    bench.exchange.on_time(bench.market.tick(3_000))
    assert bench.position() == 150
    assert (stop.status, bench.codes(2)) == ("Cancelled", [202])
    assert holds(bench)
    bench.exchange.on_time(bench.market.tick(5_000))
    assert bench.position() == 150


def test_a_dividend_is_paid_on_what_is_held(bench):
    bench.submit(1)
    before = bench.exchange.figures("paper").cash
    at_ns = bench.market.clock.time_ns + SECOND_NS
    bench.market.actions.append(Action("dividend", "AAPL", 0, at_ns, amount_micros=250_000))
    bench.exchange.on_time(bench.market.tick(3_000))
    assert bench.exchange.figures("paper").cash == before + 25_000_000
    assert holds(bench)


@pytest.mark.parametrize(("shares", "price"), [(60, 100.01), (100, 99.5), (0, 0.0)])
def test_a_correction_repeats_the_id_with_the_next_revision(tmp_path, shares, price):
    bench = Bench(tmp_path / "ledger")
    bench.submit(1)
    bench.submit(2, side="SELL", quantity=30)
    (first, _) = bench.exchange.executions("paper", bench.market.clock.time_ns)
    bench.events.clear()
    at_ns = bench.market.tick()
    bench.exchange.correct("paper", first.exec_id, shares, micros(price), at_ns)
    (said,) = [one.execution for one in bench.events if isinstance(one, OrderExecuted)]
    assert said.exec_id == first.exec_id[:-2] + "02"
    assert (said.shares, bench.position()) == (shares, shares - 30)
    assert bench.order(1).filled == shares
    assert holds(bench)
    bench.close()
    again = Bench(tmp_path / "ledger", market=bench.market)
    assert (again.position(), again.order(1).status) == (shares - 30, "Filled")
    assert holds(again)
    again.exchange.correct("paper", first.exec_id, 7, micros(100.0), bench.market.tick())
    assert again.position() == 7 - 30
    assert again.exchange.correct("paper", "none.01", 7, 1, bench.market.tick()) == []
    again.close()


def test_a_trigger_moved_through_the_market_may_be_held(tmp_path):
    bench = Bench(stop_through_market="held")
    bench.submit(1)
    bench.submit(2, side="SELL", kind="STP", trigger=99.0, tif="GTC")
    stop = bench.submit(2, side="SELL", kind="STP", trigger=101.0, tif="GTC")
    bench.market.print_trade(100.5)
    assert stop.status == "PreSubmitted"
    bench.market.print_trade(101.5)
    bench.market.print_trade(100.9)
    assert stop.status == "Filled"
    bench.close()


def test_a_market_order_may_walk_beyond_the_display():
    bench = Bench(market_depth="walks")
    bench.market.show(99.99, 100.01, size=30)
    order = bench.submit(1, quantity=100)
    assert (order.filled, order.last_fill_micros) == (100, micros(100.04))
    limited = bench.submit(2, kind="LMT", limit=100.5, quantity=100)
    assert limited.filled == 0
    bench.close()


def test_days_end_at_their_own_time_however_late_somebody_looks():
    rows = []
    for steps in ([1], [1, 7, 40, 3_000], list(range(1, 60))):
        bench = Bench()
        clock = bench.market.clock
        clock.open_until_ns = OPEN_NS + 50 * SECOND_NS
        clock.next_change_ns = lambda at_ns, clock=clock: next(
            one for one in (clock.open_until_ns, 10**30) if one > at_ns
        )
        bench.exchange.on_time(OPEN_NS)
        bench.submit(1, kind="LMT", limit=90.0)
        for step in [*steps, 4_000]:
            bench.exchange.on_time(OPEN_NS + step * SECOND_NS)
        rows.append(bench.exchange.ledger_digest())
        assert bench.order(1).done_ns == clock.open_until_ns
        bench.close()
    assert len(set(rows)) == 1


def test_the_ledger_of_an_older_version_is_still_read(tmp_path):
    path = tmp_path / "ledger"
    bench = Bench(path)
    bench.submit(1, kind="LMT", limit=99.0)
    bench.close()
    newer = {"stop_micros": 0, "expires_ns": 0, "is_stuck": False}
    text = path.read_text()
    for name, value in newer.items():
        text = text.replace(f',"{name}":{str(value).lower()}', "")
    assert "is_stuck" not in text
    path.write_text(text)
    ledger = Ledger(path, itertools.count().__next__)
    again = Exchange(bench.market, (), ledger, 1)
    assert again.ledger_digest()
    ledger.close()
