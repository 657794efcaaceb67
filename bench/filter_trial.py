"""Trials of the sanity filter on recorded ticks: errors put in by seed, genuine gaps, a naive rule.

Rules of this file:
- an error's size is log-uniform from 0.3 % to ten times, up or down alike, on one tick or on a
  burst of neighbours, all by the same factor; a tick that was not touched is genuine;
- a tick is passed where it is admitted at its own price; live and not live are told apart, for
  only live opens a trade;
- the filter is told a last close before the first tick, as a vendor's quote tells it in a run: the
  first price of the recording;
- a genuine tick is refused where it is held or dropped; counted apart are a second print of the
  same millisecond, price and size, which is merged and loses no price, and what is no price: a sale
  that sets no last price, the middle of a stub.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

from bench.filter_data import Recording
from tradebox.domain.filter_values import Check
from tradebox.domain.market import Quality, Tick
from tradebox.domain.tick_filter import SymbolState, judge, with_previous_close

SIZE_MIN, FACTOR_MAX = 0.003, 10.0
SIZES = (0.01, 0.03, 0.10, 0.50, math.inf)
SIZE_NAMES = ("0.3-1 %", "1-3 %", "3-10 %", "10-50 %", "50 % and more")
EVERY_TICKS = 150
WARM_TICKS = 120
GAP_SIZES = (0.015, 1.0)
HORIZON_TICKS = 400
NS_PER_S = 1_000_000_000


class Rule(Protocol):
    """A filter under trial: what becomes of one tick. stubs: keys of what is no price."""

    stubs: frozenset[int]

    def see(self, tick: Tick) -> tuple[bool, bool, Check]:
        """Return whether it passes, whether as live, and what decided."""
        ...


class OurRule:
    """The filter of tradebox, fed with one recording."""

    def __init__(self, recording: Recording, state: SymbolState | None = None) -> None:
        self.stubs = recording.stubs
        self._recording = recording
        told = with_previous_close(SymbolState(), recording.first_price_micros)
        self.state = told if state is None else state

    def see(self, tick: Tick) -> tuple[bool, bool, Check]:
        recording = self._recording
        self.state, judged = judge(
            self.state, tick, recording.limits, around=recording.around(tick.event_ns)
        )
        return judged.passes, judged.passes and judged.quality is Quality.LIVE, judged.check


class NaiveRule:
    """Refuse what is further than a share from the last price that passed."""

    def __init__(self, share: float, stubs: frozenset[int] = frozenset()) -> None:
        self.stubs = stubs
        self._share = share
        self._last = 0

    def see(self, tick: Tick) -> tuple[bool, bool, Check]:
        price = tick.price_micros
        passes = not self._last or abs(price - self._last) <= self._share * self._last
        if passes:
            self._last = price
        return passes, passes, Check.NONE if passes else Check.SPIKE


MakeRule = Callable[[], Rule]


@dataclass(slots=True)
class Cell:
    """What became of the errors of one size and burst length."""

    errors: int = 0
    live: int = 0
    not_live: int = 0

    def row(self) -> dict[str, Any]:
        """Return counts and shares."""
        return {
            "errors": self.errors,
            "passed_live": self.live,
            "passed_not_live": self.not_live,
            "share_passed_live": round(self.live / self.errors, 5) if self.errors else None,
        }


@dataclass(slots=True)
class Tally:
    """The errors of one burst length, and what they cost the genuine ticks."""

    cells: list[Cell] = field(default_factory=lambda: [Cell() for _ in SIZES])
    largest_live: float = 0.0
    genuine: int = 0
    refused: int = 0
    merged: int = 0
    stubs: int = 0
    stubs_refused: int = 0

    def row(self) -> dict[str, Any]:
        """Return the tally by size."""
        isolated = self.cells[2:]
        return {
            "by_size": dict(zip(SIZE_NAMES, (cell.row() for cell in self.cells), strict=True)),
            "errors_of_3_percent_or_more": sum(cell.errors for cell in isolated),
            "of_these_passed_live": sum(cell.live for cell in isolated),
            "of_these_passed_not_live": sum(cell.not_live for cell in isolated),
            "largest_error_passed_live_percent": round(100 * self.largest_live, 3),
            "genuine": self.genuine,
            "genuine_refused": self.refused,
            "genuine_refused_percent": round(100 * self.refused / max(1, self.genuine), 4),
            "stubs": {"seen": self.stubs, "refused": self.stubs_refused},
        }


def factor(rng: random.Random) -> float:
    """Return an error's factor: log-uniform in size, up or down."""
    size = math.exp(rng.uniform(math.log(SIZE_MIN), math.log(FACTOR_MAX - 1)))
    return 1 + size if rng.random() < 0.5 else 1 / (1 + size)


def corrupted(ticks: Sequence[Tick], length: int, seed: int) -> tuple[list[Tick], dict[int, float]]:
    """Return the ticks with bursts of errors, and by place how large each error is."""
    rng = random.Random(seed)
    sent, errors = list(ticks), {}
    place = WARM_TICKS + rng.randrange(EVERY_TICKS)
    while place + length < len(sent):
        by = factor(rng)
        for here in range(place, place + length):
            true = ticks[here].price_micros
            bad = max(1, round(true * by))
            quote = {}
            if ticks[here].is_quote:
                quote = {
                    "bid_micros": max(1, round(ticks[here].bid_micros * by)),
                    "ask_micros": max(1, round(ticks[here].ask_micros * by)),
                }
            sent[here] = replace(ticks[here], price_micros=bad, **quote)
            errors[here] = abs(bad / true - 1)
        place += length + EVERY_TICKS // 2 + rng.randrange(EVERY_TICKS)
    return sent, errors


