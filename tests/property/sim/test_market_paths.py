"""What paths.py promises: what comes out of a bar folds back to it."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tradebox.sim.market.paths import (
    MINUTE_MS,
    SHARES_PER_MINUTE_MIN,
    Corners,
    Print,
    fold,
    split_day,
    split_minute,
)

SEEDS = st.integers(0, 2**32)


@st.composite
def bars(draw: st.DrawFn, minutes: int = 1) -> Corners:
    low = draw(st.integers(1, 200_000))
    high = low + draw(st.integers(0, 4000))
    inside = st.one_of(st.sampled_from([low, high]), st.integers(low, high))
    least = SHARES_PER_MINUTE_MIN * minutes
    volume = draw(st.one_of(st.integers(least, least + 50), st.integers(least, 10**8)))
    return Corners(draw(inside), high, low, draw(inside), volume)


def as_bar(one: Print) -> Corners:
    return Corners(one.price, one.price, one.price, one.price, one.size)


@given(bars(), st.integers(1, 120), SEEDS)
def test_prints_fold_to_their_minute(bar: Corners, wanted: int, seed: int) -> None:
    prints = split_minute(bar, wanted, Random(seed))
    assert fold([as_bar(one) for one in prints]) == bar
    assert all(one.size > 0 for one in prints)
    offsets = [one.offset_ms for one in prints]
    assert offsets == sorted(set(offsets))
    assert offsets[0] >= 0
    assert offsets[-1] < MINUTE_MS
    assert len(prints) <= max(wanted, bar.prints_min)


@given(st.sampled_from([4, 5, 210, 390]).flatmap(lambda n: st.tuples(bars(n), st.just(n))), SEEDS)
def test_minutes_fold_to_their_day(bar_and_minutes: tuple[Corners, int], seed: int) -> None:
    day, minutes = bar_and_minutes
    parts = split_day(day, minutes, Random(seed))
    assert len(parts) == minutes
    assert fold(parts) == day
    assert all(part.is_possible() for part in parts)


@given(bars(390), SEEDS)
def test_the_seed_alone_decides(day: Corners, seed: int) -> None:
    assert split_day(day, 390, Random(seed)) == split_day(day, 390, Random(seed))
