"""Cash, cost, profit, and commissions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from support.exchange_bench import Bench
from support.scripted_market import micros
from tradebox.sim.exchange.accounts import Account
from tradebox.sim.exchange.days import day_bounds, trading_day
from tradebox.sim.exchange.market_port import MICROS, SECOND_NS
from tradebox.sim.exchange.orders import Execution, Side

FILLS = st.lists(
    st.tuples(
        st.sampled_from([Side.BUY, Side.SELL]),
        st.integers(1, 500),
        st.integers(1, 300 * MICROS),
        st.integers(0, 5 * MICROS),
    ),
    max_size=30,
)


def execution(side, shares, price, fee):
    return Execution(
        exec_id="0.0.01.01",
        perm_id=1,
        account="paper",
        client_id=0,
        order_id=1,
        symbol="AAPL",
        con_id=1,
        side=side,
        shares=shares,
        price_micros=price,
        at_ns=0,
        cum_quantity=shares,
        cum_notional_micros=shares * price,
        order_ref="",
        liquidity=1,
        commission_micros=fee,
        realized_micros=None,
    )


@settings(deadline=None)
@given(FILLS)
def test_cash_and_cost_are_deposits_and_profit_to_the_micro(fills):
    account = Account("paper", "SIM1", 100 * MICROS, 100 * MICROS)
    for side, shares, price, fee in fills:
        expected = account.realized_by("AAPL", side, shares, price, fee) or 0
        before = account.realized_micros
        account.apply(execution(side, shares, price, fee))
        assert account.realized_micros - before == expected
    cost = sum(position.cost_micros for position in account.positions.values())
    assert account.cash_micros + cost == account.deposited_micros + account.realized_micros
    if account.quantity("AAPL") == 0:
        assert cost == 0


def test_commission_has_a_minimum_per_order_not_per_fill():
    bench = Bench()
    bench.submit(1, kind="LMT", limit=99.5, quantity=400)
    for size in (50, 50, 300):
        bench.market.print_trade(99.5, size)
    fees = [e.commission_micros for e in bench.exchange.executions("paper", bench.market.tick())]
    assert fees == [1_000_000, 0, 1_000_000]
    bench.close()


def test_profit_of_a_round_trip_is_net_of_both_commissions():
    bench = Bench()
    bench.submit(1)
    bench.market.show(101.0, 101.02)
    bench.submit(2, side="SELL")
    first, second = bench.exchange.executions("paper", bench.market.tick())
    assert first.realized_micros is None
    assert second.realized_micros == 100 * micros(0.99) - 2_000_000
    figures = bench.exchange.figures("paper")
    assert figures.cash == figures.net_liquidation == 100_097 * MICROS
    assert figures.realized == figures.daily_profit == 97 * MICROS
    bench.close()


def test_a_fill_that_turns_the_position_closes_then_opens():
    bench = Bench()
    bench.submit(1, quantity=100)
    bench.submit(2, side="SELL", quantity=150)
    position = bench.exchange.positions("paper")["AAPL"]
    assert position.quantity == -50
    assert position.cost_micros < 0
    last = bench.exchange.executions("paper", bench.market.tick())[-1]
    assert last.realized_micros is not None
    bench.close()


def test_preview_changes_nothing_and_says_numbers():
    bench = Bench()
    from support.exchange_bench import ticket

    preview = bench.exchange.preview("paper", ticket(quantity=100))
    assert preview.initial_after - preview.initial_before == 100 * 100 * MICROS // 2
    assert preview.commission_micros == MICROS
    assert bench.exchange.open_orders("paper") == []
    bench.close()


def test_days_begin_at_new_yorks_midnight_also_when_the_clock_is_changed():
    hour = 3600 * SECOND_NS
    begin, end = day_bounds(1_741_500_000 * SECOND_NS)  # 2025-03-09, 23 hours long
    assert end - begin == 23 * hour
    assert day_bounds(begin) == day_bounds(end - 1) == (begin, end)
    assert day_bounds(end)[0] == end
    assert {trading_day(begin), trading_day(end - 1)} == {"20250309"}


def test_yesterdays_executions_and_orders_are_not_listed():
    bench = Bench()
    bench.submit(1)
    now_ns = bench.market.clock.time_ns
    tomorrow_ns = now_ns + 24 * 3600 * SECOND_NS
    assert len(bench.exchange.executions("paper", now_ns)) == 1
    assert bench.exchange.executions("paper", tomorrow_ns) == []
    assert bench.exchange.completed_orders("paper", tomorrow_ns) == []
    bench.close()
