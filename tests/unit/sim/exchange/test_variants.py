"""Every alternative of every switch, by what it does to an order."""

import pytest

from support.exchange_bench import Bench
from support.scripted_market import micros
from tradebox.sim.exchange.orders import OrderStatusChanged
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.variants import VARIANTS, with_variants

CASES = {}


def case(name, **outcomes):
    """Name what a scenario must come to for each alternative of a switch."""

    def register(scenario):
        CASES[name] = (scenario, outcomes)
        return scenario

    return register


def partly_filled(bench):
    """Return the stop of a bracket of 100 whose entry has 40 filled."""
    _, stop = bench.bracket()
    bench.market.print_trade(99.4, 40)
    return stop


def guarded(bench):
    """Return a stop below a long position of 100."""
    bench.submit(1)
    return bench.submit(2, side="SELL", kind="STP", trigger=98.0)


def bracket_of_two(bench):
    """Return target and stop of one entry."""
    bench.submit(1, kind="LMT", limit=99.5, transmit=False)
    bench.submit(2, side="SELL", kind="LMT", limit=101.0, parent_id=1, transmit=False)
    bench.submit(3, side="SELL", kind="STP", trigger=98.0, parent_id=1)
    return bench.order(2), bench.order(3)


@case(
    "child_on_partial_parent",
    held=("child,trigger", 0, 40),
    armed_full=("", 100, -60),
    armed_part=("", 40, 0),
)
def a_stop_crossed_while_its_parent_is_partly_filled(bench):
    stop = partly_filled(bench)
    bench.market.show(97.0, 99.8)
    bench.market.print_trade(97.0, 0)
    sold = stop.filled
    return stop.why_held, sold, 40 - sold


@case(
    "child_on_parent_cancel",
    dies=("Cancelled", "", 60),
    shrinks=("PreSubmitted", "trigger", 40),
    arms=("PreSubmitted", "trigger", 100),
)
def a_stop_whose_partly_filled_parent_is_cancelled(bench):
    stop = partly_filled(bench)
    bench.cancel(1)
    alive = stop.status == "PreSubmitted"
    return stop.status, stop.why_held, stop.total if alive else 100 - 40


@case(
    "stop_through_market",
    fires=("Filled", [], 100.5),
    refused=("PreSubmitted", [403], 98.0),
    held=("PreSubmitted", [], 100.5),
)
def a_trigger_moved_through_the_market(bench):
    stop = guarded(bench)
    bench.submit(2, side="SELL", kind="STP", trigger=100.5)
    return stop.status, bench.codes(2), stop.ticket.trigger_micros / 1e6


@case("oversell", goes_short=("Filled", [], -50), refused=("Inactive", [201], 100))
def more_is_sold_than_is_held(bench):
    bench.submit(1)
    order = bench.submit(2, side="SELL", quantity=150)
    return order.status, bench.codes(2), bench.position()


@case("oca_for_single_child", no=False, yes=True)
def a_single_child_is_in_a_group(bench):
    parent, stop = bench.bracket()
    return stop.oca_group == str(parent.perm_id)


@case("gateway_oca_groups", made=(True, 40), none=(False, 100))
def two_children_reduce_each_other(bench):
    target, stop = bracket_of_two(bench)
    bench.market.print_trade(99.4)
    bench.market.print_trade(101.0, 60)
    assert target.filled == 60
    return bool(stop.oca_group), stop.total


@case(
    "stop_resize",
    accepted=(60, 90, [], "PreSubmitted"),
    reduce_only=(60, 60, [201], "PreSubmitted"),
    refused=(100, 100, [201, 201], "PreSubmitted"),
    cancels=(100, 100, [201, 202], "Cancelled"),
)
def a_stop_is_made_smaller_and_then_larger(bench):
    stop = guarded(bench)
    bench.submit(2, side="SELL", kind="STP", trigger=98.0, quantity=60)
    smaller = stop.total
    if not stop.status.is_done:
        bench.submit(2, side="SELL", kind="STP", trigger=98.0, quantity=90)
    return smaller, stop.total, bench.codes(2), stop.status


@case("restate_filled_parent", refused=([135], 98.0), accepted=([], 98.5))
def a_change_names_the_filled_parent(bench):
    _, stop = bench.bracket()
    bench.market.print_trade(99.4)
    bench.submit(2, side="SELL", kind="STP", trigger=98.5, tif="GTC", parent_id=1)
    return bench.codes(2), stop.ticket.trigger_micros / 1e6


@case("market_depth", displayed=(30, 100.01), walks=(100, 100.04))
def a_market_order_beyond_the_display(bench):
    bench.market.show(99.99, 100.01, size=30)
    order = bench.submit(1, quantity=100)
    return order.filled, order.last_fill_micros / 1e6


WIRE = {"instant_fill_status", "delayed_request"}
"""What only the gateway does; shown in the tests of the gateway."""


@pytest.mark.parametrize(
    ("name", "value"), [(one.name, value) for one in VARIANTS for value in one.alternatives]
)
def test_every_alternative_does_what_it_says(name, value):
    if name in WIRE:
        assert name not in CASES
        return
    scenario, outcomes = CASES[name]
    settings = with_variants(ExchangeSettings(), {name: value})
    bench = Bench(**{name: getattr(settings, name)})
    assert scenario(bench) == outcomes[value]
    bench.close()


def test_every_switch_and_alternative_has_a_case_and_they_differ():
    assert {one.name for one in VARIANTS} == CASES.keys() | WIRE
    for variant in VARIANTS:
        if variant.name in WIRE:
            continue
        _, outcomes = CASES[variant.name]
        assert tuple(outcomes) == variant.alternatives
        assert len({repr(one) for one in outcomes.values()}) == len(outcomes), variant.name


def test_a_resize_is_of_resting_stops_alone():
    bench = Bench(stop_resize="refused")
    bench.submit(1, kind="LMT", limit=99.0)
    order = bench.submit(1, kind="LMT", limit=99.0, quantity=60)
    assert (order.total, bench.codes()) == (60, [])
    stop = bench.submit(2, side="SELL", kind="STP", trigger=98.0)
    bench.submit(2, side="SELL", kind="STP", trigger=97.0)
    assert (stop.ticket.trigger_micros, bench.codes()) == (micros(97.0), [])
    assert any(isinstance(event, OrderStatusChanged) for event in bench.events)
    bench.close()
