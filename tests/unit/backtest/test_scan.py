"""From graded settings and the latest bars to proposals: what was simulated, and nothing later."""

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest

from support.price_series import walk
from tradebox.backtest.hand_over import Caps, opinion_of_last_bar
from tradebox.backtest.layers.sizing import apply as size_up
from tradebox.backtest.layers.state import Choice
from tradebox.backtest.opinion import opinion_at
from tradebox.backtest.pipeline import begin
from tradebox.backtest.plan_replay import compare
from tradebox.backtest.rows import rows_of
from tradebox.backtest.scan import SIZE_NOTHING, Moment, Wish, moment_of, scan
from tradebox.config.backtest import BacktestSettings
from tradebox.domain.market import Session
from tradebox.domain.orders import AccountName, Side
from tradebox.domain.plan_check import check_alone
from tradebox.domain.session import MINUTE_NS
from tradebox.errors import NotRunning
from tradebox.ports.plan_store import StoredPlan
from tradebox.strategies.catalogue import STRATEGIES

CONFIG = BacktestSettings().model_dump(mode="json")
HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
EPOCH = dt.date(1970, 1, 1)
RUN = {"run_id": "run-1", "config": CONFIG, "expires_at": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)}


def middle(strategy):
    return {one.name: one.values[len(one.values) // 2] for one in strategy.parameters}


def session(day):
    open_ns = int(day) * DAY_NS + 14 * HOUR_NS
    text = (EPOCH + dt.timedelta(days=int(day))).isoformat()
    return Session("XNYS", text, open_ns, open_ns + 6 * HOUR_NS, is_early_close=False)


def after_close_of(bars, bar, hours_ns=HOUR_NS):
    """The sessions of a series, and a moment so long after one of its closes."""
    sessions = [session(day) for day in bars.day]
    sessions += [session(int(bars.day[-1]) + 1 + number) for number in range(60)]
    return moment_of(sessions, session(bars.day[bar]).close_ns + hours_ns)


def store_of(*series):
    by = {bars.symbol: bars for bars in series}
    return SimpleNamespace(symbols=tuple(by), bars=lambda symbol: by[symbol])


def result(symbol, strategy, setting=None):
    return {
        "symbol": symbol, "strategy": strategy, "setting": setting or middle(STRATEGIES[strategy]),
        "grade": "B", "metrics": {"out": {"trades": 31.0, "expectancy_r": 0.2}},
        "result_hash": "h",
    }  # fmt: skip


def held(symbol, strategy, bar_day, state="open", side=Side.BUY, origin="strategy"):
    proposal = {"strategy": strategy, "setting": middle(STRATEGIES[strategy]), "bar_day": bar_day}
    return StoredPlan(
        "20160104-0001-X", AccountName.PAPER, symbol, side, state, 1, False, {}, None,
        dt.datetime.now(dt.UTC), None, "", origin, proposal if origin == "strategy" else None,
    )  # fmt: skip


def rows_of_setting(bars, name):
    strategy = STRATEGIES[name]
    state = size_up(begin(bars, {**CONFIG, "strategies": (name,)}))
    choice = Choice(strategy, middle(strategy), 0.0, -1)
    regime = np.zeros(len(bars), np.int64)
    return rows_of([choice], regime, state.indicators, state.costs, state.sizing)


def signal_bar(bars, name, after=300):
    """The first bar from `after` on where the middle setting says something."""
    entry = rows_of_setting(bars, name).entry[0]
    return int(np.flatnonzero(entry[after:])[0]) + after


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_proposal_is_the_plan_that_was_simulated(name):
    bars = walk(4, 500)
    rows = rows_of_setting(bars, name)
    found = compare(rows)
    assert found.agrees, found.difference
    spoken = np.flatnonzero(rows.entry[0])
    assert len(spoken)
    for bar in spoken[:: max(1, len(spoken) // 6)].tolist():
        now = opinion_of_last_bar(bars.cut(bar + 1), name, middle(STRATEGIES[name]), CONFIG, Caps())
        then = opinion_at(rows, 0, bar)
        assert now.size == then.size == int(rows.sizes[0, bar])
        assert now.document() == then.document()
        check_alone(now.document())
        assert (now.leaves_long, now.leaves_short) == (then.leaves_long, then.leaves_short)


def test_a_proposal_acts_in_the_next_session_and_tells_its_reasons():
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    when = after_close_of(bars, bar)
    found = scan(Wish(RUN, [result("WALK", "mean_reversion")], ()), store_of(bars), when)
    (one,) = found.proposals
    assert one.proposal["bar_day"] == session(bars.day[bar]).day
    assert one.proposal["acts_day"] == session(bars.day[bar + 1]).day
    assert one.document.entry.valid_until == _instant(session(bars.day[bar + 1]).close_ns)
    left = bar + 1 + int(one.proposal["setting"]["bars_max"])
    assert one.document.time_exit.at == _instant(session(bars.day[left]).open_ns + 10**9)
    assert not one.proposal["is_late"]
    text = " | ".join(one.proposal["reasons"])
    for part in ("mean_reversion", "grade B of run run-1", "31 trades", "stop", "a rehearsal"):
        assert part in text


def test_bars_after_the_last_closed_session_change_nothing():
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    when = after_close_of(bars, bar)
    wish = Wish(RUN, [result("WALK", "mean_reversion")], ())
    whole, cut = (scan(wish, store_of(one), when) for one in (bars, bars.cut(bar + 1)))
    assert whole.proposals[0].document == cut.proposals[0].document


def test_an_open_session_is_acted_in_and_told_as_late():
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    opened = session(bars.day[bar + 1]).open_ns
    for minutes, is_late in ((10, False), (90, True)):
        passed_ns = opened + minutes * MINUTE_NS - session(bars.day[bar]).close_ns
        when = after_close_of(bars, bar, passed_ns)
        wish = Wish(RUN, [result("WALK", "mean_reversion")], ())
        (one,) = scan(wish, store_of(bars), when).proposals
        assert one.proposal["is_late"] is is_late
        assert ("late" in " ".join(one.proposal["reasons"])) is is_late


def test_a_grade_that_ends_first_ends_the_entry():
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    ends_ns = session(bars.day[bar + 1]).open_ns + 5 * MINUTE_NS
    wish = Wish(RUN, [result("WALK", "mean_reversion")], (), ends_ns=ends_ns)
    (one,) = scan(wish, store_of(bars), after_close_of(bars, bar)).proposals
    assert one.document.entry.valid_until == _instant(ends_ns)
    assert one.proposal["until_ns"] == ends_ns


@pytest.mark.parametrize(
    ("series", "why"),
    [
        (walk(4, 900, symbol="OTHER"), "the source has no bars of it"),
        (walk(4, 900).cut(200), "stale: the last bar is of"),
    ],
)
def test_a_stock_without_the_last_closed_session_says_nothing(series, why):
    bars = walk(4, 900)
    when = after_close_of(bars, signal_bar(bars, "mean_reversion"))
    found = scan(Wish(RUN, [result("WALK", "mean_reversion")], ()), store_of(series), when)
    assert found.proposals == ()
    ((symbol, told),) = found.skipped
    assert symbol == "WALK"
    assert why in told


def test_one_plan_a_stock():
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    plan = held("WALK", "mean_reversion", "2000-01-01", state="armed", origin="manual")
    wish = Wish(RUN, [result("WALK", "mean_reversion")], (plan,))
    found = scan(wish, store_of(bars), after_close_of(bars, bar))
    assert found.proposals == found.leaving == ()
    assert found.skipped == (("WALK", "20160104-0001-X is armed: one plan a stock"),)


def test_an_exit_signal_leaves_at_the_next_open():
    bars = walk(4, 900)
    rows = rows_of_setting(bars, "donchian_breakout")
    bar = int(np.flatnonzero(rows.exit_long[0][300:])[0]) + 300
    early = session(bars.day[bar - 3]).day
    store, when = store_of(bars), after_close_of(bars, bar)
    found = scan(Wish(RUN, (), (held("WALK", "donchian_breakout", early),)), store, when)
    (one,) = found.leaving
    assert one.from_ns == session(bars.day[bar + 1]).open_ns
    assert "exit signal of donchian_breakout" in one.reason
    for plan in (
        held("WALK", "donchian_breakout", session(bars.day[bar]).day),  # not entered before it
        held("WALK", "donchian_breakout", early, state="armed"),
        held("WALK", "donchian_breakout", early, origin="manual"),
        held("WALK", "donchian_breakout", early, side=Side.SELL),
    ):
        expected = int(plan.side is Side.SELL and bool(rows.exit_short[0][bar]))
        assert len(scan(Wish(RUN, (), (plan,)), store, when).leaving) == expected


def test_an_accounts_value_and_limits_size_the_plan():
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    setting = middle(STRATEGIES["mean_reversion"])
    cut = bars.cut(bar + 1)
    base = opinion_of_last_bar(cut, "mean_reversion", setting, CONFIG, Caps())
    half = opinion_of_last_bar(cut, "mean_reversion", setting, CONFIG, Caps(50_000.0))
    assert half.size <= base.size // 2 + 1
    assert "500 USD a plan" in half.reasons[0]
    few = opinion_of_last_bar(cut, "mean_reversion", setting, CONFIG, Caps(None, 3, 1e9))
    assert few.size == 3
    assert "limits allow 3 of" in few.reasons[-1]
    money = opinion_of_last_bar(cut, "mean_reversion", setting, CONFIG, Caps(notional_usd=200.0))
    assert money.size * money.close <= 200.0
    wish = Wish(RUN, [result("WALK", "mean_reversion")], (), Caps(1.0))
    assert scan(wish, store_of(bars), after_close_of(bars, bar)).skipped == (
        ("WALK", SIZE_NOTHING),
    )


def test_hours_that_are_not_known_are_refused():
    with pytest.raises(NotRunning, match="trading hours"):
        moment_of([], 0)
    bars = walk(4, 900)
    bar = signal_bar(bars, "mean_reversion")
    when = after_close_of(bars, bar)
    short = Moment(when.now_ns, when.last_day, when.ahead[:2])
    found = scan(Wish(RUN, [result("WALK", "mean_reversion")], ()), store_of(bars), short)
    assert found.proposals == ()
    assert "sessions ahead are not known" in found.skipped[0][1]


def _instant(at_ns):
    return dt.datetime.fromtimestamp(at_ns // 10**9, dt.UTC).isoformat()
