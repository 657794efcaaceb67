"""The event-driven kernel: from signals to orders, and thousands of settings a second.

Rules of this file:
- a signal at the close of bar i acts at the open of bar i + 1; one position at a time;
- at an open: first the stop and the target that the gap jumped, then exit signals and the time
  exit, then an entry; within the day the stop comes before the target, on the entry bar too;
- a high (low) moves a trailing stop from the next bar on, an open at once;
- market orders pay half the spread; exits by stop or target pay slippage on top;
- no threads and no clock: the same arrays give the same bits everywhere.

Public names: views, leave, simulate, sweep, known_exits, warm_up, POSITION_COLUMNS.
"""

from typing import Any

# numba infers the types from the arrays it is called with; annotations would be decoration here.
# ruff: noqa: ANN001, ANN201, ANN202, PLR0917
# mypy: disable-error-code="no-untyped-def"
import numba
import numpy as np
from numpy.typing import NDArray

from tradebox.strategies.bars import Bars, Floats

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
_jit_inline: Any = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


def views(bars: Bars) -> Floats:
    """Return float64[2, 4, n]: (open, best, worst, close) as a long position sees them, as a short.

    The short side's prices are negative: then "below the stop" is one comparison for both. An open
    outside its day's range widens it: whoever trades that day trades at that open.
    """
    open_, close = bars.open, bars.close
    top, bottom = np.maximum(bars.high, open_), np.minimum(bars.low, open_)
    return np.array([[open_, top, bottom, close], [-open_, -bottom, -top, -close]])


@_jit_inline
def _trailed(moved, stop, reason, least):
    """Return the stop and its reason after a peak would move it."""
    if moved > stop and moved - stop >= least:
        return moved, TRAIL
    return stop, reason


@_jit_inline
def leave(seen, place, flags, first, side, fill, share, row, ratchet_r, start, peak):
    """Return (bar, phase, price before costs, reason, peak) of the exit of one position.

    seen: see views; place: 0 long, 1 short. flags: bool[n], leave at the next open. row: see
    Exits.as_row. ratchet_r: least move of a trailing stop in R.
    start, peak: the entry's bar and its price as `seen` has it; or where a position with the same
    exits and a nearer stop left, and the best price it had seen: nothing can have happened before.
    """
    bars = seen.shape[2]
    trails = row[1] > 0.0
    entry = side * fill
    keep = 1.0 - side * share
    stop = entry * keep
    target = entry * (1.0 + side * (row[0] * share)) if row[0] > 0.0 else np.inf
    level = entry * (1.0 + side * (row[2] * share)) if row[2] > 0.0 else np.inf
    last = first + int(row[3]) if row[3] > 0.0 else bars
    least = ratchet_r * fill * share
    reason = STOP
    if trails:
        stop, reason = _trailed(peak * keep, stop, reason, 0.0)
    near = min(target, level)
    until = min(last, bars)
    i = start
    while i < bars:
        if i > first:
            # Days on which nothing can happen but a new peak: nearly all of them.
            while (
                i < until
                and seen[place, 2, i] > stop
                and seen[place, 1, i] < near
                and not flags[i - 1]
            ):
                if trails and seen[place, 1, i] > peak:
                    if least > 0.0 or (
                        seen[place, 0, i] > peak and seen[place, 2, i] <= seen[place, 0, i] * keep
                    ):
                        break
                    peak = seen[place, 1, i]
                    stop, reason = _trailed(peak * keep, stop, reason, least)
                i += 1
            if i == bars:
                break
        price = seen[place, 0, i]
        if i > first:
            if price <= stop:
                return i, AT_OPEN_BY_GAP, side * price, reason, peak
            if price >= target:
                return i, AT_OPEN_BY_GAP, side * price, TARGET, peak
            if flags[i - 1]:
                return i, AT_OPEN, side * price, SIGNAL, peak
            if i >= last:
                return i, AT_OPEN, side * price, BARS_MAX, peak
            if price >= level and stop < entry:
                stop, reason = entry, BREAK_EVEN
            if trails and price > peak:
                peak = price
                stop, reason = _trailed(peak * keep, stop, reason, least)
        if seen[place, 2, i] <= stop:
            return i, IN_DAY, side * min(price, stop), reason, peak
        if seen[place, 1, i] >= target:
            return i, IN_DAY, side * target, TARGET, peak
        if seen[place, 1, i] >= level and stop < entry:
            stop, reason = entry, BREAK_EVEN
        if trails and seen[place, 1, i] > peak:
            peak = seen[place, 1, i]
            stop, reason = _trailed(peak * keep, stop, reason, least)
        i += 1
    return bars - 1, AT_END, side * seen[place, 3, bars - 1], END, peak


