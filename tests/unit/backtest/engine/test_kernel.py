"""The kernel's account: three trades by hand, gaps, stops, targets, time, the end of a series."""

import numpy as np
import pytest

from support.price_series import bars_of, rows_for, scripted, walk
from tradebox.backtest import kernel
from tradebox.backtest.costs import Costs
from tradebox.backtest.layers.state import Sizing
from tradebox.backtest.records import REASONS
from tradebox.backtest.verify import verify
from tradebox.strategies.base import Exits

FLAT = (100.0, 101.0, 99.0, 100.0)
BY_HAND = Costs(
    commission_per_share_usd=0.005, commission_min_usd=1.0, spread_liquid_bps=10.0,
    spread_middle_bps=10.0, spread_thin_bps=10.0, slippage_stop_bps=10.0, borrow_bps_per_year=365.0,
)  # fmt: skip


def run(rows, entries, distance=5.0, exits=None, leaves=(), costs=None, final=(0.0, 0.0)):
    """Trade a script, and have vectorbt agree whatever the script was."""
    given = rows_for(
        bars_of(rows), scripted(entries, distance, exits, leaves), costs or Costs.none(),
        final=final,
    )  # fmt: skip
    books = given.books()
    verdict = verify(given, books)
    assert verdict.agrees, verdict.difference
    return books


def words(books):
    return [(int(t["entry_bar"]), int(t["exit_bar"]), REASONS[t["reason"]]) for t in books.trades]


def test_three_trades_match_the_hand_to_the_cent():
    rows = [
        FLAT,
        (100, 102, 98, 101),  # long at 100 x 1.0005 = 100.05, stop 95.0475, target 110.055
        (103, 111, 102, 110),  # target: 110.055 x 0.9985 = 109.8899175
        (109, 110, 107, 108),  # closes at 108: 1000 / 5.4 = 185 shares
        (107, 113, 106, 112),  # short at 107 x 0.9995 = 106.9465, stopped at 112.293825 x 1.0015
        (110, 111, 109, 110),  # closes at 110: 1000 / 11 = 90 shares
        (110, 112, 108, 109),  # long at 110 x 1.0005 = 110.055, stop 99.0495
        (95.1, 97, 94, 96),  # opens below the stop: 95.1 x 0.9985 = 94.95735
        (96, 97, 95, 96),
    ]
    distance = np.array([5.0, 5, 5, 5.4, 5, 11, 5, 5, 5])
    books = run(rows, {0: 1, 3: -1, 5: 1}, distance, Exits(target_r=2.0), costs=BY_HAND)
    assert words(books) == [(1, 2, "target"), (4, 4, "stop"), (6, 7, "stop")]
    assert list(books.trades["size"]) == [200, 185, 90]
    assert np.round(books.trades["pnl"], 2).tolist() == [1965.98, -1022.42, -1360.79]
    assert round(float(books.equity[-1]), 2) == 99_582.78
    assert books.trades["r"][0] == pytest.approx(1965.9835 / (200 * 5.0025))


def test_borrowed_shares_cost_by_the_calendar_day():
    rows = [FLAT] * 5
    books = run(rows, {0: -1}, 50.0, Exits(bars_max=3), costs=BY_HAND)
    sold, bought = 100 * 0.9995, 100 * 1.0005
    fees = 2.0 + 0.0001 * 3 * 20 * sold  # 365 bps a year for 3 days
    assert books.trades["size"][0] == 20
    assert books.trades["pnl"][0] == pytest.approx(20 * (sold - bought) - fees, abs=1e-9)


def test_a_signal_at_the_last_close_does_nothing():
    assert len(run([FLAT] * 3, {2: 1}).orders) == 0


def test_a_signal_while_in_a_position_does_nothing():
    books = run([FLAT] * 6, {0: 1, 1: 1, 2: -1})
    assert words(books) == [(1, 5, "end_of_data")]


