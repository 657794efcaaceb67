"""vectorbt's traps, each with the naive use that falls in, and what this engine does instead."""

import numpy as np
import pytest

from support.naive_vectorbt import naive_orders
from support.price_series import bars_of, rows_for, scripted, walk
from tradebox.backtest import verify_engine
from tradebox.backtest.costs import Costs
from tradebox.backtest.metrics import DAYS_A_YEAR, sharpe_of
from tradebox.backtest.records import REASONS
from tradebox.backtest.verify import verify
from tradebox.strategies.base import Exits

FLAT = (100.0, 100.0, 100.0, 100.0)
MARKET = 1  # vectorbt's StopExitPrice.StopMarket
FILL = 2  # vectorbt's StopEntryPrice.FillPrice
OPEN = -np.inf


def at(count, *bars):
    flags = np.zeros(count, np.bool_)
    flags[list(bars)] = True
    return flags


def ours(rows, entries, distance=5.0, exits=None, leaves=(), costs=None):
    given = rows_for(
        bars_of(rows), scripted(entries, distance, exits, leaves), costs or Costs.none()
    )
    books = given.books()
    assert verify(given, books).agrees
    return [(int(o["bar"]), float(o["price"]), REASONS[o["reason"]]) for o in books.orders]


def test_1_a_signal_never_acts_on_its_own_bar():
    bars = walk(1, 400, gaps=0.0)
    rows = np.stack([bars.open, bars.high, bars.low, bars.close], axis=1)
    up = bars.close > bars.open
    naive = naive_orders(rows, long_entries=up, long_exits=~up, price=OPEN, cash=1.0)
    assert all(bars.close[bar] > bars.open[bar] for bar, side, *_ in naive if side > 0)
    entries = {int(bar): 1 for bar in np.flatnonzero(up)}
    found = ours(rows, entries, exits=Exits(bars_max=1))
    entered = [bar for bar, _, reason in found if reason == "entry"]
    assert all(up[bar - 1] for bar in entered)
    assert not all(up[bar] for bar in entered)


def test_2_the_entry_bar_is_stop_checked_and_the_stop_hangs_on_the_fill():
    rows = [FLAT, (90, 91, 70, 90), (90, 91, 89, 90)]
    naive = naive_orders(rows, long_entries=at(3, 1), price=OPEN, sl_stop=0.05)
    assert len(naive) == 1  # no exit at all
    assert ours(rows, {0: 1}) == [(1, 90.0, "entry"), (1, pytest.approx(85.5), "stop")]
    rows = [FLAT, (100, 111, 99, 110), (104, 105, 103, 104), FLAT]
    naive = naive_orders(rows, long_entries=at(4, 1), price=OPEN, sl_stop=0.05)
    assert naive[1][3] == 104.0  # the stop hung on the close at 110, and stood above the market
    assert ours(rows, {0: 1})[1][2] == "end_of_data"


def test_3_the_stop_wins_within_a_bar_and_a_gap_fills_at_the_open():
    both = [FLAT, FLAT, (100, 120, 90, 110), FLAT]
    assert ours(both, {0: 1}, exits=Exits(target_r=1.0))[1] == (2, 95.0, "stop")
    gap = [FLAT, FLAT, (80, 85, 79, 84), FLAT]
    assert ours(gap, {0: 1})[1] == (2, 80.0, "stop")
    no_range = [FLAT, FLAT, (100, np.nan, np.nan, 90), FLAT]
    naive = naive_orders(no_range, long_entries=at(4, 1), sl_stop=0.05, stop_entry_price=FILL)
    assert naive[1][3] in (90.0, 95.0)
    inside = [FLAT, FLAT, (100, np.nan, np.nan, 99), FLAT]  # a low of 94 that nobody passed on
    assert len(naive_orders(inside, long_entries=at(4, 1), sl_stop=0.05)) == 1
    known = [FLAT, FLAT, (100, 100, 94, 99), FLAT]
    assert ours(known, {0: 1})[1] == (2, 95.0, "stop")


def test_4_a_stop_pays_slippage():
    rows = [FLAT, FLAT, (100, 101, 90, 92), FLAT]
    naive = naive_orders(
        rows, long_entries=at(4, 1), sl_stop=0.05, slippage=0.01, stop_entry_price=FILL
    )
    assert naive[1][3] == pytest.approx(101 * 0.95)  # the entry paid, the stop did not
    costs = Costs(
        spread_liquid_bps=0, spread_middle_bps=0, spread_thin_bps=0, slippage_stop_bps=100
    )
    assert ours(rows, {0: 1}, costs=costs)[1] == (2, pytest.approx(95 * 0.99), "stop")


def test_5_a_trailing_stop_keeps_its_first_distance_and_knows_the_open():
    later = (109, 110, 108, 109)
    rows = [FLAT, FLAT, (110, 110, 104.4, 109), later, later]
    naive = naive_orders(
        rows, long_entries=at(5, 1), sl_stop=0.05, sl_trail=True, stop_entry_price=FILL
    )
    assert len(naive) == 1  # the open at 110 had not raised the stop when the low came
    trail = Exits(trail=True)
    assert ours(rows, {0: 1}, exits=trail)[1] == (2, pytest.approx(104.5), "trail")
    growing = np.array([5.0, 50.0, 50.0, 50.0, 50.0])
    assert ours(rows, {0: 1}, growing, trail)[1] == (2, pytest.approx(104.5), "trail")


