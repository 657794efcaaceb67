"""The event-driven kernel: from signals to orders, and thousands of settings a second.

Rules of this file:
- a signal at the close of bar i acts at the open of bar i + 1; one position at a time;
- at an open: first the stop and the target that the gap jumped, then exit signals and the time
  exit, then an entry; within the day the stop comes before the target, on the entry bar too;
- a high (low) moves a trailing stop from the next bar on, an open at once;
- market orders pay half the spread; exits by stop or target pay slippage on top;
- no threads and no clock: the same arrays give the same bits everywhere.

Public names: simulate, sweep, leave, warm_up, POSITION_COLUMNS, the reasons and the phases.
"""

from typing import Any

# numba infers the types from the arrays it is called with; annotations would be decoration here.
# ruff: noqa: ANN001, ANN201, ANN202, PLR0917
# mypy: disable-error-code="no-untyped-def"
import numba
import numpy as np

ENTRY, STOP, TRAIL, BREAK_EVEN, TARGET, SCALE_OUT, SIGNAL, BARS_MAX, END, DELISTED = range(10)
"""Reasons, by their place in records.REASONS."""

AT_OPEN_BY_GAP, AT_OPEN, IN_DAY, AT_END = range(4)
"""When in a bar an exit happens, in the order of time."""
POSITION_COLUMNS = (
    "entry_bar", "exit_bar", "phase", "side", "reason", "size", "entry_price", "exit_price",
    "share", "worst", "best", "cut_bar", "cut_phase", "cut_price", "cut_size", "row",
)  # fmt: skip
"""What simulate tells of a position; cut_*: the scale-out, cut_bar -1 where there was none."""

_jit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")


@_jit
def leave(open_, high, low, close, flags, first, side, fill, share, row, ratchet_r):
    """Return (bar, phase, price before costs, reason) of the exit of one position.

    flags: bool[n], leave at the next open. row: see Exits.as_row. ratchet_r: least move of a
    trailing stop in R.
    """
    bars = len(close)
    target_share = row[0] * share
    trails = row[1] > 0.0
    level = fill * (1.0 + side * (row[2] * share)) if row[2] > 0.0 else np.inf * side
    last = first + int(row[3]) if row[3] > 0.0 else bars
    stop = fill * (1.0 - side * share)
    target = fill * (1.0 + side * target_share) if row[0] > 0.0 else np.inf * side
    least = ratchet_r * fill * share
    best = fill
    reason = STOP
    for i in range(first, bars):
        price = open_[i]
        if i > first:
            if side * (price - stop) <= 0.0:
                return i, AT_OPEN_BY_GAP, price, reason
            if side * (price - target) >= 0.0:
                return i, AT_OPEN_BY_GAP, price, TARGET
            if flags[i - 1]:
                return i, AT_OPEN, price, SIGNAL
            if i >= last:
                return i, AT_OPEN, price, BARS_MAX
            if side * (price - level) >= 0.0 and side * (fill - stop) > 0.0:
                stop, reason = fill, BREAK_EVEN
            if trails and side * (price - best) > 0.0:
                best = price
                moved = best * (1.0 - side * share)
                if side * (moved - stop) > 0.0 and side * (moved - stop) >= least:
                    stop, reason = moved, TRAIL
        worst_of_day, best_of_day = (low[i], high[i]) if side > 0 else (high[i], low[i])
        if side * (worst_of_day - stop) <= 0.0:
            return i, IN_DAY, stop if side * (price - stop) > 0.0 else price, reason
        if side * (best_of_day - target) >= 0.0:
            return i, IN_DAY, target, TARGET
        if side * (best_of_day - level) >= 0.0 and side * (fill - stop) > 0.0:
            stop, reason = fill, BREAK_EVEN
        if trails and side * (best_of_day - best) > 0.0:
            best = best_of_day
            moved = best * (1.0 - side * share)
            if side * (moved - stop) > 0.0 and side * (moved - stop) >= least:
                stop, reason = moved, TRAIL
    return bars - 1, AT_END, close[bars - 1], END


@_jit
def _with_costs(price, side, phase, half_spread, slippage):
    """Return what is paid (side +1) or got (side -1) for a price."""
    cost = half_spread if phase in (AT_OPEN, AT_END) else half_spread + slippage
    return price * (1.0 + side * cost)