def test_a_gap_through_the_target_fills_at_the_open():
    books = run([FLAT, FLAT, (120, 121, 119, 120), FLAT], {0: 1}, exits=Exits(target_r=2.0))
    assert words(books) == [(1, 2, "target")]
    assert books.trades["exit_price"][0] == 120.0


def test_the_stop_comes_before_the_target_within_a_day():
    books = run([FLAT, FLAT, (100, 120, 90, 110), FLAT], {0: 1}, exits=Exits(target_r=2.0))
    assert words(books) == [(1, 2, "stop")]
    assert books.trades["exit_price"][0] == 95.0


def test_an_exit_signal_leaves_at_the_next_open_and_lets_a_new_entry_in():
    rows = [FLAT, FLAT, FLAT, (102, 103, 101, 102), FLAT]
    books = run(rows, {0: 1, 2: -1}, leaves=(2,))
    assert words(books) == [(1, 3, "signal"), (3, 4, "end_of_data")]
    assert books.trades["exit_price"][0] == books.trades["entry_price"][1] == 102.0


def test_a_position_is_left_after_its_bars():
    books = run([FLAT] * 8, {0: 1, 1: 1, 4: 1}, exits=Exits(bars_max=3))
    assert words(books) == [(1, 4, "bars_max"), (5, 7, "end_of_data")]


def test_a_trailing_stop_counts_a_high_from_the_next_day_and_an_open_at_once():
    high = [FLAT, FLAT, (100, 110, 99, 106), (106, 107, 104, 105), FLAT]
    assert words(run(high, {0: 1}, exits=Exits(trail=True))) == [(1, 3, "trail")]
    gap = [FLAT, FLAT, (110, 110, 104, 109), FLAT]
    books = run(gap, {0: 1}, exits=Exits(trail=True))
    assert words(books) == [(1, 2, "trail")]
    assert books.trades["exit_price"][0] == pytest.approx(110 * 0.95)


def test_what_is_open_at_the_end_is_closed_at_the_last_close():
    books = run([FLAT, FLAT, (100, 103, 99, 102)], {0: 1})
    assert words(books) == [(1, 2, "end_of_data")]
    assert books.trades["exit_price"][0] == 102.0


@pytest.mark.parametrize(("side", "price"), [(1, 102 * 0.7), (-1, 102.0)])
def test_a_delisting_costs_a_long_position_its_share(side, price):
    books = run([FLAT, FLAT, (100, 103, 99, 102)], {0: side}, 10.0, final=(0.3, 1.0))
    assert words(books) == [(1, 2, "delisted")]
    assert books.trades["exit_price"][0] == pytest.approx(price)


def test_a_scale_out_sells_its_part_and_the_rest_goes_on():
    rows = [FLAT, FLAT, (100, 106, 99, 105), (105, 106, 94, 95), FLAT]
    exits = Exits(scale_out_r=1.0, scale_out_fraction=0.5)
    books = run(rows, {0: 1}, exits=exits)
    assert [REASONS[o["reason"]] for o in books.orders] == ["entry", "scale_out", "stop"]
    assert books.orders["size"].tolist() == [200, 100, 100]
    assert books.orders["price"].tolist() == [100.0, 105.0, 95.0]
    assert books.trades["r"][0] == 0.0


def test_a_gap_through_scale_out_and_target_sells_both_at_the_open():
    exits = Exits(target_r=2.0, scale_out_r=1.0, scale_out_fraction=0.25)
    books = run([FLAT, FLAT, (130, 131, 129, 130), FLAT], {0: 1}, exits=exits)
    assert [REASONS[o["reason"]] for o in books.orders] == ["entry", "scale_out", "target"]
    assert books.orders["price"].tolist() == [100.0, 130.0, 130.0]
    assert books.orders["size"].tolist() == [200, 50, 150]


def test_a_stop_goes_to_the_entry_once_the_price_was_ahead():
    rows = [FLAT, FLAT, (100, 106, 99, 105), (105, 106, 98, 99), FLAT]
    given = rows_for(bars_of(rows), scripted({0: 1}, 5.0, Exits(breakeven_r=1.0)), Costs.none())
    books = given.books()
    assert words(books) == [(1, 3, "break_even")]
    assert books.trades["exit_price"][0] == 100.0


