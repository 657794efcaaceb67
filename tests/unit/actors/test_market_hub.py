"""The hub: who gets which price, in which order, and what a price is worth now."""

from hypothesis import given, settings
from hypothesis import strategies as st

from support.ticks import LIMITS, T0, Market, S, admitted
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.market import Quality


def hub_at(now_ns=T0, **fields):
    return MarketHub(Market(now_ns), LIMITS.stale_ns_max, **fields)


def test_live_is_served_first_whatever_the_order_of_arrival():
    hub, served = hub_at(), []
    for name in ("paper", "dashboard", "live", "paper"):
        hub.subscribe(name, lambda _, name=name: served.append(name), None)
    hub.deliver(admitted())
    assert served == ["live", "dashboard", "paper"]


def test_a_reader_gets_its_symbols_until_it_leaves():
    hub, got = hub_at(), []
    hub.subscribe("paper", got.append, frozenset({"SPY"}))
    hub.deliver(admitted("SPY"))
    hub.deliver(admitted("AAPL"))
    hub.unsubscribe("paper")
    hub.unsubscribe("paper")
    hub.deliver(admitted("SPY", seq=2))
    assert [(one.symbol, one.pub_seq) for one in got] == [("SPY", 1)]
    assert hub.counters.admitted == 3


def test_wishes_are_joined_ranked_and_taken_back():
    hub, calls = hub_at(), []
    hub.on_wanted(lambda: calls.append(hub.wanted()))
    hub.want("paper", frozenset({"SPY", "AAPL"}))
    hub.want("live", frozenset({"MSFT", "SPY"}))
    hub.want("live", frozenset({"MSFT", "SPY"}))
    assert hub.wanted_by_rank() == ("MSFT", "SPY", "AAPL")
    hub.want("live", frozenset())
    assert calls == [{"SPY", "AAPL"}, {"SPY", "AAPL", "MSFT"}, {"SPY", "AAPL"}]
    hub.want("paper", frozenset())
    assert hub.wanted() == frozenset()
    assert len(calls) == 4


def test_quality_ages_at_the_moment_of_asking():
    market = Market(T0)
    hub = MarketHub(market, LIMITS.stale_ns_max)
    assert hub.quality_now("SPY") is Quality.STALE
    hub.deliver(admitted())
    market.ns = T0 + 15 * S
    assert hub.quality_now("SPY") is Quality.LIVE
    market.ns += 1
    assert hub.quality_now("SPY") is Quality.STALE


def test_a_quality_below_live_is_never_raised():
    hub = hub_at()
    hub.deliver(admitted(quality=Quality.SUSPECT))
    assert hub.quality_now("SPY") is Quality.SUSPECT


def test_outside_the_session_every_price_is_closed():
    hub = hub_at(is_open=lambda _: False)
    hub.deliver(admitted())
    assert hub.quality_now("SPY") is Quality.CLOSED


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1))
def test_the_last_price_never_goes_back_in_time(moves):
    hub, at_s, seen = hub_at(), 100, []
    for seq, move in enumerate(moves, 1):
        at_s += move
        hub.deliver(admitted(at_s=at_s, seq=seq))
        seen.append(at_s)
        assert hub.last("SPY").event_ns == T0 + max(seen) * S
    assert len(hub.lasts()) == 1


def test_ticks_and_gaps_are_counted_by_symbol():
    hub = hub_at()
    long_s = LIMITS.stale_ns_max / S + 1
    for number, at_s in enumerate((0, 1, 1 + long_s, 9 * 3600), 1):
        hub.deliver(admitted("SPY", at_s=at_s, seq=number))
    assert hub.flow("SPY") == (4, 1)
    assert hub.flow("AAPL") == (0, 0)
