"""Whatever a source gives, what vetting lets through is a true series."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support.bar_files import seeded_bars
from tradebox.backtest.data.series import NO_DAY, PRICES, RawSeries
from tradebox.backtest.data.vetting import VettingRules, vet

RULES = VettingRules(bars_min=2, dropped_share_max=0.5)
ANY = st.one_of(st.floats(), st.floats(0.01, 100), st.just(-1.0), st.just(0.0))


@st.composite
def series(draw):
    count = draw(st.integers(0, 25))
    bars = seeded_bars(count=max(count, 1))
    columns = {name: getattr(bars, name)[:count].copy() for name in (*PRICES, "volume")}
    day = bars.day[:count].copy()
    for _ in range(draw(st.integers(0, 5)) if count else 0):
        name = draw(st.sampled_from([*PRICES, "volume", "day"]))
        at = draw(st.integers(0, count - 1))
        if name == "day":
            day[at] = draw(st.sampled_from([NO_DAY, int(day[0]), int(day[-1]), 20_000]))
        else:
            columns[name][at] = draw(ANY)
    for name in draw(st.sets(st.sampled_from([*PRICES, "volume"]), max_size=1)):
        if draw(st.booleans()):
            del columns[name]
    return RawSeries("AAA", columns, day, draw(st.sampled_from([True, False, None])))


def wrong_twice():
    bars = seeded_bars(count=5)
    columns = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
    columns["close"][2:4] = 1.0
    return RawSeries("AAA", columns, bars.day, adjusted=True)


@example(wrong_twice())
@given(series())
def test_bars_given_are_true_and_a_second_vetting_repairs_nothing(raw):
    vetted = vet(raw, RULES)
    if vetted.bars is None:
        assert vetted.refusal
        assert vetted.defects[-1].action == "refused"
        return
    bars = vetted.bars
    assert (np.diff(bars.day) > 0).all()
    prices = np.stack([getattr(bars, name) for name in PRICES])
    assert np.isfinite(prices).all()
    assert (prices > 0).all()
    assert (bars.high == prices.max(axis=0)).all()
    assert (bars.low == prices.min(axis=0)).all()
    assert (bars.volume >= 0).all()
    assert all(getattr(bars, name).flags.c_contiguous for name in (*PRICES, "volume"))
    columns = {name: getattr(bars, name) for name in (*PRICES, "volume")}
    again = vet(RawSeries("AAA", columns, bars.day, bars.adjusted), RULES)
    assert {defect.action for defect in again.defects} <= {"noted"}


@given(hnp.arrays(np.float64, st.integers(0, 12), elements=st.floats()))
def test_nonsense_never_raises(values):
    columns = dict.fromkeys((*PRICES, "volume"), values)
    vet(RawSeries("AAA", columns, np.arange(len(values), dtype=np.int32), True), RULES)
