"""Alpha Vantage's bodies: classified by the data that is there, whatever the wording."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.adapters.alphavantage.wire import (
    DayQuote,
    Refusal,
    TimedQuote,
    parse_bulk,
    parse_quote,
)

FIELDS = {
    "01. symbol": "IBM",
    "02. open": "51.5100",
    "05. price": "51.7600",
    "06. volume": "93222",
    "07. latest trading day": "2019-08-30",
    "08. previous close": "51.4350",
    "10. change percent": "0.6319%",
}
BURST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more "
    "sparingly (1 request per second). You may subscribe to any of the premium plans at "
    "https://www.alphavantage.co/premium/ to lift the free key rate limit (25 requests per day), "
    "raise the per-second burst limit, and instantly unlock all premium endpoints"
)
PREMIUM = "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any"


def body(**changes):
    return json.dumps({"Global Quote": {**FIELDS, **changes}}).encode()


def test_a_quote_is_exact():
    assert parse_quote(body(), "IBM") == DayQuote(
        "IBM", 51_760_000, 51_435_000, "2019-08-30", False
    )


def test_the_name_of_the_answer_says_delayed():
    named = json.dumps({"Global Quote - DATA DELAYED BY 15 MINUTES": FIELDS}).encode()
    assert parse_quote(named, "IBM").is_delayed


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        ({"Information": BURST}, Refusal.THROTTLED),
        ({"Note": "5 calls per minute and 500 calls per day"}, Refusal.THROTTLED),
        ({"Information": "a wording of next year"}, Refusal.THROTTLED),
        ({"Information": PREMIUM}, Refusal.FORBIDDEN),
        ({"Error Message": "Invalid API call. Please retry"}, Refusal.EMPTY),
        ({"Error Message": "the parameter apikey is invalid or missing."}, Refusal.KEY_REFUSED),
        ({"Global Quote": {}}, Refusal.EMPTY),
        ({}, Refusal.UNUSABLE),
        ([], Refusal.UNUSABLE),
        ({"Global Quote": []}, Refusal.UNUSABLE),
        ({"Global Quote": {**FIELDS, "01. symbol": "ZZZZ"}}, Refusal.UNUSABLE),
        *(
            ({"Global Quote": {**FIELDS, "05. price": value}}, Refusal.EMPTY)
            for value in ("", "None", "-", "--", "0.0000", "-1", "NaN", "1e99", None, 5)
        ),
        ({"Global Quote": {**FIELDS, "07. latest trading day": "soon"}}, Refusal.EMPTY),
    ],
)
def test_what_has_no_data_is_a_refusal(answer, refusal):
    assert parse_quote(json.dumps(answer).encode(), "IBM") is refusal


@pytest.mark.parametrize(
    "raw", [b"<!DOCTYPE html>application-error", b"", b'{"Global Quote": {"01']
)
def test_a_page_is_no_answer(raw):
    assert parse_quote(raw, "IBM") is Refusal.UNUSABLE
    assert parse_bulk(raw) is Refusal.UNUSABLE


def row(**changes):
    fields = {
        "symbol": "IBM",
        "timestamp": "2019-08-30 15:59:59.123",
        "close": "51.76",
        "previous_close": "51.43",
    }
    return {**fields, **changes}


def bulk(*rows, message=""):
    return json.dumps({"endpoint": "x", "message": message, "data": list(rows)}).encode()


def test_bulk_rows_have_a_time_and_those_without_a_price_are_left_out():
    found = parse_bulk(bulk(row(), row(symbol="A", close=""), row(symbol="B", timestamp="x"), 7))
    assert found == {"IBM": TimedQuote("IBM", 51_760_000, 51_430_000, "2019-08-30 15:59:59")}


def test_sample_prices_of_a_key_without_the_plan_are_refused():
    assert parse_bulk(bulk(row(), message="illustrative sample data")) is Refusal.FORBIDDEN
    assert parse_bulk(json.dumps({"Information": PREMIUM}).encode()) is Refusal.FORBIDDEN


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=10,
)


@given(raw=st.binary(max_size=200), values=JSON, inner=JSON)
def test_holds_total_no_input_raises(raw, values, inner):
    for text in (raw, json.dumps(values).encode(), json.dumps({"Global Quote": inner}).encode()):
        assert isinstance(parse_quote(text, "IBM"), DayQuote | Refusal)
        assert isinstance(parse_bulk(text), dict | Refusal)
    assert isinstance(parse_bulk(json.dumps({"data": [inner]}).encode()), dict | Refusal)