def test_6_an_exit_at_the_open_comes_before_a_stop_later_that_day():
    rows = [FLAT, FLAT, FLAT, (100, 101, 90, 95), FLAT]
    naive = naive_orders(
        rows, long_entries=at(5, 1), long_exits=at(5, 3), price=OPEN, sl_stop=0.05,
        stop_entry_price=FILL,
    )  # fmt: skip
    assert naive[1][3] == 95.0
    assert ours(rows, {0: 1}, leaves=(2,))[1] == (3, 100.0, "signal")


def test_7_nothing_traded_is_a_sharpe_ratio_of_zero_and_a_year_has_252_days():
    from importlib import import_module

    flat = np.zeros((100, 1))
    returns = import_module("vectorbt_rust").returns
    naive = float(returns.sharpe_ratio_rs(flat, 365.0, 0.0, 1)[0])
    assert not np.isfinite(naive)
    assert sharpe_of(flat[:, 0]) == 0.0
    assert DAYS_A_YEAR == 252


def test_8_a_distance_that_is_not_known_is_no_entry():
    rows = [FLAT, FLAT, (100, 101, 50, 60), FLAT]
    naive = naive_orders(rows, long_entries=at(4, 1), sl_stop=np.nan)
    assert len(naive) == 1  # in for good, with no stop
    assert ours(rows, {0: 1}, distance=np.nan) == []
    hole = [FLAT, (np.nan,) * 4, FLAT, FLAT]
    assert naive_orders(hole, long_entries=at(4, 1)) == []  # ignored without a word


def test_9_one_position_at_a_time_and_an_exit_leaves_all_of_it():
    rows = [FLAT] * 6
    naive = naive_orders(
        rows, long_entries=at(6, 1, 2), long_exits=at(6, 4), accumulate=1, size=10.0, cash=1e4
    )
    assert sum(side * size for _, side, size, _ in naive) == 10.0  # ten shares are still held
    given = rows_for(bars_of(rows), scripted({0: 1, 1: 1}, 5.0, leaves=(3,)), Costs.none())
    orders = given.books().orders
    assert float((orders["side"] * orders["size"]).sum()) == 0.0
    assert len(orders) == 2


def test_10_sizes_are_whole_shares_of_an_account_that_can_pay_them():
    dear = [(370.0,) * 4] * 4
    assert naive_orders(dear, long_entries=at(4, 1))[0][2] == pytest.approx(100 / 370)
    whole = naive_orders(dear, long_entries=at(4, 1), size_granularity=1.0)
    assert sum(size for _, _, size, _ in whole) == 0.0  # nothing is bought, and nobody says so
    given = rows_for(bars_of(dear), scripted({0: 1}, 37.0), Costs.none())
    assert given.books().orders["size"][0] == 27.0  # 1,000 USD of risk at 37 a share


def test_11_no_stock_takes_the_cash_of_another():
    rows = [FLAT] * 3
    entries = np.stack([at(3, 1), at(3, 1)], axis=1)
    naive = naive_orders(rows, long_entries=entries, group_lens=(2,))
    assert len(naive) == 1  # the first column took all
    sizes = [
        float(rows_for(bars_of(rows, symbol=name), scripted({0: 1}, 5.0), Costs.none())
              .books().orders["size"][0])
        for name in ("ONE", "TWO")
    ]  # fmt: skip
    assert sizes == [200.0, 200.0]


def test_12_an_exit_and_an_entry_at_one_open_both_happen():
    rows = [FLAT] * 6
    naive = naive_orders(rows, long_entries=at(6, 1, 3), long_exits=at(6, 3))
    assert len(naive) == 1
    found = ours(rows, {0: 1, 2: 1}, leaves=(2,))
    assert [(bar, reason) for bar, _, reason in found] == [
        (1, "entry"), (3, "signal"), (3, "entry"), (5, "end_of_data"),
    ]  # fmt: skip
    gap = [FLAT, FLAT, (90, 91, 89, 90), FLAT]
    naive = naive_orders(
        gap, long_entries=at(4, 1, 2), sl_stop=0.05, price=OPEN, stop_entry_price=FILL
    )
    assert len(naive) == 2  # the new entry on the stop's bar is lost
    assert [reason for _, _, reason in ours(gap, {0: 1, 1: 1})][:3] == ["entry", "stop", "entry"]


def test_13_a_trade_that_is_open_at_the_end_is_closed_and_named():
    rows = [FLAT, FLAT, (100, 104, 99, 103)]
    assert len(naive_orders(rows, long_entries=at(3, 1))) == 1
    assert ours(rows, {0: 1})[-1] == (2, 103.0, "end_of_data")


def test_14_no_stop_and_a_negative_one_are_no_entries():
    rows = [FLAT, FLAT, (100, 101, 99, 100), FLAT]
    naive = naive_orders(rows, long_entries=at(4, 1), sl_stop=0.0)
    assert len(naive) == 2  # stopped at once
    with pytest.raises(verify_engine._enums().RejectedOrderError, match="0 or greater"):
        naive_orders(rows, long_entries=at(4, 1), sl_stop=-0.05)
    assert ours(rows, {0: 1}, distance=0.0) == []
    assert ours(rows, {0: 1}, distance=-5.0) == []
