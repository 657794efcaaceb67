"""The life of orders on the exchange."""

import pytest

from support.exchange_bench import Bench
from support.scripted_market import micros
from tradebox.sim.exchange.market_port import SECOND_NS, Trade
from tradebox.sim.exchange.orders import (
    AccountChanged,
    CommissionCharged,
    OrderError,
    OrderExecuted,
    OrderOpened,
    OrderStatusChanged,
)


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


def test_a_market_order_is_presubmitted_then_fills_at_the_ask(bench):
    order = bench.submit(1)
    assert bench.statuses(1) == [("PreSubmitted", ""), ("Filled", "")]
    assert order.last_fill_micros == micros(100.01)
    assert bench.position() == 100


def test_a_fill_is_said_as_execution_order_status_commission(bench):
    bench.submit(1)
    kinds = [type(event) for event in bench.events[2:]]
    assert kinds == [
        OrderExecuted,
        OrderOpened,
        OrderStatusChanged,
        CommissionCharged,
        AccountChanged,
    ]


def test_a_limit_order_rests_and_fills_by_prints_only_to_their_size(bench):
    order = bench.submit(1, kind="LMT", limit=99.5)
    assert bench.statuses(1) == [("Submitted", "")]
    bench.market.print_trade(99.51, 500)
    assert order.filled == 0
    bench.market.print_trade(99.5, 40)
    assert (order.filled, order.remaining, order.status) == (40, 60, "Submitted")
    bench.market.print_trade(99.4, 1_000)
    assert (order.filled, order.status) == (100, "Filled")
    assert order.last_fill_micros == micros(99.5)


def test_a_print_of_before_the_order_does_not_fill_it(bench):
    late = Trade("AAPL", micros(99.0), 500, bench.market.clock.time_ns)
    order = bench.submit(1, kind="LMT", limit=99.5)
    bench.exchange.on_market(late)
    assert order.filled == 0


def test_a_marketable_order_takes_no_more_than_the_displayed_size(bench):
    bench.market.show(99.99, 100.01, size=30)
    order = bench.submit(1, quantity=100)
    assert order.filled == 30
    bench.market.print_trade(100.01, 1)
    assert order.filled == 30
    bench.market.show(99.99, 100.02, size=50)
    assert order.filled == 80
    assert order.notional_micros == 30 * micros(100.01) + 50 * micros(100.02)


def test_paper_and_live_do_not_share_the_displayed_size(bench):
    bench.market.show(99.99, 100.01, size=100)
    assert bench.submit(1).filled == 100
    assert bench.submit(1, account="live").filled == 100
    assert bench.submit(2).filled == 0


def test_an_ioc_rest_is_cancelled_with_202(bench):
    bench.market.show(99.99, 100.01, size=30)
    order = bench.submit(1, kind="LMT", limit=100.05, tif="IOC")
    assert (order.filled, order.status) == (30, "Cancelled")
    assert [status for status, _ in bench.statuses(1)][-2:] == ["PendingCancel", "Cancelled"]
    assert bench.codes(1) == [202]


def test_a_limit_far_through_the_market_is_cancelled_not_filled(bench):
    order = bench.submit(1, kind="LMT", limit=120.0, tif="IOC")
    assert (order.filled, order.status) == (0, "Cancelled")
    assert bench.codes(1) == [202]
    low = bench.submit(2, side="SELL", kind="LMT", limit=80.0)
    assert (low.filled, low.status) == (0, "Cancelled")


def test_a_stop_rests_presubmitted_and_fires_by_the_last_price(bench):
    bench.submit(1)
    order = bench.submit(2, side="SELL", kind="STP", trigger=99.0, tif="GTC")
    assert bench.statuses(2) == [("PreSubmitted", "trigger")]
    bench.market.show(98.5, 98.6)
    assert order.status == "PreSubmitted", "quotes do not trigger"
    bench.market.print_trade(98.9)
    assert [status for status, _ in bench.statuses(2)][1:] == ["Submitted", "Filled"]
    assert order.last_fill_micros == micros(98.5)
    assert bench.position() == 0