@_jit
def _leave(seen, place, flags, first, side, fill, share, row, ratchet_r):
    """Return (bar, phase, price, reason) of the exit of one position, from its entry on."""
    at, phase, price, reason, _ = leave(
        seen, place, flags, first, side, fill, share, row, ratchet_r, first, side * fill
    )
    return at, phase, price, reason


@_jit
def _with_costs(price, side, phase, half_spread, slippage):
    """Return what is paid (side +1) or got (side -1) for a price."""
    cost = half_spread if phase in (AT_OPEN, AT_END) else half_spread + slippage
    return price * (1.0 + side * cost)


@_jit
def _add(sums, r):
    sums[0] += 1.0
    sums[1] += r
    sums[2] += r * r


@_jit_inline
def _sweep(
    seen, signal_bars, signal_sides, distance, exit_long, exit_short, settings, known,
    costs, block_of_exit, block_of_entry, blocks,
):  # fmt: skip
    """Return what sweep does for one opinion, given by its signals.

    known: per setting an earlier one that differs in sides alone, and one whose stop alone is
    nearer; -1 for none.
    """
    count, bars, signals = len(settings), seen.shape[2], len(signal_bars)
    by_exit = np.zeros((count, blocks, 3))
    by_entry = np.zeros((count, blocks, 3))
    free_after = np.full((count, signals), -1)  # where the next entry may fill; -1 = not known
    ended = np.empty((count, signals), np.int64)
    peaks = np.empty((count, signals))
    results = np.empty((count, signals))
    for m in range(count):
        multiple, sides, row = settings[m, 0], settings[m, 1], settings[m, 2:]
        twin, nearer = known[m, 0], known[m, 1]
        free = 0
        for k in range(signals):
            first, side = signal_bars[k] + 1, signal_sides[k]
            if first < free or first >= bars or (side < 0 and sides < 2.0):
                continue
            q = m
            if twin >= 0 and free_after[twin, k] >= 0:
                q = twin
            else:
                share = distance[first - 1] / seen[0, 3, first - 1] * multiple
                if not 0.0 < share <= 0.5:
                    continue
                fill = seen[0, 0, first] * (1.0 + side * costs[0, first])
                place, flags = (0, exit_long) if side > 0 else (1, exit_short)
                start, peak = first, side * fill
                if nearer >= 0 and free_after[nearer, k] >= 0:
                    start, peak = ended[nearer, k], peaks[nearer, k]
                at, phase, price, _, peak = leave(
                    seen, place, flags, first, side, fill, share, row, 0.0, start,
                    peak,
                )  # fmt: skip
                got = _with_costs(price, -side, phase, costs[0, at], costs[1, at])
                if row[4] > 0.0:
                    early = row.copy()
                    early[0] = row[4]
                    bar, when, level, why = _leave(
                        seen, place, flags, first, side, fill, share, early, 0.0
                    )
                    if why == TARGET:
                        part = _with_costs(level, -side, when, costs[0, bar], costs[1, bar])
                        got += row[5] * (part - got)
                paid = costs[2, first] + costs[2, at]
                if side < 0:
                    paid += costs[3, first] * fill * (at - first)
                free_after[m, k] = at + 1 if phase >= IN_DAY else at
                ended[m, k], peaks[m, k] = at, peak
                results[m, k] = (side * (got - fill) - paid) / (fill * share)
            free = free_after[q, k]
            out, into = block_of_exit[ended[q, k]], block_of_entry[first - 1]
            if out >= 0:
                _add(by_exit[m, out], results[q, k])
            if into >= 0:
                _add(by_entry[m, into], results[q, k])
    return by_exit, by_entry


@_jit
def sweep(
    seen, entries, exits_long, exits_short, distances, which, settings, known, costs,
    block_of_exit, block_of_entry, blocks,
):  # fmt: skip
    """Return (by exit, by entry): per setting and block the count, sum and squares of R.

    Settings come opinion by opinion: one call for a whole grid. seen: see views. entries,
    exits_long, exits_short: [opinions, n]; distances: float64[few, n], of a stop of multiple 1;
    which: the row of each opinion. settings: float64[m, 8]: stop multiple, sides, then
    Exits.as_row. known: see known_exits. costs: float64[4, n]: see Costs.per_bar; least commission
    is not in it. block_of_exit, block_of_entry: int64[n], -1 where a trade does not count.
    """
    step = len(settings)
    by_exit = np.empty((len(entries) * step, blocks, 3))
    by_entry = np.empty((len(entries) * step, blocks, 3))
    for p in range(len(entries)):
        where = np.flatnonzero(entries[p])
        one, other = _sweep(
            seen, where, entries[p][where], distances[which[p]], exits_long[p], exits_short[p],
            settings, known, costs, block_of_exit, block_of_entry, blocks,
        )  # fmt: skip
        by_exit[p * step : (p + 1) * step] = one
        by_entry[p * step : (p + 1) * step] = other
    return by_exit, by_entry


