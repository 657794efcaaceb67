"""Judges a raw series by fixed rules: repaired, refused or noted, and never silently.

Rules of this file:
- no price is invented: a bar that cannot be true is left out, and counted;
- what may be left out is bounded by a share of the bars; more of it refuses the stock;
- every rule that fired leaves a Defect, whatever it did.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest.data.series import NO_DAY, PRICES, Action, Defect, RawSeries
from tradebox.strategies.bars import Bars, Flags, Floats

RULES_VERSION: Final = 2
"""Raise it when a rule changes: series vetted before are then read again."""

DAY_S: Final = 86_400
NO_LIMIT: Final = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, slots=True)
class VettingRules:
    """The limits. Shares are of the bars the source gave."""

    bars_min: int = 60
    dropped_share_max: float = 0.01
    dropped_allowed: int = 3
    widen_share_max: float = 0.005
    spike_log: float = math.log(1.4)
    spike_back_log: float = math.log(1.1)
    split_tolerance: float = 0.015
    gap_days_noted: int = 10
    gap_days_max: int = 120
    stale_bars_max: int = 60
    price_max: float = 1e7


@dataclass(frozen=True, slots=True, eq=False)
class Vetted:
    """A judged series: bars, or why there are none."""

    symbol: str
    bars: Bars | None
    defects: tuple[Defect, ...]
    refusal: str = ""

    @property
    def is_passing(self) -> bool:
        """Whether the same series may be judged otherwise later: its future has come by then."""
        return any(defect.kind == "future_day" for defect in self.defects)


_SPLITS: Final = (
    2.0,
    3.0,
    4.0,
    5.0,
    7.0,
    10.0,
    1.5,
    1 / 2,
    1 / 3,
    1 / 4,
    1 / 5,
    1 / 7,
    1 / 10,
    2 / 3,
)
_FALL: Final = 0.7
_RISE: Final = 1.4
_PRICE_MIN: Final = 1e-9
"""A price below it is none: nothing trades there, and ratios to it have no meaning."""
"""Overnight moves between these are no split of _SPLITS."""


class _Refused(Exception):
    """The series cannot be used; the text says why."""


def latest_day(now_s: float) -> int:
    """Return the last day that a bar may have at this time: tomorrow, whatever the time zone."""
    return int(now_s // DAY_S) + 1


def vet(raw: RawSeries, rules: VettingRules | None = None, day_max: int = NO_LIMIT) -> Vetted:
    """Return the series as it may be used, with every defect found.

    day_max: the last day that may have a bar (`latest_day`).
    Holds: bars given have strictly increasing days, finite prices > 0, low ≤ open, close ≤ high and
           volume ≥ 0; a second vetting of the result repairs nothing.
    """
    judge = _Judge(raw, VettingRules() if rules is None else rules, day_max)
    try:
        bars = judge.bars()
    except _Refused as refusal:
        return Vetted(raw.symbol, None, tuple(judge.defects), str(refusal))
    return Vetted(raw.symbol, bars, tuple(judge.defects))


class _Judge:
    """One pass over one series; `table` holds what is left of it."""

    def __init__(self, raw: RawSeries, rules: VettingRules, day_max: int) -> None:
        self._raw = raw
        self._rules = rules
        self._day_max = day_max
        self._dropped = 0
        self.defects: list[Defect] = []

    def bars(self) -> Bars:
        raw = self._raw
        if raw.problem:
            self._refuse("unreadable", 1, raw.problem)
        missing = [name for name in (*PRICES, "volume") if name not in raw.columns]
        if missing:
            self._refuse("missing_column", len(missing), f"missing column {', '.join(missing)}")
        day, prices, volume = self._ordered()
        day, prices, volume = self._without_bad_rows(day, prices, volume)
        day, prices, volume = self._without_spikes(day, prices, volume)
        prices = self._widened(prices)
        volume = self._volume(volume)
        self._check_length(day)
        prices, volume, is_adjusted = self._adjusted(day, prices, volume)
        self._check_splits(day, prices, is_adjusted=is_adjusted)
        self._note_gaps(day, prices, volume)
        opens, highs, lows, closes = (np.ascontiguousarray(column) for column in prices)
        return Bars(
            raw.symbol,
            np.ascontiguousarray(day, dtype=np.int32),
            opens,
            highs,
            lows,
            closes,
            np.ascontiguousarray(volume),
            is_adjusted,
            raw.currency,
        )

    # --- rows ---

    def _ordered(self) -> tuple[NDArray[np.int32], Floats, Floats]:
        raw = self._raw
        day = raw.day
        prices = np.stack([raw.columns[name] for name in PRICES])
        volume = raw.columns["volume"]
        if len(day) == 0:
            self._refuse("empty", 1, "no bars")
        unread = int((day == NO_DAY).sum())
        if unread:
            self._drop("unreadable_day", unread, "a day that cannot be read: bar left out")
            kept = day != NO_DAY
            day, prices, volume = day[kept], prices[:, kept], volume[kept]
        future = int((day > self._day_max).sum())
        if future:
            self._drop("future_day", future, "a day that has not come yet: bar left out")
            kept = day <= self._day_max
            day, prices, volume = day[kept], prices[:, kept], volume[kept]
        steps = np.diff(day.astype(np.int64))
        backward = int((steps < 0).sum())
        if backward:
            self._note("unsorted", backward, "repaired", "days not in order: sorted by day")
            order = np.argsort(day, kind="stable")
            day, prices, volume = day[order], prices[:, order], volume[order]
        same = np.diff(day) == 0
        if same.any():
            values = np.vstack([prices, volume])
            equal = np.isclose(values[:, 1:], values[:, :-1], rtol=1e-9, equal_nan=True)
            conflicts = int((same & ~equal.all(axis=0)).sum())
            if conflicts:
                self._refuse(
                    "duplicate_day",
                    conflicts,
                    f"{conflicts} duplicate days with different values: which is true is unknown",
                )
            self._note("duplicate_day", int(same.sum()), "repaired", "equal duplicates: one kept")
            kept = np.concatenate([[True], ~same])
            day, prices, volume = day[kept], prices[:, kept], volume[kept]
        return day, prices, volume

    def _without_bad_rows(
        self, day: NDArray[np.int32], prices: Floats, volume: Floats
    ) -> tuple[NDArray[np.int32], Floats, Floats]:
        if prices.size and prices.min() >= _PRICE_MIN and prices.max() <= self._rules.price_max:
            return day, prices, volume  # NaN and infinity fail both
        is_missing = ~np.isfinite(prices).all(axis=0)
        with np.errstate(invalid="ignore"):
            is_low = (prices < _PRICE_MIN).any(axis=0)
            is_high = (prices > self._rules.price_max).any(axis=0) & ~is_missing
        for kind, rows, text in (
            ("nan_price", is_missing, "a price is missing (NaN)"),
            ("price_not_positive", is_low, "a price is zero or negative"),
            ("price_absurd", is_high, "a price is out of any range"),
        ):
            count = int(rows.sum())
            if count:
                self._drop(kind, count, f"{text}: bar left out")
        kept = ~(is_missing | is_low | is_high)
        return day[kept], prices[:, kept], volume[kept]

    def _without_spikes(
        self, day: NDArray[np.int32], prices: Floats, volume: Floats
    ) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Leave out a bar whose close jumps away and whose next open is back where it was.

        Two such bars in a row: the second is seen once the first is gone.
        """
        before = len(day)
        while (spikes := self._spikes(prices)).any():
            day, prices, volume = day[~spikes], prices[:, ~spikes], volume[~spikes]
        count = before - len(day)
        if count:
            self._drop("wrong_close", count, "a close jumps away, the next open is back: left out")
        return day, prices, volume

    def _spikes(self, prices: Floats) -> Flags:
        spikes = np.zeros(prices.shape[1], dtype=bool)
        if len(spikes) < 3:
            return spikes
        close, opens = np.log(prices[3]), np.log(prices[0])
        away = np.abs(close[1:-1] - close[:-2]) > self._rules.spike_log
        back = np.abs(opens[2:] - close[:-2]) < self._rules.spike_back_log
        began = np.abs(opens[1:-1] - close[:-2]) < self._rules.spike_back_log
        spikes[1:-1] = away & back & began
        return spikes

    # --- values ---

    def _widened(self, prices: Floats) -> Floats:
        opens, highs, lows, closes = prices
        broken: Flags = (highs < np.maximum(opens, closes)) | (lows > np.minimum(opens, closes))
        count = int(broken.sum())
        if not count:
            return prices
        high, low = prices.max(axis=0), prices.min(axis=0)
        with np.errstate(over="ignore"):  # a price next to nothing: infinitely too wide
            excess = np.maximum(high / prices[1], prices[2] / low)[broken] - 1
        large = int((excess > self._rules.widen_share_max).sum())
        allowed = self._allowed()
        if large > allowed:
            self._refuse(
                "range_broken", large, f"high or low does not hold open and close on {large} days"
            )
        self._note("range_broken", count, "repaired", "high and low widened to hold open and close")
        return np.stack([prices[0], high, low, prices[3]])

    def _volume(self, volume: Floats) -> Floats:
        bad = ~np.isfinite(volume) | (volume < 0)
        count = int(bad.sum())
        if count:
            self._note("bad_volume", count, "repaired", "missing or negative volume: taken as 0")
            volume = np.where(bad, 0.0, volume)
        return volume

    def _adjusted(
        self, day: NDArray[np.int32], prices: Floats, volume: Floats
    ) -> tuple[Floats, Floats, bool]:
        raw = self._raw
        if raw.adjusted is None:
            self._note(
                "adjustment_unstated", 1, "noted", "the source does not say: taken as adjusted"
            )
        if raw.adjusted is not False:
            return prices, volume, True
        factors = [(at, factor) for at, factor in raw.factors if day[0] < at <= day[-1]]
        if not factors:
            return prices, volume, False
        scale, split_scale = np.ones(len(day)), np.ones(len(day))
        for at, factor in factors:
            scale[day < at] *= factor
            if _near_split(factor, self._rules.split_tolerance):
                split_scale[day < at] *= factor
        self._note("adjusted", len(factors), "repaired", "prices adjusted by the source's actions")
        return prices * scale, volume / split_scale, True

    # --- the whole series ---

    def _check_length(self, day: NDArray[np.int32]) -> None:
        count = len(day)
        if count < self._rules.bars_min:
            bars = "only 1 bar" if count == 1 else f"only {count} bars"
            self._refuse("too_short", count, f"{bars}: at least {self._rules.bars_min} are needed")

    def _check_splits(self, day: NDArray[np.int32], prices: Floats, *, is_adjusted: bool) -> None:
        with np.errstate(over="ignore"):  # as above
            overnight = prices[0][1:] / prices[3][:-1]
        jumps = np.flatnonzero((overnight < _FALL) | (overnight > _RISE))
        suspects = [
            at
            for at in jumps
            if abs(math.log(prices[3][at + 1] / prices[0][at + 1])) < math.log(1.1)
            and _near_split(float(overnight[at]), self._rules.split_tolerance)
        ]
        if not suspects:
            return
        first = day_text(int(day[suspects[0] + 1]))
        if is_adjusted:
            text = f"a jump like a split that was not adjusted, first {first}"
            self._note("split_suspected", len(suspects), "noted", text)
            return
        self._refuse(
            "split_suspected",
            len(suspects),
            f"unadjusted, and prices jump like a split on {first}: adjust it or give its actions",
        )

    def _note_gaps(self, day: NDArray[np.int32], prices: Floats, volume: Floats) -> None:
        gaps = np.diff(day)
        longest = int(gaps.max(initial=0))
        if longest > self._rules.gap_days_max:
            at = day_text(int(day[int(gaps.argmax())]))
            self._refuse("gap", 1, f"no bars for {longest} days after {at}")
        wide = int((gaps > self._rules.gap_days_noted).sum())
        if wide:
            self._note("gap", wide, "noted", f"more than {self._rules.gap_days_noted} days apart")
        moved = np.flatnonzero(np.diff(prices[3]) != 0)
        edges = np.concatenate([[-1], moved, [len(day) - 1]])
        stale = int(np.diff(edges).max(initial=0))
        if stale > self._rules.stale_bars_max:
            self._refuse("stale", stale, f"the close does not move for {stale} bars")
        silent = int((volume == 0).sum())
        if silent:
            self._note("zero_volume", silent, "noted", "days without volume")

    # --- what was found ---

    def _allowed(self) -> int:
        share = int(self._rules.dropped_share_max * len(self._raw.day))
        return max(self._rules.dropped_allowed, share)

    def _drop(self, kind: str, count: int, text: str) -> None:
        self._dropped += count
        total = len(self._raw.day)
        if self._dropped > self._allowed():
            share = f"{self._dropped} of {total} bars cannot be used"
            self._refuse(kind, count, f"{share} ({text.partition(':')[0]}): more than is repaired")
        self._note(kind, count, "repaired", text)

    def _note(self, kind: str, count: int, action: Action, text: str) -> None:
        self.defects.append(Defect(kind, count, action, text))

    def _refuse(self, kind: str, count: int, text: str) -> None:
        self._note(kind, count, "refused", text)
        raise _Refused(text)


def _near_split(factor: float, tolerance: float) -> bool:
    return any(abs(factor / ratio - 1) < tolerance for ratio in _SPLITS)


def day_text(day: int) -> str:
    """Return 2017-11-10 for 17480."""
    return str(np.datetime64(day, "D"))