def test_what_a_plan_cannot_carry_is_no_entry():
    assert len(run([FLAT] * 4, {0: 1}, distance=60.0).orders) == 0  # more than half the price
    assert len(run([FLAT] * 4, {0: 1}, distance=0.0).orders) == 0
    assert len(run([FLAT] * 4, {0: 1}, distance=np.nan).orders) == 0
    dear = [(5e5, 5e5, 5e5, 5e5)] * 4
    assert len(run(dear, {0: 1}).orders) == 0  # one share costs more than the account


def test_orders_of_any_script_agree_with_vectorbt_long_and_short():
    random = np.random.default_rng(5)
    for seed in range(12):
        bars = walk(seed, 300)
        entries = {int(bar): int(random.choice([1, -1])) for bar in random.choice(299, 60)}
        exits = Exits(
            target_r=float(random.choice([0.0, 1.5, 3.0])),
            trail=bool(seed % 2),
            bars_max=int(random.choice([0, 7])),
            scale_out_r=float(random.choice([0.0, 1.0])),
            scale_out_fraction=0.4,
        )
        leaves = tuple(int(bar) for bar in random.choice(299, 20))
        given = rows_for(bars, scripted(entries, bars.close * 0.03, exits, leaves), BY_HAND)
        books = given.books()
        verdict = verify(given, books)
        assert verdict.agrees, (seed, verdict.difference)
        assert len(books.trades) > 5
        assert float(books.equity[-1]) == pytest.approx(100_000 + float(books.trades["pnl"].sum()))


def test_an_open_outside_its_days_range_is_traded_at():
    rows = [FLAT, FLAT, (10, 101, 99, 100), FLAT]  # a broken print: 10 below a low of 99
    books = run(rows, {0: 1})
    assert words(books) == [(1, 2, "stop")]
    assert books.trades["exit_price"][0] == 10.0


def test_a_disagreement_is_told_with_the_order():
    given = rows_for(walk(3, 100), scripted({5: 1, 40: -1}, 2.0), BY_HAND)
    books = given.books()
    books.orders["price"][1] *= 1 + 1e-8
    verdict = verify(given, books)
    assert not verdict.agrees
    assert verdict.difference.startswith("order 1: price is")


def test_a_sweep_and_a_simulation_give_the_same_r():
    costs = Costs(commission_min_usd=0.0, commission_share_max=1.0, borrow_bps_per_year=0.0)
    bars = walk(9, 500)
    distance = bars.close * 0.02
    entries = {bar: 1 if bar % 3 else -1 for bar in range(10, 480, 7)}
    half = Exits(target_r=3.0, scale_out_r=1.0, scale_out_fraction=0.5)
    many = Sizing(account_usd=1e11, position_share_max=1.0)  # so many that half of them is half
    for exits in (Exits(), Exits(trail=True), Exits(target_r=2.0, bars_max=9), half):
        rows = [(m, 2.0, *exits.as_row()) for m in (0.5, 1.0, 2.0)]
        settings = np.array(rows)
        opinion = scripted(entries, distance, exits)
        given = rows_for(bars, opinion, costs)
        flags = np.zeros((1, len(bars)), np.bool_)
        zeros = np.zeros(len(bars), np.int64)
        sums, _ = kernel.sweep(
            kernel.views(bars), given.entry, flags, flags, distance[None], np.zeros(1, np.int64),
            settings, kernel.known_exits(settings), given.per_bar, zeros, zeros, 1,
        )  # fmt: skip
        for place, multiple in enumerate((0.5, 1.0, 2.0)):
            own = scripted(entries, distance * multiple, exits)
            books = rows_for(bars, own, costs, sizing=many).books()
            assert sums[place, 0, 0] == len(books.trades)
            assert sums[place, 0, 1] == pytest.approx(float(books.trades["r"].sum()), abs=1e-5)
