"""vectorbt's rust engine as it comes: one bar a day, its own defaults, nothing thought of."""

import numpy as np

from tradebox.backtest import verify_engine

DEFAULTS = {
    "cash": 100.0,
    "long_entries": False,
    "long_exits": False,
    "short_entries": False,
    "short_exits": False,
    "size": np.inf,
    "price": np.inf,
    "slippage": 0.0,
    "size_granularity": np.nan,
    "size_type": 0,
    "accumulate": 0,
    "sl_stop": np.nan,
    "sl_trail": False,
    "tp_stop": np.nan,
    "stop_entry_price": 3,
    "stop_exit_price": 0,
    "group_lens": None,
}


def naive_orders(prices, **changes):
    """Return (idx, side, size, price) of the orders; prices: rows of open, high, low, close.

    Arrays of changes are per bar (or bar and column); integers are vectorbt's enum values.
    """
    given = {**DEFAULTS, **changes}
    table = np.array(prices, np.float64)
    flags = ("long_entries", "long_exits", "short_entries", "short_exits")
    columns = max(np.atleast_2d(np.asarray(given[name]).T).shape[0] for name in flags)
    shape = (len(table), columns)

    def flag(name):
        return np.array(np.broadcast_to(two(np.asarray(given[name], np.bool_)), shape))

    def two(array):
        return array[:, None] if array.ndim == 1 else array

    def number(name):
        return two(np.asarray(given[name], np.float64))

    def word(name):
        return np.asarray(given[name], np.int64)

    lens = given["group_lens"]
    groups = np.ones(columns, np.int64) if lens is None else np.array(lens, np.int64)
    yes, no, zero, free = np.asarray(True), np.asarray(False), np.asarray(0), np.asarray(0.0)
    opposite_reverses = np.asarray(4)
    enums = verify_engine._enums()
    with verify_engine._as_vectorbt(enums):
        orders, _ = verify_engine._simulate()(
            shape, groups, np.full(len(groups), given["cash"]),
            np.array(np.broadcast_to(np.arange(columns), shape)) * (lens is not None), no, no, zero,
            *(flag(name) for name in flags), number("size"), number("price"), word("size_type"),
            free, free, number("slippage"), free, np.asarray(np.inf), number("size_granularity"),
            free, no, yes, no, no, word("accumulate"), zero, zero, zero, opposite_reverses,
            np.asarray(np.inf), *(table[:, [c]].copy() for c in range(4)), number("sl_stop"),
            np.asarray(given["sl_trail"]), number("tp_stop"), word("stop_entry_price"),
            word("stop_exit_price"), zero, np.asarray(1),
        )  # fmt: skip
    return [(int(o["idx"]), 1 - 2 * int(o["side"]), float(o["size"]), float(o["price"]))
            for o in orders]  # fmt: skip
