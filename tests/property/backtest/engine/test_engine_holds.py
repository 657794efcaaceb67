"""What the engine's parts promise, on any input: blocks, plateaus, costs, sizes, books, sweeps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from support.price_series import rows_for, scripted, walk
from tradebox.backtest import kernel, walkforward
from tradebox.backtest.costs import FEE_PER_SHARE, HALF_SPREAD, SLIPPAGE, Costs
from tradebox.backtest.layers.sizing import sizes_of
from tradebox.backtest.layers.state import Sizing
from tradebox.backtest.verify import verify
from tradebox.strategies.base import Exits

SEEDS = st.integers(0, 10_000)
QUICK = settings(max_examples=40, deadline=None)
EXITS = st.builds(
    Exits,
    target_r=st.sampled_from([0.0, 1.0, 2.5]),
    trail=st.booleans(),
    bars_max=st.sampled_from([0, 1, 4, 15]),
    scale_out_r=st.sampled_from([0.0, 0.5, 0.9]),
    scale_out_fraction=st.sampled_from([0.1, 0.5, 0.99]),
)


def script(seed, count, share):
    random = np.random.default_rng(seed)
    chosen = random.choice(count, min(count, 40), replace=False)
    entries = {int(bar): int(random.choice([1, -1])) for bar in chosen}
    leaves = [int(bar) for bar in random.choice(count, 6)]
    bars = walk(seed, count, volatility=float(random.choice([0.005, 0.03])))
    return bars, entries, leaves, bars.close * share


@given(SEEDS, EXITS, st.sampled_from([0.005, 0.03, 0.2]), st.booleans())
@QUICK
def test_vectorbt_agrees_and_the_books_balance(seed, exits, share, is_delisted):
    bars, entries, leaves, distance = script(seed, 120, share)
    final = (0.3, 1.0) if is_delisted else (0.0, 0.0)
    rows = rows_for(bars, scripted(entries, distance, exits, leaves), Costs(), final=final)
    books = rows.books()
    verdict = verify(rows, books)
    assert verdict.agrees, verdict.difference
    orders, trades = books.orders, books.trades
    assert float((orders["side"] * orders["size"]).sum()) == 0.0
    assert (orders["size"] > 0).all()
    assert (np.diff(orders["bar"]) >= 0).all()
    assert abs(float(books.equity[-1]) - 100_000 - float(trades["pnl"].sum())) < 1e-6
    assert abs(float(orders["fees"].sum() - trades["fees"].sum())) < 1e-6
    assert (trades["entry_bar"][1:] >= trades["exit_bar"][:-1]).all()
    assert (trades["mae_r"] <= 0).all()
    assert (trades["mfe_r"] >= 0).all()


@given(SEEDS, EXITS)
@QUICK
def test_what_a_sweep_learns_from_earlier_settings_changes_nothing(seed, exits):
    bars, entries, leaves, distance = script(seed, 200, 0.02)
    rows = [
        (multiple, sides, *exits.as_row()) for multiple in (0.5, 1.0, 3.0) for sides in (1.0, 2.0)
    ]
    grid = np.array(rows)
    entry, flags = np.zeros((1, len(bars)), np.int8), np.zeros((1, len(bars)), np.bool_)
    for bar, side in entries.items():
        entry[0, bar] = side
    flags[0, leaves] = True
    blocks = walkforward.cut_blocks(len(bars), 4)
    known = kernel.known_exits(grid)
    assert (known[1:] >= 0).any(axis=1).all()
    both = [
        kernel.sweep(
            kernel.views(bars), entry, flags, flags, distance[None], np.zeros(1, np.int64), grid,
            learnt, Costs().per_bar(bars), blocks.of_exit, blocks.of_entry, blocks.count,
        )
        for learnt in (known, np.full_like(known, -1))
    ]  # fmt: skip
    for one, other in zip(*both, strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.integers(30, 5000), st.integers(4, 12), st.integers(0, 5))
@QUICK
def test_blocks_cover_every_bar_once_and_judge_after_the_embargo(bars, splits, embargo):
    blocks = walkforward.cut_blocks(bars, splits, embargo)
    assert blocks.count == splits + 1
    assert blocks.edges[0] == 0
    assert blocks.edges[-1] == bars
    assert (np.diff(blocks.of_exit) >= 0).all()
    assert set(blocks.of_exit.tolist()) == set(range(splits + 1))
    for block in range(1, splits + 1):
        first = int(blocks.edges[block])
        judged = np.flatnonzero(blocks.of_entry == block)
        assert (blocks.of_exit[judged] == block).all()
        assert len(judged) == 0 or judged[0] == first + embargo
    assert not (blocks.of_entry == 0).any()


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@given(SHAPES, SEEDS, st.floats(-5, 5))
@QUICK
def test_a_plateau_keeps_a_constant_and_lowers_a_peak(shape, seed, value):
    count = int(np.prod(shape))
    assert np.allclose(walkforward.plateau(np.full((2, count), value), shape), value)
    place = int(np.random.default_rng(seed).integers(count))
    peak = np.zeros((1, count))
    peak[0, place] = 1.0
    smooth = walkforward.plateau(peak, shape)
    beside = walkforward.neighbours(place, shape)
    assert smooth[0, place] == 1.0 / (1 + len(beside))
    assert all(smooth[0, other] > 0 for other in beside)
    assert np.count_nonzero(smooth) == 1 + len(beside)


@given(st.lists(st.floats(-10, 50), max_size=60), st.integers(2, 20))
@QUICK
def test_a_score_is_bounded_and_unknown_with_few_trades(values, least):
    r = np.array(values)
    score = float(
        walkforward.score_of(np.array([len(r), r.sum(), (r * r).sum()], np.float64), least)
    )
    assert -5.0 <= score <= 5.0
    assert len(r) >= least or score == walkforward.UNKNOWN_SCORE


@given(SEEDS, st.integers(1, 79))
@QUICK
def test_costs_of_a_bar_know_nothing_of_it_or_of_later_ones(seed, bar):
    bars = walk(seed, 80)
    before = Costs().per_bar(bars)
    bars.volume[bar:] = 1.0
    after = Costs().per_bar(bars)
    np.testing.assert_array_equal(before[:, : bar + 1], after[:, : bar + 1])


@given(SEEDS, st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]))
@QUICK
def test_multiplied_costs_multiply_every_part(seed, factor):
    bars = walk(seed, 80)
    one, more = Costs(), Costs().times(factor)
    for row in (HALF_SPREAD, SLIPPAGE, FEE_PER_SHARE):
        np.testing.assert_allclose(more.per_bar(bars)[row], one.per_bar(bars)[row] * factor)
    size, price = np.array([1.0, 50.0, 5000.0]), np.array([4.0, 80.0, 20.0])
    np.testing.assert_allclose(more.commission(size, price), one.commission(size, price) * factor)
    assert (one.commission(size, price) <= 0.01 * size * price + 1e-12).all()


@given(SEEDS, st.floats(0.01, 30), st.floats(0.001, 0.05), st.sampled_from([0.0, 0.01]))
@QUICK
def test_a_size_stays_within_its_risk_and_its_limits(seed, distance, risk, liquidity):
    bars = walk(seed, 80)
    sizing = Sizing(50_000.0, risk, 0.5, liquidity)
    sizes = sizes_of(sizing, bars, np.full(80, distance))
    assert (sizes * distance <= 50_000 * risk + 1e-6).all()
    assert (sizes * bars.close <= 25_000 + 1e-6).all()
    assert (sizes == np.floor(sizes)).all()
    assert liquidity == 0.0 or sizes[0] == 0.0  # its usual volume is not known yet
