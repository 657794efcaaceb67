"""A second opinion: vectorbt's rust engine simulates the same choices, order for order.

Rules of this file:
- vectorbt is given bars, opinions, stops and sizes, never an order of ours;
- each day becomes four bars, so that vectorbt can do what it cannot with one: at the open first
  the gaps through stop and target, then exits, then entries; then the day itself, in which the
  entry's own day is stop-checked; two last bars close what is open at the end;
- a time exit is a signal per entry: entries go to as many columns as keep them apart, and a fold
  over vectorbt's own trades takes those that follow each other;
- a scale-out is one more column, with its own target and the entries vectorbt took;
- commission is not simulated: it is computed again, from vectorbt's orders.

Public names: Verdict, verify, engine_orders.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest.costs import HALF_SPREAD, SLIPPAGE
from tradebox.backtest.kernel_books import Books
from tradebox.backtest.records import ORDER_DTYPE
from tradebox.backtest.rows import Rows
from tradebox.backtest.verify_engine import signal_orders

TOLERANCE: Final = 1e-9
"""Greatest difference of size, price and fees, relative to values above 1."""
GAP, LEAVE, ENTER, DAY = range(4)
"""The four bars of a day."""
PARTS: Final = 4
_LONG_END, _SHORT_END = 0, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether both engines agree; where not, the first order that differs, in words."""

    agrees: bool
    orders: int
    difference: str = ""


def verify(rows: Rows, books: Books) -> Verdict:
    """Compare the orders of some books with vectorbt's for the same rows."""
    if np.any(rows.exits[:, 2] > 0.0):
        text = "vectorbt's engine has no stop that goes to break-even: nothing was compared"
        return Verdict(False, len(books.orders), text)
    theirs, ours = engine_orders(rows), books.orders
    first: tuple[int, str] | None = None
    both = min(len(ours), len(theirs))
    for name in ("bar", "side", "size", "price", "fees"):
        mine, yours = ours[name][:both].astype(np.float64), theirs[name][:both].astype(np.float64)
        is_near = np.abs(mine - yours) <= TOLERANCE * np.maximum(1.0, np.abs(yours))
        if not is_near.all():
            place = int(np.argmin(is_near))
            if first is None or place < first[0]:
                text = f"{name} is {float(mine[place])!r}, vectorbt says {float(yours[place])!r}"
                first = (place, text)
    if first is not None:
        return Verdict(False, len(ours), f"order {first[0]}: {first[1]}")
    if len(ours) != len(theirs):
        return Verdict(False, len(ours), f"{len(ours)} orders, vectorbt makes {len(theirs)}")
    return Verdict(True, len(ours))


@dataclass(frozen=True, slots=True)
class _Trip:
    """One position of vectorbt: when (in quarter days) and at what it came and went."""

    came: int
    side: int
    size: float
    paid: float
    went: int
    got: float
    cut: tuple[int, float, float] | None = None


def engine_orders(rows: Rows) -> NDArray[np.void]:
    """Return vectorbt's orders for those rows, without reasons; break-even is not expressed."""
    days = _Days(rows)
    taken: list[_Trip] = []
    free = -1
    for row in range(len(rows.entry)):
        trips = days.trips(row, free)
        taken += trips
        free = trips[-1].went if trips else free
    return _as_orders(taken, rows)