def test_a_stop_limit_waits_at_its_limit_once_triggered(bench):
    bench.submit(1)
    order = bench.submit(2, side="SELL", kind="STP LMT", trigger=99.0, limit=98.8)
    bench.market.show(98.0, 98.1)
    bench.market.print_trade(98.05)
    assert (order.status, order.filled, order.is_triggered) == ("Submitted", 0, True)
    bench.market.show(98.85, 98.9)
    assert order.status == "Filled"


def test_stops_sleep_outside_the_session_unless_told_otherwise(bench):
    bench.submit(1, quantity=200)
    asleep = bench.submit(2, side="SELL", kind="STP", trigger=99.0, tif="GTC")
    awake = bench.submit(3, side="SELL", kind="STP", trigger=99.0, tif="GTC", outside_rth=True)
    bench.market.clock.open_until_ns = bench.market.clock.time_ns
    bench.market.print_trade(98.0)
    assert (asleep.status, awake.status) == ("PreSubmitted", "Filled")


def test_orders_of_around_the_session_end_with_the_evening(bench):
    order = bench.submit(1, kind="LMT", limit=99.0, outside_rth=True)
    plain = bench.submit(2, kind="LMT", limit=99.0)
    clock = bench.market.clock
    clock.open_until_ns = bench.market.tick()
    bench.exchange.on_time(bench.market.tick(2_000))
    assert (order.status, plain.status) == ("Submitted", "Cancelled")
    clock.tradable_until_ns = bench.market.tick(10_000)
    bench.market.show(98.8, 98.9)
    assert (order.status, order.filled) == ("Cancelled", 0)


def test_nothing_fills_in_the_night(bench):
    clock = bench.market.clock
    clock.open_until_ns = clock.tradable_until_ns = bench.market.tick()
    order = bench.submit(1, kind="LMT", limit=99.0, tif="GTC", outside_rth=True)
    assert (order.status, bench.codes()) == ("PreSubmitted", [399])
    bench.market.show(98.8, 98.9)
    bench.market.print_trade(98.8)
    assert order.filled == 0
    clock.tradable_until_ns = 2**62
    bench.market.show(98.7, 98.8)
    assert order.status == "Filled"


@pytest.mark.parametrize("terms", [{}, {"tif": "OPG"}, {"kind": "MOC"}])
def test_outside_hours_mean_nothing_to_market_orders_and_auctions(bench, terms):
    bench.market.clock.open_until_ns = bench.market.clock.time_ns
    order = bench.submit(1, outside_rth=True, **terms)
    assert bench.codes() == [2109, 399]
    bench.market.show(98.7, 98.8)
    bench.market.print_trade(98.8)
    assert (order.status, order.filled) == ("PreSubmitted", 0)


def test_held_bracket_is_silent_then_released_as_one(bench):
    bench.submit(1, kind="LMT", limit=99.5, transmit=False)
    assert bench.events == []
    bench.submit(2, side="SELL", kind="STP", trigger=98.0, tif="GTC", parent_id=1)
    assert bench.statuses(1) == [("Submitted", "")]
    assert bench.statuses(2) == [("PreSubmitted", "child,trigger")]


def test_the_child_is_armed_by_the_full_fill_only(bench):
    _, stop = bench.bracket()
    bench.market.print_trade(99.4, 40)
    assert stop.why_held == "child,trigger"
    bench.market.print_trade(97.0, 10)
    assert stop.status == "PreSubmitted", "a held stop does not fire"
    bench.market.print_trade(99.4, 100)
    assert bench.statuses(2)[-1] == ("PreSubmitted", "trigger")
    bench.market.print_trade(97.5)
    assert (stop.status, bench.position()) == ("Filled", 0)


