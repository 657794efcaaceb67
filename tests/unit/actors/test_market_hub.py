"""The hub: who gets which price, in which order, and what a price is worth now."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from support.ticks import LIMITS, T0, Market, S, admitted
from support.tier_world import LIMITS as TIERS
from support.tier_world import LIVE_S
from tradebox.actors.admission import Outbox
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.market import Quality, Source


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


moves = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1)
RUN = settings(max_examples=100, derandomize=True, database=None, deadline=None)


def course(moves):
    """Ticks whose event times go to and fro, of a source that changes now and then.

    The tiers let another source take over at nothing older than what is shown.
    """
    at_s = newest_s = 100
    source = Source.FINNHUB
    for seq, (move, is_change) in enumerate(moves, 1):
        at_s = max(newest_s, at_s + move) if is_change else at_s + move
        newest_s = max(newest_s, at_s)
        if is_change:
            source = Source.YAHOO if source is Source.FINNHUB else Source.FINNHUB
        yield replace(admitted(at_s=at_s, seq=seq), source=source)


def is_back(ticks):
    """Say whether any tick is of before the one that the same source had shown."""
    return any(
        after.source is one.source and after.event_ns < one.event_ns
        for one, after in pairwise(ticks)
    )


@RUN
@given(moves)
def test_no_reader_is_taken_back_in_time_and_the_tape_gets_all(moves):
    hub, decides, tape = hub_at(), [], []
    hub.subscribe("paper", decides.append, None)
    hub.subscribe("bars", tape.append, None, is_tape=True)
    given_ticks = list(course(moves))
    for one in given_ticks:
        hub.deliver(one)
    assert tape == given_ticks
    assert not is_back(decides)
    assert decides[-1] == hub.last("SPY")


@RUN
@given(moves, st.integers(1, 4))
def test_no_batch_takes_the_bus_back_in_time(moves, every):
    box, written = Outbox(), []
    for number, one in enumerate(course(moves)):
        box.put(one)
        if number % every == 0:
            mark, ticks = box.pending()
            written.extend(ticks)
            box.commit(mark)
    written.extend(box.pending()[1])
    assert not is_back(written)
    assert box.admitted == len(moves) == len(written) + box.conflated + box.behind


@RUN
@given(
    source=st.sampled_from(list(LIVE_S)),
    gaps_s=st.lists(st.integers(1, 200), max_size=8),
    later_s=st.integers(0, 300),
    is_well=st.booleans(),
)
def test_a_price_is_live_only_within_the_limit_of_its_source(source, gaps_s, later_s, is_well):
    market = Market(T0)
    hub = MarketHub(market, LIMITS.stale_ns_max, ages=TIERS.ages)
    at_s = 0
    hub.deliver(replace(admitted(at_s=at_s), source=source))
    for seq, gap_s in enumerate(gaps_s, 2):
        at_s += gap_s
        hub.deliver(replace(admitted(at_s=at_s, seq=seq), source=source))
    hub.poll({}, frozenset() if is_well else frozenset({source}))
    market.ns = T0 + (at_s + later_s) * S
    rule = TIERS.ages.rules[source]
    oldest_ns = rule.quiet_ns if is_well else rule.live_ns
    for said in (hub.quality_now("SPY"), hub.worth_now(hub.last("SPY"))):
        assert said in (Quality.LIVE, Quality.STALE)
        if later_s * S > oldest_ns:
            assert said is Quality.STALE
        if later_s <= LIVE_S[source]:
            assert said is Quality.LIVE
