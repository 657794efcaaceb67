"""What a price is explained by: words for every quality and check, ages, an engine gone quiet."""

import pytest

from tradebox.domain.market import Quality
from tradebox.domain.tick_filter import Check
from tradebox.readmodel import Row
from tradebox.readmodel.quotes import (
    CHECK_WORDS,
    NOT_ADMITTED,
    NOT_TOLD,
    QUALITY_WORDS,
    Told,
    explain,
)

S = 1_000_000_000
NOW_NS = 1_000 * S
PRICE = {
    "symbol": "NVDA", "price_micros": 101_250_000, "size": 5, "source": "finnhub", "tier": 1,
    "quality": "live", "event_ns": NOW_NS - 3 * S, "recv_ns": NOW_NS - 2 * S, "pub_seq": 9,
    "epoch": 4, "ticks": 9, "gaps": 0, "refused": 2,
}  # fmt: skip


def word(data, *, mono_ns=S, speed=1.0, waiting=""):
    rows = {
        "feeds": None if data is None else Row(4, NOW_NS, S, 2.0, data),
        "header": Row(4, NOW_NS, S, 1.0, {"speed": speed}),
    }
    return Told.of(rows, mono_ns, waiting)


def test_every_quality_and_every_check_has_its_words():
    assert set(QUALITY_WORDS) == {str(each) for each in Quality}
    assert set(CHECK_WORDS) == {str(each) for each in Check} - {""}


def test_a_live_price_says_who_when_and_how_old():
    shown = explain(word([PRICE]), "NVDA", ())
    assert str(shown["last"]) == "101.25"
    assert (shown["source"], shown["tier"], shown["quality"]) == ("finnhub", 1, "live")
    assert (shown["event_ns"], shown["recv_ns"]) == (NOW_NS - 3 * S, NOW_NS - 2 * S)
    assert (shown["age_s"], shown["told_age_s"], shown["waiting"]) == (3.0, 0.0, "")
    assert (shown["bid"], shown["ask"], shown["refused"]) == (None, None, 2)


def test_a_price_ages_by_the_market_clock_since_the_engine_told_it():
    assert explain(word([PRICE], mono_ns=3 * S, speed=10), "NVDA", ())["age_s"] == 3 + 2 * 10


def test_an_engine_gone_quiet_leaves_no_live_price():
    assert explain(word([PRICE], mono_ns=7 * S), "NVDA", ())["quality"] == "live"
    shown = explain(word([PRICE], mono_ns=8 * S), "NVDA", ())
    assert (shown["quality"], shown["waiting"]) == ("stale", "the engine has been quiet for 7 s")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (word(None), NOT_TOLD),
        (word(None, waiting="Redis: not up yet"), "Redis: not up yet"),
        (word([]), NOT_ADMITTED),
        (word({"not": "a list"}), NOT_ADMITTED),
        (word([None, 7, {"symbol": 3}]), NOT_ADMITTED),
    ],
)
def test_without_a_price_it_says_why(told, why):
    shown = explain(told, "NVDA", ())
    assert shown["waiting"] == why
    assert [shown[name] for name in ("last", "quality", "quality_why", "age_s")] == [None] * 4


def test_a_misshapen_price_is_not_known():
    bad = {"symbol": "NVDA", "price_micros": "x", "event_ns": None}
    shown = explain(word([bad]), "NVDA", ())
    assert [shown[name] for name in ("last", "age_s", "source")] == [None, None, None]


def test_a_refusal_tells_its_check_in_words():
    row = {"event_ns": 5, "recorded_at": None, "source": "finnhub", "verdict": "hold",
           "check_name": "spike", "price_micros": 130_000_000}  # fmt: skip
    [refusal] = explain(word([PRICE]), "NVDA", [row])["refusals"]
    assert (str(refusal["price"]), refusal["check"]) == ("130.00", "spike")
    assert refusal["why"] == CHECK_WORDS["spike"]
    assert (refusal["number"], refusal["ticks"]) == (13, 1)


def test_bid_and_ask_are_those_that_a_source_told():
    quoted = {**PRICE, "bid_micros": 101_240_000, "ask_micros": 101_260_000}
    shown = explain(word([quoted]), "NVDA", ())
    assert (str(shown["bid"]), str(shown["ask"])) == ("101.24", "101.26")


@pytest.mark.parametrize("check", ["split", "halt"])
def test_a_price_that_waits_says_for_what(check):
    shown = explain(word([{**PRICE, "quality": "suspect", "waits": check}]), "NVDA", ())
    assert shown["quality_why"] == CHECK_WORDS[check]


def test_a_symbol_blocked_before_its_first_price_says_what_to_do():
    row = {"event_ns": 5, "recorded_at": None, "source": "finnhub", "verdict": "hold",
           "check_name": "split", "price_micros": 50_000_000, "ticks": 1}  # fmt: skip
    assert "tradebox ctl confirm" in explain(word([]), "NVDA", [row])["waiting"]


def test_a_check_of_another_version_has_no_number():
    row = {"event_ns": 5, "recorded_at": None, "source": "finnhub", "verdict": "hold",
           "check_name": "unheard of", "price_micros": 1, "ticks": 2}  # fmt: skip
    [refusal] = explain(word([PRICE]), "NVDA", [row])["refusals"]
    assert (refusal["number"], refusal["why"], refusal["ticks"]) == (None, "", 2)


def test_flags_are_told_apart_from_refusals():
    row = {"event_ns": 5, "source": "finnhub", "check_name": "odd_lot", "quality": "live",
           "ticks": 12}  # fmt: skip
    shown = explain(word([PRICE]), "NVDA", (), [row])
    assert shown["refusals"] == []
    [flag] = shown["flags"]
    assert (flag["ticks"], flag["number"], flag["why"]) == (12, 8, CHECK_WORDS["odd_lot"])