@pytest.mark.parametrize(("mode", "armed"), [("armed_full", 100), ("armed_part", 40)])
def test_variants_of_a_child_of_a_partly_filled_parent(mode, armed):
    bench = Bench(child_on_partial_parent=mode)
    _, stop = bench.bracket()
    bench.market.print_trade(99.4, 40)
    assert (stop.armed, stop.why_held) == (armed, "trigger")
    bench.close()


@pytest.mark.parametrize(
    ("mode", "status", "total"),
    [("dies", "Cancelled", 100), ("shrinks", "PreSubmitted", 40), ("arms", "PreSubmitted", 100)],
)
def test_variants_of_a_child_whose_partly_filled_parent_is_cancelled(mode, status, total):
    bench = Bench(child_on_parent_cancel=mode)
    _, stop = bench.bracket()
    bench.market.print_trade(99.4, 40)
    bench.cancel(1)
    assert (stop.status, stop.total) == (status, total)
    bench.close()


def test_cancelling_the_parent_cancels_its_children(bench):
    parent, stop = bench.bracket()
    bench.cancel(1)
    assert (parent.status, stop.status) == ("Cancelled", "Cancelled")
    assert (bench.codes(1), bench.codes(2)) == ([202], [202])


def test_siblings_are_put_into_a_group_that_reduces(bench):
    bench.submit(1, kind="LMT", limit=99.5, transmit=False)
    bench.submit(2, side="SELL", kind="LMT", limit=101.0, parent_id=1, transmit=False)
    bench.submit(3, side="SELL", kind="STP", trigger=98.0, parent_id=1)
    target, stop = bench.order(2), bench.order(3)
    assert stop.oca_group == target.oca_group == str(bench.order(1).perm_id)
    assert stop.oca_type == 3
    bench.market.print_trade(99.4)
    bench.market.print_trade(101.0, 60)
    assert (target.filled, stop.total) == (60, 40)
    bench.market.print_trade(101.0, 60)
    assert (target.status, stop.status) == ("Filled", "Cancelled")
    assert bench.codes(3) == [202]


def test_a_single_child_is_in_no_group(bench):
    _, stop = bench.bracket()
    assert stop.oca_group == ""


def test_a_client_group_of_type_one_cancels_the_rest(bench):
    bench.submit(1, kind="LMT", limit=99.0, oca_group="g", oca_type=1)
    bench.submit(2, kind="LMT", limit=99.5, oca_group="g", oca_type=1)
    bench.market.print_trade(99.5, 10)
    assert bench.order(1).status == "Cancelled"
    assert bench.order(2).status == "Submitted"


def test_modify_is_the_new_total_and_keeps_the_perm_id(bench):
    order = bench.submit(1, kind="LMT", limit=99.5)
    bench.market.print_trade(99.5, 40)
    perm_id = order.perm_id
    bench.submit(1, kind="LMT", limit=99.4, quantity=60)
    assert (order.perm_id, order.remaining, order.ticket.limit_micros) == (
        perm_id,
        20,
        micros(99.4),
    )
    assert bench.codes() == []


def test_a_stop_modified_through_the_market_fires(bench):
    bench.submit(1)
    stop = bench.submit(2, side="SELL", kind="STP", trigger=98.0)
    bench.submit(2, side="SELL", kind="STP", trigger=100.5)
    assert (stop.status, bench.position()) == ("Filled", 0)


def test_a_stop_through_the_market_may_be_refused_instead():
    bench = Bench(stop_through_market="refused")
    bench.submit(1)
    stop = bench.submit(2, side="SELL", kind="STP", trigger=98.0)
    bench.submit(2, side="SELL", kind="STP", trigger=100.5)
    assert (stop.status, stop.ticket.trigger_micros) == ("PreSubmitted", micros(98.0))
    assert bench.codes(2) == [403]
    bench.close()