def known_exits(settings: Floats) -> NDArray[np.int64]:
    """Return for each setting of sweep the earlier ones it can learn from, -1 for none."""
    known = np.full((len(settings), 2), -1, np.int64)
    for m, own in enumerate(settings):
        for other in range(m):
            if not np.array_equal(settings[other, 2:], own[2:]):
                continue
            if settings[other, 0] == own[0]:
                known[m, 0] = other
            elif settings[other, 0] < own[0] and own[4] == 0.0:
                known[m, 1] = other
    return known


@_jit
def _excursion(seen, first, at, phase, side, fill, price):
    """Return (worst, best) price seen by a position; the exit's own bar counts up to the exit."""
    down = side * fill
    up = down
    for i in range(first, at):
        down = min(down, seen[2, i])
        up = max(up, seen[1, i])
    if phase == AT_END:
        down = min(down, seen[2, at])
        up = max(up, seen[1, at])
    else:
        down = min(down, side * price)
        up = max(up, side * price)
    return side * down, side * up


@_jit
def _write(row, values):
    for column in range(len(values)):
        row[column] = values[column]


@_jit
def simulate(
    seen, regime, entry, exit_long, exit_short, shares, exits, sizes, costs, final,
    ratchet_r,
):  # fmt: skip
    """Return float64[positions, 16] of an account that follows row regime[i] at bar i.

    seen: see views. regime: int64[n], the row whose entries count at that bar, -1 for none; a
    position keeps the row it was opened with. entry, exit_long, exit_short, shares, sizes: [rows,
    n]; exits: [rows, 6]. costs: float64[4, n]. final: (share a long position loses at the end, 1
    if delisted).
    Columns: see POSITION_COLUMNS.
    """
    bars = seen.shape[2]
    found = np.empty((bars, 16))
    count, free = 0, 0
    for i in range(bars - 1):
        k = regime[i]
        first = i + 1
        if k < 0 or entry[k, i] == 0 or first < free:
            continue
        side, share, size = int(entry[k, i]), shares[k, i], sizes[k, i]
        if not (0.0 < share <= 0.5 and size > 0.0):
            continue
        row = exits[k]
        place, flags = (0, exit_long[k]) if side > 0 else (1, exit_short[k])
        fill = seen[0, 0, first] * (1.0 + side * costs[0, first])
        at, phase, price, reason = _leave(
            seen, place, flags, first, side, fill, share, row, ratchet_r
        )
        if phase == AT_END and final[1] > 0.0:
            reason = DELISTED
            price = price * (1.0 - final[0]) if side > 0 else price
        got = _with_costs(price, -side, phase, costs[0, at], costs[1, at])
        cut, cut_phase, cut_got, part = -1, 0, 0.0, np.floor(size * row[5] + 1e-9)
        if row[4] > 0.0 and 1.0 <= part < size:
            early = row.copy()
            early[0] = row[4]
            # Only a lower target differs, so this leg never ends later than the position.
            bar, when, level, why = _leave(
                seen, place, flags, first, side, fill, share, early, ratchet_r
            )
            if why == TARGET:
                cut, cut_phase = bar, when
                cut_got = _with_costs(level, -side, when, costs[0, bar], costs[1, bar])
        worst, best = _excursion(seen[place], first, at, phase, side, fill, price)
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
    prices, days = np.array([10.0, 10.5, 11.0, 10.0]), np.arange(4, dtype=np.int32)
    seen = views(Bars("WARM", days, prices, prices, prices, prices, prices))
    flags = np.zeros((1, 4), np.bool_)
    entry = np.array([[1, 0, 0, 0]], np.int8)
    shares, row, costs = np.full((1, 4), 0.05), np.zeros((1, 6)), np.zeros((4, 4))
    block = np.zeros(4, np.int64)
    simulate(seen, block, entry, flags, flags, shares, row, shares, costs, np.zeros(2), 0.0)
    sweep(
        seen, entry, flags, flags, shares, np.array([0]), np.ones((1, 8)), np.full((1, 2), -1),
        costs, block, block, 1,
    )  # fmt: skip