class _Days:
    """The bars of some rows, four a day and two at the end, as vectorbt reads them."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        bars, count = rows.bars, len(rows.bars)
        self.count = PARTS * count + 2
        self.open = self._spread(bars.open, bars.open)
        self.high = self._spread(bars.open, bars.high)
        self.low = self._spread(bars.open, bars.low)
        self.close = self._spread(bars.open, bars.close)
        half = rows.per_bar[HALF_SPREAD]
        slippage = np.empty((self.count, 1))
        slippage[:-2, 0] = np.repeat(half, PARTS)
        slippage[GAP:-2:PARTS, 0] += rows.per_bar[SLIPPAGE]
        slippage[DAY:-2:PARTS, 0] += rows.per_bar[SLIPPAGE]
        slippage[-2:] = half[-1]
        self.slippage = slippage
        price = self.open.copy()
        lost = rows.final[0] if rows.final[1] > 0.0 else 0.0
        price[-2 + _LONG_END], price[-2 + _SHORT_END] = (
            bars.close[-1] * (1.0 - lost),
            bars.close[-1],
        )
        self.price = price

    def _spread(self, at_open: NDArray[np.float64], of_day: NDArray[np.float64]) -> Any:
        out = np.full((self.count, 1), np.nan)  # no price at the two last bars: no stop is checked
        out[:-2, 0] = np.repeat(at_open, PARTS)
        out[DAY:-2:PARTS, 0] = of_day
        return out

    def trips(self, row: int, free: int) -> list[_Trip]:
        """Return the positions of one row that begin after quarter day `free`."""
        rows = self.rows
        wanted = (rows.regime == row) & (rows.entry[row] != 0) & (rows.sizes[row] > 0.0)
        signals = np.flatnonzero(wanted[:-1])
        signals = signals[(signals + 1) * PARTS + ENTER > free]
        if len(signals) == 0:
            return []
        bars_max = int(rows.exits[row, 3])
        columns = _apart(signals, bars_max)
        target = rows.exits[row, 0]
        found = self._run(row, signals, columns, target)
        trips = []
        for signal in signals:
            trip = found[int(signal + 1) * PARTS + ENTER]
            if trip is not None and trip.came > free:
                trips.append(trip)
                free = trip.went
        if rows.exits[row, 4] > 0.0:
            return self._with_cuts(row, trips)
        return trips

    def _with_cuts(self, row: int, trips: list[_Trip]) -> list[_Trip]:
        """Return the positions with their scale-outs: a part that left earlier, or better."""
        rows = self.rows
        if not trips:
            return []
        signals = np.array([trip.came // PARTS - 1 for trip in trips], np.int64)
        fraction = rows.exits[row, 5]
        columns = _apart(signals, int(rows.exits[row, 3]))
        early = self._run(row, signals, columns, rows.exits[row, 4])
        out = []
        for trip in trips:
            part, leg = float(np.floor(trip.size * fraction + 1e-9)), early[trip.came]
            assert leg is not None, trip
            is_cut = leg.went < trip.went or leg.got != trip.got or self._gapped(row, leg)
            cut = (leg.went, part, leg.got) if is_cut and 1.0 <= part < trip.size else None
            out.append(_Trip(trip.came, trip.side, trip.size, trip.paid, trip.went, trip.got, cut))
        return out

    def _gapped(self, row: int, leg: _Trip) -> bool:
        """Say whether a scale-out left by a gap through its target, maybe with all the rest."""
        if leg.went % PARTS != GAP or leg.went >= self.count - 2:
            return False
        share = self.rows.shares[row, leg.came // PARTS - 1]
        level = leg.paid * (1.0 + leg.side * self.rows.exits[row, 4] * share)
        return bool(leg.side * (self.open[leg.went, 0] - level) >= 0.0)

    def _run(
        self, row: int, signals: NDArray[np.int64], columns: NDArray[np.int64], target_r: float
    ) -> dict[int, _Trip | None]:
        """Let vectorbt trade each entry signal of its column; return its trips by their entry."""
        rows, exits = self.rows, self.rows.exits[row]
        start = PARTS * int(signals[0])
        width = int(columns.max()) + 1
        shape = (self.count - start, width)
        at = (signals + 1) * PARTS + ENTER - start
        entries = {side: np.zeros(shape, np.bool_) for side in (1, -1)}
        sides = rows.entry[row, signals]
        for side, array in entries.items():
            array[at[sides == side], columns[sides == side]] = True
        leaves = {}
        for side, flags in ((1, rows.exit_long[row]), (-1, rows.exit_short[row])):
            leave = np.zeros(shape, np.bool_)
            from_bar = start // PARTS
            leave[PARTS + LEAVE : -2 : PARTS] = flags[from_bar:-1, None]
            leave[-2 + (_LONG_END if side > 0 else _SHORT_END)] = True
            leaves[side] = leave
        if exits[3] > 0.0:
            late = (signals + 1 + int(exits[3])) * PARTS + LEAVE - start
            inside = late < shape[0] - 2
            for leave in leaves.values():
                leave[late[inside], columns[inside]] = True
        size, stop = np.zeros((shape[0], 1)), np.full((shape[0], 1), np.nan)
        size[at, 0], stop[at, 0] = rows.sizes[row, signals], rows.shares[row, signals]
        arrays = {
            "long_entries": entries[1],
            "short_entries": entries[-1],
            "long_exits": leaves[1],
            "short_exits": leaves[-1],
            "size": size,
            "sl_stop": stop,
            "sl_trail": np.asarray(bool(exits[1] > 0.0)),
            "tp_stop": target_r * stop if target_r > 0.0 else np.asarray(np.nan),
        }
        for name in ("open", "high", "low", "close", "price", "slippage"):
            arrays[name] = getattr(self, name)[start:]
        orders = signal_orders(shape, arrays, 2 * len(signals) + 2)
        return _trips_of(orders, signals, start)


def _apart(signals: NDArray[np.int64], bars_max: int) -> NDArray[np.int64]:
    """Return a column per signal such that two of a column are at least bars_max apart."""
    columns = np.zeros(len(signals), np.int64)
    if bars_max == 0:
        return columns
    ends: list[int] = []
    for place, signal in enumerate(signals.tolist()):
        column = next((c for c, end in enumerate(ends) if end <= signal), len(ends))
        ends[column : column + 1] = [signal + bars_max]
        columns[place] = column
    return columns


def _trips_of(
    orders: NDArray[np.void], signals: NDArray[np.int64], start: int
) -> dict[int, _Trip | None]:
    found: dict[int, _Trip | None] = {int(s + 1) * PARTS + ENTER: None for s in signals}
    ordered = orders[np.argsort(orders["col"], kind="stable")].tolist()
    for came, went in zip(ordered[::2], ordered[1::2], strict=True):
        _, column, at, size, paid, _, sold = came
        _, other, end, _, got, _, bought = went
        assert (column, sold) == (other, 1 - bought), (came, went)
        trip = _Trip(at + start, -1 if sold else 1, size, paid, end + start, got)
        found[trip.came] = trip
    return found


def _as_orders(trips: list[_Trip], rows: Rows) -> NDArray[np.void]:
    """Return the orders of vectorbt's positions, with their fees."""
    last, costs, day = len(rows.bars) - 1, rows.costs, rows.bars.day
    table: list[tuple[int, int, float, float, float]] = []
    for trip in trips:
        came, went = min(trip.came // PARTS, last), min(trip.went // PARTS, last)
        held = trip.size
        table.append((came, trip.side, trip.size, trip.paid, 0.0))
        if trip.cut is not None:
            at, part, got = trip.cut
            table.append((min(at // PARTS, last), -trip.side, part, got, 0.0))
            held -= part
        borrowed = trip.size * trip.paid if trip.side < 0 else 0.0
        days = np.float64(day[went] - day[came])
        borrowing = float(costs.borrowing(days, np.float64(borrowed)))  # type: ignore[arg-type]
        table.append((went, -trip.side, held, trip.got, borrowing))
    out = np.zeros(len(table), ORDER_DTYPE)
    for number, name in enumerate(("bar", "side", "size", "price", "fees")):
        out[name] = [line[number] for line in table]
    out["fees"] += costs.commission(out["size"], out["price"])
    return out