def test_a_child_modify_that_names_its_filled_parent_is_refused_and_stays(bench):
    _, stop = bench.bracket()
    bench.market.print_trade(99.4)
    change = {"side": "SELL", "kind": "STP", "trigger": 98.5, "tif": "GTC"}
    bench.submit(2, **change, parent_id=1)
    assert (bench.codes(2), stop.ticket.trigger_micros) == ([135], micros(98.0))
    bench.submit(2, **change)
    assert (stop.ticket.trigger_micros, stop.why_held) == (micros(98.5), "trigger")
    assert stop.ticket.parent_id == 1, "what is left out is not changed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "LMT", "limit": 99.501}, 110),
        ({"kind": "LMT", "limit": 99.4, "quantity": 0}, 434),
        ({"kind": "LMT", "limit": 99.4, "side": "SELL"}, 105),
        ({"kind": "LMT", "limit": 50.0, "symbol": "MSFT"}, 105),
        ({"kind": "STP", "trigger": 99.0}, 329),
        ({"kind": "LMT", "limit": 99.4, "oca_group": "mine"}, 10326),
        ({"kind": "LMT", "limit": 99.4, "parent_id": 9}, 10341),
        ({"kind": "LMT", "limit": 99.4, "quantity": 30}, 201),
        ({"kind": "LMT", "limit": 99.4, "quantity": 1_000_000}, 201),
    ],
)
def test_a_refused_modify_leaves_the_order_as_it_was(bench, change, code):
    order = bench.submit(1, kind="LMT", limit=99.5)
    bench.market.print_trade(99.5, 40)
    bench.submit(1, **change)
    assert bench.codes(1) == [code]
    assert (order.status, order.total, order.ticket.limit_micros) == (
        "Submitted",
        100,
        micros(99.5),
    )


def test_a_limit_order_may_become_a_market_order(bench):
    order = bench.submit(1, kind="LMT", limit=99.5)
    bench.submit(1, kind="MKT")
    assert (order.status, bench.codes()) == ("Filled", [])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"quantity": 0}, 434),
        ({"kind": "LMT", "limit": 99.999}, 110),
        ({"kind": "LMT", "limit": 0.0}, 110),
        ({"kind": "STP", "trigger": 99.999}, 110),
        ({"kind": "STP", "trigger": 0.0}, 403),
        ({"symbol": "NONE"}, 200),
        ({"symbol": "BRK", "kind": "LMT", "limit": 99.01}, 110),
        ({"kind": "LMT", "limit": 100.0, "parent_id": 55}, 135),
    ],
)
def test_a_refused_order_is_no_order_and_its_id_is_used(bench, fields, code):
    assert bench.submit(5, **fields) is None
    assert bench.codes(5) == [code]
    assert bench.exchange.open_orders("paper") == []
    assert bench.exchange.next_order_id("paper", 7) == 6


def test_a_rejected_order_is_said_by_its_code_and_then_as_inactive(bench):
    order = bench.submit(5, quantity=1_000_000)
    kinds = [type(event) for event in bench.events]
    assert kinds == [OrderError, OrderOpened, OrderStatusChanged]
    assert (bench.codes(5), bench.statuses(5)) == ([201], [("Inactive", "")])
    assert bench.exchange.open_orders("paper") == []
    assert bench.exchange.completed_orders("paper", bench.market.tick()) == [order]


def test_ids_only_rise_and_belong_to_a_client(bench):
    bench.submit(5)
    bench.submit(4)
    assert bench.codes(4) == [103]
    bench.submit(5)
    assert bench.codes(5) == [104]
    bench.submit(5, client=8, kind="LMT", limit=99.0)
    bench.submit(5, client=9, kind="LMT", limit=98.0)
    assert bench.order(5, client=8).ticket.limit_micros == micros(99.0)


def test_cancels_of_unknown_foreign_and_done_orders(bench):
    bench.submit(1, kind="LMT", limit=99.5)
    bench.cancel(9)
    bench.cancel(1, client=8)
    bench.cancel(1)
    bench.cancel(1)
    assert bench.codes() == [10147, 10147, 202, 10148]
    bench.submit(2)
    bench.cancel(2)
    assert "state: Filled" in bench.events[-1].text


