"""The Alpha Vantage stand-in: its answers, its keys and limits, and each of its faults."""

import json

import pytest

from support.sim_market import market_at, run
from tradebox.sim.alphavantage.answers import DELAY_NS
from tradebox.sim.alphavantage.faults import CATALOGUE, alphavantage_faults
from tradebox.sim.alphavantage.quota import FREE_PER_DAY, PREMIUM_PER_MINUTE
from tradebox.sim.alphavantage.server import AlphaVantage
from tradebox.sim.http import HttpRefusal, HttpRequest
from tradebox.sim.market import hours

NOON_NS = hours.session(5).open_ns + 150 * hours.MINUTE_NS


class Desk:
    """The handler with a clock that a test moves: each call is two seconds after the last."""

    def __init__(self) -> None:
        self.market = market_at(NOON_NS)
        self.faults = alphavantage_faults()
        self.now_s = 0.0
        self.handler = AlphaVantage(self.market, "free", "premium", self.faults, lambda: self.now_s)

    def raw(self, key="free", *, wait_s=2.0, **query):
        self.now_s += wait_s
        asked = {"function": "GLOBAL_QUOTE", "symbol": "AAPL", "apikey": key, **query}
        return self.handler(HttpRequest("GET", "/query", asked, b""))

    def ask(self, key="free", **query):
        answer = self.raw(key, **query)
        assert answer.status == 200
        return json.loads(answer.data)


@pytest.fixture
def desk():
    return Desk()


def test_a_free_quote_is_of_the_last_closed_session_in_strings(desk):
    quote = desk.ask()["Global Quote"]
    assert all(isinstance(value, str) for value in quote.values())
    bars = desk.market.bars("AAPL", 86_400, NOON_NS, 2)
    assert quote["07. latest trading day"] == str(hours.session(4).day)
    assert float(quote["05. price"]) == bars[-1].close_micros / 1e6
    assert float(quote["08. previous close"]) == bars[-2].close_micros / 1e6
    assert quote["10. change percent"].endswith("%")


def test_entitlements_are_premium_and_delayed_has_another_name(desk):
    assert "premium endpoint" in desk.ask(entitlement="delayed")["Information"]
    now = desk.ask("premium", entitlement="realtime")["Global Quote"]
    assert now["07. latest trading day"] == str(hours.session(5).day)
    assert float(now["05. price"]) == desk.market.bars("AAPL", 60, NOON_NS, 1)[0].close_micros / 1e6
    delayed = desk.ask("premium", entitlement="delayed")
    (name,) = delayed
    assert name == "Global Quote - DATA DELAYED BY 15 MINUTES"
    old = desk.market.bars("AAPL", 60, NOON_NS - DELAY_NS, 1)[0].close_micros / 1e6
    assert float(delayed[name]["05. price"]) == old


def test_daily_is_free_when_compact_and_newest_first(desk):
    body = desk.ask(function="TIME_SERIES_DAILY")
    days = list(body["Time Series (Daily)"])
    assert len(days) == 100
    assert days == sorted(days, reverse=True)
    assert set(body["Time Series (Daily)"][days[0]]) == {
        "1. open", "2. high", "3. low", "4. close", "5. volume",
    }  # fmt: skip
    assert body["Meta Data"]["5. Time Zone"] == "US/Eastern"
    assert "premium" in desk.ask(function="TIME_SERIES_DAILY", outputsize="full")["Information"]
    full = desk.ask("premium", function="TIME_SERIES_DAILY", outputsize="full")
    assert len(full["Time Series (Daily)"]) > 100


def test_adjusted_daily_is_premium_and_knows_splits_and_dividends(desk):
    query = {"function": "TIME_SERIES_DAILY_ADJUSTED"}
    assert "premium" in desk.ask(**query)["Information"]
    split = desk.market.announce_split("AAPL", 2, 1)
    desk.market.announce_dividend("AAPL", 500_000)
    run(desk.market, hours.session(split.number).close_ns + 1)
    rows = list(desk.ask("premium", **query)["Time Series (Daily)"].values())
    raw = list(desk.ask("premium", function="TIME_SERIES_DAILY")["Time Series (Daily)"].values())
    assert (rows[0]["8. split coefficient"], rows[0]["7. dividend amount"]) == ("2.0", "0.5000")
    assert rows[1]["8. split coefficient"] == "1.0"
    ratio = float(rows[1]["5. adjusted close"]) / float(raw[1]["4. close"])
    assert 0.49 < ratio < 0.5
    assert float(raw[0]["4. close"]) < 0.7 * float(raw[1]["4. close"])


def test_intraday_is_naive_new_york_time(desk):
    rows = desk.ask(function="TIME_SERIES_INTRADAY", interval="5min")["Time Series (5min)"]
    day = str(hours.session(4).day)
    assert next(iter(rows)) == f"{day} 15:55:00"
    assert len(rows) == 100
    assert "Invalid API call" in desk.ask(function="TIME_SERIES_INTRADAY")["Error Message"]


def test_bulk_quotes_of_a_free_key_are_marked_samples(desk):
    query = {"function": "REALTIME_BULK_QUOTES", "symbol": "AAPL,NONE,SPY"}
    sample, real = desk.ask(**query), desk.ask("premium", **query)
    assert sample["message"]
    assert not real["message"]
    assert [row["symbol"] for row in real["data"]] == ["AAPL", "SPY"]
    assert sample["data"][0]["close"] == "100.0000"


