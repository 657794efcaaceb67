"""T1 to T8 of the tier machine, under any course of ticks, silences and failures."""

from dataclasses import replace

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from support.tier_world import AV, FINNHUB, IB, LIMITS, YAHOO, TierWorld
from tradebox.domain import tiers
from tradebox.domain.breaker import ProviderKind
from tradebox.domain.tiers import TierMachine

RUN = settings(
    max_examples=60,
    stateful_step_count=40,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
)
HUNT = settings(RUN, max_examples=1500, phases=[Phase.generate])
sources = st.sampled_from([IB, FINNHUB, AV, YAHOO])
prices = st.sampled_from([100.0, 100.1, 100.4, 101.5])


class TierCourse(RuleBasedStateMachine):
    """Sources speak, fall silent and come back; providers fail; time passes."""

    def __init__(self):
        super().__init__()
        self.world = TierWorld(is_near=True)

    @rule(source=sources, price=prices, lag_s=st.sampled_from([0.1, 2.0, 20.0, 900.0]))
    def one_tick(self, source, price, lag_s):
        self.world.tick(source, price, lag_s)

    @rule(source=sources, passes=st.booleans())
    def one_tick_that_may_be_refused(self, source, passes):
        self.world.tick(source, passes=passes)

    @rule(source=sources, price=prices, seconds=st.sampled_from([5, 70, 130]))
    def speaks_for_a_while(self, source, price, seconds):
        self.world.stream(source, seconds, price, every_s=5.0)

    @rule(one=sources, other=sources, seconds=st.sampled_from([20, 130]), price=prices)
    def two_speak(self, one, other, seconds, price):
        for _ in range(seconds // 5):
            self.world.wait(5.0)
            self.world.tick(one)
            self.world.tick(other, price)

    @rule(source=st.sampled_from([AV, YAHOO]), price=prices)
    def speaks_late(self, source, price):
        self.world.tick(source, price, 900.0, delay_s=900)

    @rule(price=prices)
    def tells_a_close(self, price):
        self.world.tick(AV, price, 30_000.0, is_eod=True)

    @rule(seconds=st.sampled_from([1, 6, 16, 130, 900, 3600]))
    def nothing_comes(self, seconds):
        self.world.wait(seconds, step_s=max(1.0, seconds / 20))

    @rule(source=sources, kind=st.sampled_from(list(ProviderKind)))
    def provider_says(self, source, kind):
        self.world.tell(source, kind)

    @rule(source=sources)
    def calls_fail(self, source):
        for _ in range(6):
            self.world.tell(source, ProviderKind.FAILED)

    @rule(source=sources)
    def comes_back(self, source):
        self.world.tell(source, ProviderKind.OK)
        self.world.tell(source, ProviderKind.OPENED)

    @rule()
    def fails_while_another_is_behind(self):
        self.world.tick(FINNHUB, lag_s=0.1)
        self.world.close(FINNHUB)
        self.world.wait(7)
        self.world.tick(AV, lag_s=20.0)

    @rule()
    def comes_back_with_another_price(self):
        self.world.close(FINNHUB)
        self.world.wait(16)
        self.world.tick(AV)
        self.world.open(FINNHUB)
        for _ in range(28):
            self.world.wait(5.0)
            self.world.tick(AV)
            self.world.tick(FINNHUB, 101.5)

    @rule()
    def flaps(self):
        for _ in range(6):
            self.world.close(FINNHUB)
            for _ in range(8):
                self.world.wait(20, step_s=5.0)
                self.world.tick(YAHOO)
            self.world.open(FINNHUB)
            for _ in range(14):
                self.world.wait(15, step_s=5.0)
                self.world.tick(FINNHUB)
                self.world.tick(YAHOO)

    @rule()
    def another_feed_warms_up(self):
        self.world.fork()


def test_the_tiers_keep_t1_to_t8():
    run_state_machine_as_test(TierCourse, settings=RUN)


# --- mutants ------------------------------------------------------------------------------------


def with_limits(**changes):
    """Return a machine class whose own limits are wrong."""

    def init(self, limits, _real=TierMachine.__init__):
        _real(self, replace(limits, **changes))

    return init


def forgetful_copy(self, _real=TierMachine.copy):
    other = _real(self)
    other.lines.clear()
    return other


def ever_agreeing(self, line, shown, serving):
    return True


def never_aged(self, symbol, track, serving, source, line, now_ns, _real=TierMachine._reason):
    shown = self.lines.get((symbol, serving), tiers.NEW_LINE)
    if line.event_ns < shown.event_ns and self._is_left(symbol, serving):
        return tiers.SwitchReason.PROVIDER_DOWN
    return _real(self, symbol, track, serving, source, line, now_ns)


def all_polled(self):
    return {source: frozenset({"AAPL"}) for source in (AV, YAHOO)}


def eager(self, symbol, source):
    return True


def deaf_to_breakers(self, symbol, track, source, line, now_ns, _real=TierMachine._may_take):
    known, self.breakers = self.breakers, {}
    try:
        return _real(self, symbol, track, source, line, now_ns)
    finally:
        self.breakers = known


MUTANTS = [
    ("T1", "tick", lambda self, tick, *, passes, _real=TierMachine.tick: _real(
        self, tick, passes=passes)._replace(serves=True)),
    ("T2", "__init__", with_limits(switches_max=100)),
    ("T3", "__init__", with_limits(dwell_ns=0)),
    ("T3", "__init__", with_limits(failback_ns=0)),
    ("T4", "_reason", never_aged),
    ("T5", "_is_left", eager),
    ("T6", "_agree", ever_agreeing),
    ("T7", "copy", forgetful_copy),
    ("T8", "polled", all_polled),
    ("T8", "_may_take", deaf_to_breakers),
]  # fmt: skip


@pytest.mark.parametrize(
    ("promise", "name", "wrong"), MUTANTS, ids=[f"{one[0]}-{one[1]}" for one in MUTANTS]
)
def test_each_promise_catches_its_mutant(promise, name, wrong, monkeypatch):
    monkeypatch.setattr(TierMachine, name, wrong)
    monkeypatch.setattr(TierWorld, "judged", frozenset({promise}))
    with pytest.raises(AssertionError, match=promise):
        run_state_machine_as_test(TierCourse, settings=HUNT)


def test_the_mutants_are_of_the_policy_that_is_tested():
    assert LIMITS.order == (IB, FINNHUB, AV, YAHOO)