def test_a_child_sent_after_its_parent_is_done_is_rejected(bench):
    bench.submit(1)
    bench.submit(2, side="SELL", kind="STP", trigger=98.0, parent_id=1)
    assert bench.codes(2) == [201]
    assert bench.statuses(2) == [("Inactive", "")]


def test_a_rejected_parent_takes_its_children_along(bench):
    bench.submit(1, quantity=1_000_000, kind="LMT", limit=99.5, transmit=False)
    bench.submit(2, side="SELL", kind="STP", trigger=98.0, quantity=1_000_000, parent_id=1)
    assert (bench.codes(1), bench.codes(2)) == ([201], [201])
    assert bench.exchange.open_orders("paper") == []


def test_no_more_than_fifteen_working_orders_per_side(bench):
    for order_id in range(1, 17):
        bench.submit(order_id, kind="LMT", limit=90.0 + order_id / 100, quantity=1)
    assert bench.codes() == [201]
    assert len(bench.exchange.open_orders("paper")) == 15


def test_day_orders_end_with_the_session_and_gtc_orders_stay(bench):
    day = bench.submit(1, kind="LMT", limit=99.0)
    stays = bench.submit(2, kind="LMT", limit=99.0, tif="GTC")
    clock = bench.market.clock
    clock.time_ns = clock.open_until_ns + 1
    bench.exchange.on_time(clock.time_ns)
    assert (day.status, stays.status) == ("Cancelled", "Submitted")


def test_a_day_order_placed_before_the_open_lives_through_the_session(bench):
    clock = bench.market.clock
    clock.open_from_ns = clock.time_ns + 10**12
    order = bench.submit(1, kind="LMT", limit=100.5)
    assert (order.status, order.filled) == ("PreSubmitted", 0)
    clock.time_ns = clock.open_from_ns
    bench.market.show(99.99, 100.01)
    assert order.status == "Filled"


def test_a_day_order_ends_also_when_the_clock_jumps_over_the_night(bench):
    order = bench.submit(1, kind="LMT", limit=99.0)
    clock = bench.market.clock
    clock.time_ns += 24 * 3600 * SECOND_NS
    clock.open_from_ns, clock.open_until_ns = clock.time_ns - 1, clock.time_ns + 10**12
    bench.exchange.on_time(clock.time_ns)
    assert order.status == "Cancelled"


def test_an_oversell_goes_short_on_margin_and_is_refused_on_cash():
    margin, cash = Bench(), Bench(oversell="refused")
    for bench in (margin, cash):
        bench.submit(1, quantity=10)
        bench.submit(2, side="SELL", quantity=15)
    assert (margin.position(), cash.position()) == (-5, 10)
    assert cash.codes(2) == [201]
    margin.close()
    cash.close()


def test_the_global_cancel_ends_every_clients_orders(bench):
    bench.submit(1, kind="LMT", limit=99.0)
    bench.submit(1, client=8, kind="LMT", limit=99.0)
    bench.exchange.cancel_all("paper", bench.market.tick())
    assert bench.exchange.open_orders("paper") == []
    assert bench.codes() == [202, 202]


def test_statuses_are_repeated_by_the_seed():
    bench = Bench(repeat_status_ppm=1_000_000)
    bench.submit(1, kind="LMT", limit=99.0)
    assert bench.statuses(1) == [("Submitted", "")] * 2
    bench.close()


def test_execution_ids_have_the_brokers_form(bench):
    bench.submit(1, quantity=10)
    bench.submit(2, quantity=10)
    ids = [e.exec_id for e in bench.exchange.executions("paper", bench.market.clock.time_ns)]
    assert len(set(ids)) == 2
    for exec_id in ids:
        parts = exec_id.split(".")
        assert [len(part) for part in parts] == [8, 8, 2, 2]
        assert parts[3] == "01"