def test_symbols_functions_and_keys_that_do_not_exist(desk):
    assert desk.ask(symbol="NONE") == {"Global Quote": {}}
    assert (
        "Invalid API call" in desk.ask(function="TIME_SERIES_DAILY", symbol="NO")["Error Message"]
    )
    assert "does not exist" in desk.ask(function="NOTHING")["Error Message"]
    assert "apikey is invalid" in desk.ask("other")["Error Message"]
    assert desk.ask(function="SYMBOL_SEARCH", keywords="AAPL")["bestMatches"]
    assert desk.ask(function="MARKET_STATUS")["markets"][0]["current_status"] == "open"
    with pytest.raises(HttpRefusal):
        desk.handler(HttpRequest("GET", "/", {}, b""))


def test_two_calls_in_a_second_are_refused_with_status_200(desk):
    desk.ask()
    assert "1 request per second" in desk.ask(wait_s=0.5)["Information"]
    assert "Global Quote" in desk.ask()


def test_a_free_key_has_25_calls_a_day_and_gets_new_ones_the_next(desk):
    answers = [desk.ask() for _ in range(FREE_PER_DAY + 2)]
    assert ["Information" in one for one in answers] == [False] * FREE_PER_DAY + [True] * 2
    desk.market.clock.at_ns = hours.session(6).open_ns
    assert "Global Quote" in desk.ask()


def test_a_premium_key_has_75_calls_a_minute(desk):
    for _ in range(PREMIUM_PER_MINUTE):
        assert "Global Quote" in desk.ask("premium", wait_s=0.1)
    assert "Information" in desk.ask("premium", wait_s=0.1)
    assert "Global Quote" in desk.ask("premium", wait_s=60)


def test_csv_of_a_series(desk):
    answer = desk.raw(function="TIME_SERIES_DAILY", datatype="csv")
    lines = answer.data.split("\r\n")
    assert lines[0] == "timestamp,open,high,low,close,volume"
    assert len(lines) == 102


def is_quote(body):
    return bool(body.get("Global Quote"))


BULK_FAULTS = {
    "blank_values": lambda plain, row: row["close"] == "None",
    "wrong_symbol": lambda plain, row: row["symbol"] == "ZZZZ",
    "spike": lambda plain, row: float(row["close"]) > 1.05 * float(plain["close"]),
    "stale_day": lambda plain, row: row["timestamp"] < plain["timestamp"][:10],
}


@pytest.mark.parametrize("name", BULK_FAULTS)
def test_a_fault_spoils_its_symbol_s_row_of_a_bulk_and_no_other(desk, name):
    def rows():
        answer = desk.ask("premium", function="REALTIME_BULK_QUOTES", symbol="SPY,AAPL")
        return answer["data"]

    plain = rows()
    desk.faults.set(name, symbol="SPY")
    spoiled = rows()
    assert BULK_FAULTS[name](plain[0], spoiled[0])
    assert spoiled[1]["symbol"] == "AAPL"
    assert not BULK_FAULTS[name](plain[1], spoiled[1])


FAULTS = {
    "burst_limit": lambda desk: "1 request per second" in desk.ask()["Information"],
    "day_spent": lambda desk: "25 requests per day" in desk.ask()["Information"],
    "old_note": lambda desk: "5 calls per minute" in desk.ask()["Note"],
    "bad_key": lambda desk: "apikey is invalid" in desk.ask()["Error Message"],
    "premium_only": lambda desk: "premium endpoint" in desk.ask()["Information"],
    "invalid_call": lambda desk: "Invalid API call" in desk.ask()["Error Message"],
    "empty_quote": lambda desk: desk.ask() == {"Global Quote": {}},
    "empty_object": lambda desk: desk.ask() == {},
    "html_page": lambda desk: "application-error.html" in desk.raw().data,
    "server_error": lambda desk: desk.raw().status == 503,
    "truncated": lambda desk: not desk.raw().data.rstrip().endswith("}"),
    "blank_values": lambda desk: desk.ask()["Global Quote"]["05. price"] == "None",
    "wrong_symbol": lambda desk: desk.ask()["Global Quote"]["01. symbol"] == "ZZZZ",
    "stale_day": lambda desk: (
        desk.ask()["Global Quote"]["07. latest trading day"] < str(hours.session(4).day)
    ),
    "delayed_suffix": lambda desk: "DELAYED" in next(iter(desk.ask())),
    "slow": lambda desk: desk.raw().delay_s == 5.0,
    "reset": lambda desk: desk.raw().is_reset,
}


def test_a_spike_moves_the_price_by_its_percentage(desk):
    plain = float(desk.ask()["Global Quote"]["05. price"])
    desk.faults.set("spike", symbol="AAPL", count=1)
    assert float(desk.ask()["Global Quote"]["05. price"]) == pytest.approx(plain * 1.2, abs=1e-4)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_each_fault_shows_and_ends(desk, name):
    desk.faults.set(name, symbol="AAPL", count=1)
    assert is_quote(desk.ask(symbol="SPY"))
    assert FAULTS[name](desk)
    assert is_quote(desk.ask())


def test_no_fault_is_without_a_test():
    assert {spec.name for spec in CATALOGUE} == {*FAULTS, "spike"}