@_jit
def sweep(
    open_, high, low, close, signal_bars, signal_sides, shares, exit_long, exit_short,
    settings, costs, block_of_exit, block_of_entry, blocks,
):  # fmt: skip
    """Return (by exit, by entry): per setting and block the count, sum and squares of R.

    signal_bars, signal_sides: where the opinion enters. shares: float64[n], one average true
    range over the close. settings: float64[m, 8]: stop multiple, sides, then Exits.as_row.
    costs: float64[4, n]: see Costs.per_bar; least and borrowed days are not in it.
    block_of_exit, block_of_entry: int64[n], -1 where a trade does not count.
    """
    count = len(settings)
    by_exit = np.zeros((count, blocks, 3))
    by_entry = np.zeros((count, blocks, 3))
    bars = len(close)
    for m in range(count):
        multiple, sides, row = settings[m, 0], settings[m, 1], settings[m, 2:]
        free = 0
        for k in range(len(signal_bars)):
            first = signal_bars[k] + 1
            side = signal_sides[k]
            share = shares[first - 1] * multiple
            if first < free or first >= bars or share > 0.5 or (side < 0 and sides < 2.0):
                continue
            fill = open_[first] * (1.0 + side * costs[0, first])
            flags = exit_long if side > 0 else exit_short
            at, phase, price, _ = leave(
                open_, high, low, close, flags, first, side, fill, share, row, 0.0
            )
            free = at + 1 if phase >= IN_DAY else at
            got = _with_costs(price, -side, phase, costs[0, at], costs[1, at])
            paid = costs[2, first] + costs[2, at]
            if side < 0:
                paid += costs[3, first] * fill * (at - first)
            r = (side * (got - fill) - paid) / (fill * share)
            out, into = block_of_exit[at], block_of_entry[first - 1]
            if out >= 0:
                by_exit[m, out, 0] += 1.0
                by_exit[m, out, 1] += r
                by_exit[m, out, 2] += r * r
            if into >= 0:
                by_entry[m, into, 0] += 1.0
                by_entry[m, into, 1] += r
                by_entry[m, into, 2] += r * r
    return by_exit, by_entry


@_jit
def _excursion(open_, high, low, first, at, phase, side, fill, got):
    """Return (worst, best) price seen by a position; the exit's own bar counts up to the exit."""
    worst = fill
    best = fill
    for i in range(first, at + 1):
        if i == at and phase < IN_DAY:
            down, up = open_[i], open_[i]
        elif i == at and phase == IN_DAY:
            down, up = got, got
        else:
            down, up = (low[i], high[i]) if side > 0 else (high[i], low[i])
        if side * (down - worst) < 0.0:
            worst = down
        if side * (up - best) > 0.0:
            best = up
    return worst, best


@_jit
def _write(row, values):
    for column in range(len(values)):
        row[column] = values[column]


@_jit
def simulate(
    open_, high, low, close, regime, entry, exit_long, exit_short, shares, exits, sizes,
    costs, final, ratchet_r,
):  # fmt: skip
    """Return float64[positions, 16] of an account that follows row regime[i] at bar i.

    regime: int64[n], the row whose entries count at that bar, -1 for none; a position keeps the
    row it was opened with. entry, exit_long, exit_short, shares, sizes: [rows, n]; exits: [rows,
    6]. costs: float64[4, n]. final: (share a long position loses at the end, 1 if delisted).
    Columns: see POSITION_COLUMNS.
    """
    bars = len(close)
    found = np.empty((bars, 16))
    count, free = 0, 0
    for i in range(bars - 1):
        k = regime[i]
        first = i + 1
        if k < 0 or entry[k, i] == 0 or first < free:
            continue
        side, share, size = int(entry[k, i]), shares[k, i], sizes[k, i]
        if not (share <= 0.5 and size > 0.0):
            continue
        row = exits[k]
        flags = exit_long[k] if side > 0 else exit_short[k]
        fill = open_[first] * (1.0 + side * costs[0, first])
        at, phase, price, reason = leave(
            open_, high, low, close, flags, first, side, fill, share, row, ratchet_r
        )
        if phase == AT_END and final[1] > 0.0:
            reason = DELISTED
            price = price * (1.0 - final[0]) if side > 0 else price
        got = _with_costs(price, -side, phase, costs[0, at], costs[1, at])
        cut, cut_phase, cut_got, part = -1, 0, 0.0, np.floor(size * row[5])
        if row[4] > 0.0 and part >= 1.0:
            early = row.copy()
            early[0] = row[4]
            # Only a lower target differs, so this leg never ends later than the position.
            bar, when, level, why = leave(
                open_, high, low, close, flags, first, side, fill, share, early, ratchet_r
            )
            if why == TARGET:
                cut, cut_phase = bar, when
                cut_got = _with_costs(level, -side, when, costs[0, bar], costs[1, bar])
        worst, best = _excursion(open_, high, low, first, at, phase, side, fill, price)
        _write(
            found[count],
            (
                float(first), float(at), float(phase), float(side), float(reason), size, fill, got,
                share, worst, best, float(cut), float(cut_phase), cut_got, part, float(k),
            ),
        )  # fmt: skip
        count += 1
        free = at + 1 if phase >= IN_DAY else at
    return found[:count]


def warm_up() -> None:
    """Compile or load the kernel: a process does this once, before its first stock."""
    prices = np.array([10.0, 10.5, 11.0, 10.0])
    flags = np.zeros((1, 4), np.bool_)
    entry = np.array([[1, 0, 0, 0]], np.int8)
    shares, row, costs = np.full((1, 4), 0.05), np.zeros((1, 6)), np.zeros((4, 4))
    block = np.zeros(4, np.int64)
    simulate(
        prices, prices, prices, prices, block, entry, flags, flags, shares, row, shares, costs,
        np.zeros(2), 0.0,
    )  # fmt: skip
    bars, sides = np.array([0]), np.array([1], np.int8)
    sweep(
        prices, prices, prices, prices, bars, sides, shares[0], flags[0], flags[0],
        np.ones((1, 8)), costs, block, block, 1,
    )  # fmt: skip