def trial(make: MakeRule, ticks: Sequence[Tick], length: int, seed: int, tally: Tally) -> None:
    """Run one seed of one burst length; the tally takes it in."""
    sent, errors = corrupted(ticks, length, seed)
    rule = make()
    for place, tick in enumerate(sent):
        passes, is_live, check = rule.see(tick)
        size = errors.get(place)
        if check is Check.CONDITION:
            continue
        if size is None:
            _count_true(tally, check, passes=passes, is_stub=tick.key in rule.stubs)
            continue
        cell = tally.cells[next(n for n, most in enumerate(SIZES) if size < most)]
        cell.errors += 1
        cell.live += is_live
        cell.not_live += passes and not is_live
        if is_live:
            tally.largest_live = max(tally.largest_live, size)


def _count_true(tally: Tally, check: Check, *, passes: bool, is_stub: bool) -> None:
    if check is Check.DUPLICATE:
        tally.merged += 1
    elif is_stub:
        tally.stubs += 1
        tally.stubs_refused += not passes
    else:
        tally.genuine += 1
        tally.refused += not passes


def clean(make: MakeRule, ticks: Sequence[Tick]) -> dict[str, Any]:
    """Run the recording as it is: what of it is refused, and by which check."""
    tally, checks, worst, not_live = Tally(), {}, 0, 0
    rule, row = make(), 0
    for tick in ticks:
        passes, is_live, check = rule.see(tick)
        if check is Check.CONDITION:
            checks[check] = checks.get(check, 0) + 1
            continue
        is_stub = tick.key in rule.stubs
        _count_true(tally, check, passes=passes, is_stub=is_stub)
        if is_stub:
            continue
        not_live += passes and not is_live
        row = row + 1 if not passes and check is not Check.DUPLICATE else 0
        worst = max(worst, row)
        if not passes and check is not Check.DUPLICATE:
            checks[check] = checks.get(check, 0) + 1
    return {
        "genuine": tally.genuine,
        "refused": tally.refused,
        "refused_percent": round(100 * tally.refused / max(1, tally.genuine), 4),
        "refused_in_a_row_at_most": worst,
        "passed_not_live": not_live,
        "same_print_merged": tally.merged,
        "stubs": {"seen": tally.stubs, "refused": tally.stubs_refused},
        "by_check": {str(check): count for check, count in sorted(checks.items())},
    }


def gaps(make: MakeRule, ticks: Sequence[Tick], count: int, seed: int) -> dict[str, Any]:
    """Move every price from some tick on, and say when the new level is passed, then live."""
    rng = random.Random(seed)
    low, high = (math.log(1 + size) for size in GAP_SIZES)
    passed: list[tuple[int, float]] = []
    live: list[float] = []
    never = asked = 0
    for _ in range(count):
        start = rng.randrange(WARM_TICKS, len(ticks) - HORIZON_TICKS)
        by = math.exp(rng.uniform(low, high))
        by = by if rng.random() < 0.5 else 1 / by
        asked += 1
        found = _one_gap(make(), ticks, start, by)
        if found is None:
            never += 1
            continue
        passed.append(found[:2])
        if found[2] is not None:
            live.append(found[2])
    seconds = sorted(one[1] for one in passed)
    return {
        "gaps": asked,
        "size_percent": [100 * size for size in GAP_SIZES],
        "never_accepted_in_ticks": {"horizon": HORIZON_TICKS, "gaps": never},
        "ticks": _spread(sorted(one[0] for one in passed)),
        "seconds": _spread(seconds),
        "seconds_until_live": _spread(sorted(live)),
        "became_live_within_horizon": len(live),
    }


def _one_gap(
    rule: Rule, ticks: Sequence[Tick], start: int, by: float
) -> tuple[int, float, float | None] | None:
    for tick in ticks[start - WARM_TICKS : start]:
        rule.see(tick)
    began_ns = ticks[start].event_ns
    passed: tuple[int, float] | None = None
    judged = 0
    for tick in ticks[start : start + HORIZON_TICKS]:
        quote = {}
        if tick.is_quote:
            quote = {
                "bid_micros": max(1, round(tick.bid_micros * by)),
                "ask_micros": max(1, round(tick.ask_micros * by)),
            }
        price = max(1, round(tick.price_micros * by))
        passes, is_live, check = rule.see(replace(tick, price_micros=price, **quote))
        if check in (Check.CONDITION, Check.DUPLICATE):
            continue
        judged += 1
        waited_s = (tick.event_ns - began_ns) / NS_PER_S
        if passes and passed is None:
            passed = (judged, waited_s)
        if is_live and passed is not None:
            return (*passed, waited_s)
    return None if passed is None else (*passed, None)


def _spread(ordered: Sequence[float]) -> dict[str, float] | None:
    if not ordered:
        return None
    return {
        "p50": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        "max": round(ordered[-1], 3),
    }


def usual_gap_s(ticks: Sequence[Tick]) -> float:
    """Return the median time between ticks."""
    waits = sorted(after.event_ns - before.event_ns for before, after in pairwise(ticks))
    return round(waits[len(waits) // 2] / NS_PER_S, 3)


def measure(
    make: MakeRule,
    ticks: Sequence[Tick],
    lengths: Sequence[int],
    seeds: Sequence[int],
    gap_count: int,
) -> dict[str, Any]:
    """Run everything on one recording."""
    found: dict[str, Any] = {"clean": clean(make, ticks), "bursts": {}}
    for length in lengths:
        tally = Tally()
        for seed in seeds:
            trial(make, ticks, length, seed, tally)
        found["bursts"][str(length)] = tally.row()
    found["gaps"] = gaps(make, ticks, gap_count, seeds[0])
    return found
