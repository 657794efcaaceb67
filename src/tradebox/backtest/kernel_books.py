"""The books of a simulated account: orders, trades and equity from the kernel's positions.

Rules of this file:
- each position is one entry order, at most one scale-out, and one exit, in the order of time;
- fees are commission, and for borrowed shares the borrowing, paid with the exit;
- cash and position are sums over the orders: equity is what they say and nothing else.

Public names: Books, keep_books.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest import kernel
from tradebox.backtest.costs import Costs
from tradebox.backtest.records import ORDER_DTYPE, TRADE_DTYPE
from tradebox.strategies.bars import Bars, Floats

_COLUMN = {name: number for number, name in enumerate(kernel.POSITION_COLUMNS)}


@dataclass(frozen=True, slots=True, eq=False)
class Books:
    """What a simulated account did. equity: USD at each close; row: which choice opened it."""

    orders: NDArray[np.void]
    trades: NDArray[np.void]
    equity: Floats
    row: NDArray[np.int64]


def keep_books(positions: Floats, bars: Bars, costs: Costs, account_usd: float) -> Books:
    """Return the books of the positions of kernel.simulate.

    Holds:   the last equity = account + sum of the trades' pnl; shares bought = shares sold.
    """
    value = {name: positions[:, column] for name, column in _COLUMN.items()}
    trades, parts = _trades(value, bars, costs)
    orders = _orders(value, parts)
    signed = orders["side"] * orders["size"]
    count = len(bars)
    flow = np.bincount(
        orders["bar"], weights=-signed * orders["price"] - orders["fees"], minlength=count
    )
    held = np.cumsum(np.bincount(orders["bar"], weights=signed, minlength=count))
    equity = account_usd + np.cumsum(flow) + held * bars.close
    return Books(orders, trades, equity, value["row"].astype(np.int64))


def _trades(
    value: dict[str, Any], bars: Bars, costs: Costs
) -> tuple[NDArray[np.void], dict[str, Any]]:
    size, fill, side = value["size"], value["entry_price"], value["side"]
    first, last = value["entry_bar"].astype(np.int64), value["exit_bar"].astype(np.int64)
    is_cut = value["cut_bar"] >= 0
    cut = np.where(is_cut, value["cut_size"], 0.0)
    left = size - cut
    borrowed = np.where(side < 0, size, 0.0) * fill
    days = (bars.day[last] - bars.day[first]).astype(np.float64)
    fees_in = costs.commission(size, fill)
    fees_cut = np.where(is_cut, costs.commission(cut, value["cut_price"]), 0.0)
    fees_out = costs.commission(left, value["exit_price"]) + costs.borrowing(days, borrowed)
    gained = cut * value["cut_price"] + left * value["exit_price"]
    out = np.zeros(len(size), TRADE_DTYPE)
    out["entry_bar"], out["exit_bar"] = first, last
    out["side"], out["reason"], out["size"] = side, value["reason"], size
    out["entry_price"], out["exit_price"] = fill, gained / size
    out["stop_price"] = fill * (1.0 - side * value["share"])
    out["fees"] = fees_in + fees_cut + fees_out
    out["pnl"] = side * (gained - size * fill) - out["fees"]
    risk = fill * value["share"]
    out["r"] = out["pnl"] / (risk * size)
    out["mae_r"] = side * (value["worst"] - fill) / risk
    out["mfe_r"] = side * (value["best"] - fill) / risk
    parts = {"in": fees_in, "cut": fees_cut, "out": fees_out, "left": left, "is_cut": is_cut}
    return out, parts


def _orders(value: dict[str, Any], parts: dict[str, Any]) -> NDArray[np.void]:
    count = len(value["size"])
    table = np.zeros((count, 3), ORDER_DTYPE)
    table["bar"] = np.stack([value["entry_bar"], value["cut_bar"], value["exit_bar"]], axis=1)
    table["side"] = np.stack([value["side"], -value["side"], -value["side"]], axis=1)
    table["size"] = np.stack([value["size"], value["cut_size"], parts["left"]], axis=1)
    table["price"] = np.stack(
        [value["entry_price"], value["cut_price"], value["exit_price"]], axis=1
    )
    table["fees"] = np.stack([parts["in"], parts["cut"], parts["out"]], axis=1)
    table["reason"][:, 0], table["reason"][:, 1] = kernel.ENTRY, kernel.SCALE_OUT
    table["reason"][:, 2] = value["reason"]
    keep = np.ones((count, 3), np.bool_)
    keep[:, 1] = parts["is_cut"]
    orders: NDArray[np.void] = table[keep]
    return orders
