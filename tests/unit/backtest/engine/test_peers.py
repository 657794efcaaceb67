"""The same strategy in backtesting.py: next-open fills, fixed stop, target, long and short."""

import warnings

import numpy as np
import pytest

from support.price_series import rows_for, scripted, walk
from tradebox.backtest.costs import Costs
from tradebox.strategies.base import Exits

CASH = 1e9


def theirs(bars, entries, share, target_r, leaves):
    """Return backtesting.py's trades as (entry bar, exit bar, size, entry price, exit price)."""
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import backtesting

    class Script(backtesting.Strategy):
        def init(self):
            pass

        def next(self):
            bar = len(self.data) - 1
            if self.position:
                if bar in leaves:
                    self.position.close()
                return
            side = entries.get(bar, 0)
            if side == 0 or bar + 1 >= len(bars):
                return
            # Its stop is a price given before the fill; the script knows the next open for both.
            fill = bars.open[bar + 1]
            target = fill * (1 + side * share * target_r) if target_r else None
            order = self.buy if side > 0 else self.sell
            order(size=100, sl=fill * (1 - side * share), tp=target)

    frame = pd.DataFrame(
        {name.title(): getattr(bars, name) for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(bars.day.astype("datetime64[D]")),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = backtesting.Backtest(
            frame, Script, cash=CASH, trade_on_close=False, hedging=False, finalize_trades=False
        )
        trades = test.run()["_trades"]
    columns = ("EntryBar", "ExitBar", "Size", "EntryPrice", "ExitPrice")
    return [tuple(row) for row in trades[list(columns)].itertuples(index=False)]


@pytest.mark.parametrize("target_r", [0.0, 2.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_trades_equal_those_of_backtesting_py(seed, target_r):
    bars = walk(seed, 700)
    random = np.random.default_rng(seed)
    entries = {int(bar): int(random.choice([1, -1])) for bar in random.choice(690, 150)}
    leaves = frozenset(range(5, 690, 20)) - set(entries)
    exits = Exits(target_r=target_r)
    given = rows_for(
        bars, scripted(entries, bars.close * 0.04, exits, sorted(leaves)), Costs.none()
    )
    closed = [t for t in given.books().trades if t["reason"] < 8]
    own = [(int(t["entry_bar"]), int(t["exit_bar"]), int(t["side"]), float(t["entry_price"]),
            float(t["exit_price"])) for t in closed]  # fmt: skip
    other = theirs(bars, entries, 0.04, target_r, leaves)
    assert len(own) > 20
    assert len(own) == len(other)
    for mine, yours in zip(own, other, strict=True):
        assert mine[:2] == tuple(int(v) for v in yours[:2])
        assert mine[2] == np.sign(yours[2])
        assert mine[3:] == pytest.approx(tuple(float(v) for v in yours[3:]), rel=1e-9)
