"""The Yahoo stand-in: cookie, crumb, chart, certificates, and each of its faults."""

import json
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sim_market import market_at, run
from tradebox.errors import HomeUnusable
from tradebox.sim.http import HttpRequest
from tradebox.sim.market import hours
from tradebox.sim.yahoo import curve
from tradebox.sim.yahoo.authority import authority_file, make_certificates, server_context
from tradebox.sim.yahoo.faults import CATALOGUE, yahoo_faults
from tradebox.sim.yahoo.server import Yahoo

NOON_NS = hours.session(50).open_ns + 150 * hours.MINUTE_NS


class Desk:
    def __init__(self) -> None:
        self.market, self.faults = market_at(NOON_NS), yahoo_faults()
        self.handler = Yahoo(self.market, "secret", self.faults)

    def get(self, path, host="query1.finance.yahoo.com", cookie="", **query):
        headers = {"host": host, "cookie": cookie}
        return self.handler(HttpRequest("GET", path, query, b"", headers))

    def chart(self, symbol="AAPL", **query):
        answer = self.get(f"/v8/finance/chart/{symbol}", **{"range": "1mo", **query})
        return answer.status, json.loads(answer.data) if answer.status == 200 else answer.data

    def result(self, symbol="AAPL", **query):
        status, body = self.chart(symbol, **query)
        assert status == 200
        return body["chart"]["result"][0]

    def closes(self, symbol="AAPL", **query):
        return self.result(symbol, **query)["indicators"]["quote"][0]["close"]

    def cookie(self):
        answer = self.get("/", "fc.yahoo.com")
        assert answer.status == 404
        return answer.headers["Set-Cookie"].partition(";")[0]

    def crumb(self):
        return self.get("/v1/test/getcrumb", cookie=self.cookie()).data


@pytest.fixture
def desk():
    return Desk()


def test_a_crumb_needs_the_cookie(desk):
    assert desk.get("/v1/test/getcrumb").status == 401
    assert desk.get("/v1/test/getcrumb", cookie="A3=d=other").status == 401
    assert len(desk.crumb()) == 16


def test_a_quote_needs_cookie_and_crumb(desk):
    cookie, crumb = desk.cookie(), desk.crumb()
    path = "/v7/finance/quote"
    assert desk.get(path, symbols="AAPL").status == 401
    assert desk.get(path, symbols="AAPL", crumb=crumb).status == 401
    body = desk.get(path, symbols="AAPL,NONE", crumb=crumb, cookie=cookie).data
    (row,) = body["quoteResponse"]["result"]
    assert row["regularMarketPrice"] == desk.market.day("AAPL").last_micros / 1e6


def test_the_form_gives_the_cookie_where_consent_is_asked_for(desk):
    desk.faults.set("consent")
    assert "Set-Cookie" not in desk.get("/", "fc.yahoo.com").headers
    assert "csrfToken" in desk.get("/consent", "guce.yahoo.com").data
    assert desk.get("/v2/collectConsent", "consent.yahoo.com").status == 200
    assert "A3=" in desk.get("/copyConsent", "guce.yahoo.com").headers["Set-Cookie"]


def test_a_chart_of_days_ends_in_the_running_session(desk):
    result = desk.result()
    assert result["timestamp"][-1] == hours.session(50).open_ns // 10**9
    assert result["meta"]["exchangeTimezoneName"] == "America/New_York"
    assert {"instrumentType", "currency", "validRanges"} <= set(result["meta"])
    assert desk.closes()[-1] == desk.market.day("AAPL").last_micros / 1e6
    before_open = desk.market.clock.at_ns = hours.session(50).open_ns - 1
    assert desk.result()["timestamp"][-1] < before_open // 10**9 - 3600


def test_longer_bars_are_folded_from_days(desk):
    days, weeks = desk.result(range="6mo"), desk.result(range="6mo", interval="1wk")
    months, quarters = desk.result(range="1y", interval="1mo"), desk.result(interval="3mo")
    assert len(weeks["timestamp"]) == pytest.approx(len(days["timestamp"]) / 4.8, abs=3)
    assert 12 <= len(months["timestamp"]) <= 14
    assert 1 <= len(quarters["timestamp"]) <= 2
    total = sum(days["indicators"]["quote"][0]["volume"])
    assert sum(weeks["indicators"]["quote"][0]["volume"]) == total


def test_what_cannot_be_asked_is_refused(desk):
    assert desk.chart("NONE")[0] == 404
    assert desk.chart(interval="7m")[0] == 422
    assert desk.chart(range="7d")[0] == 422
    assert desk.chart(range="1mo", interval="1m")[0] == 422
    assert desk.chart(crumb="wrong")[0] == 401
    assert desk.get("/other").status == 404
    assert desk.get("/v10/finance/quoteSummary/AAPL").status == 401
    assert desk.get("/v10/finance/quoteSummary/NONE", crumb=desk.crumb()).status == 404


def test_a_split_of_the_market_adjusts_what_was_before(desk):
    before = desk.closes()
    split = desk.market.announce_split("AAPL", 4, 1)
    run(desk.market, hours.session(split.number).close_ns + 1)
    result = desk.result()
    closes = result["indicators"]["quote"][0]["close"]
    assert [one["splitRatio"] for one in result["events"]["splits"].values()] == ["4:1"]
    assert closes[-3] == pytest.approx(before[-2] / 4, abs=0.01)
    assert max(closes) / min(closes) < 1.5


FAULTS = {
    "rate_limit": lambda desk: desk.chart()[0] == 429,
    "server_error": lambda desk: desk.chart()[0] == 503,
    "html_page": lambda desk: desk.get("/v8/finance/chart/AAPL").data.startswith("<html>"),
    "not_found": lambda desk: desk.chart()[0] == 404,
    "empty_result": lambda desk: "timestamp" not in desk.result(),
    "truncated": lambda desk: not desk.get("/v8/finance/chart/AAPL").data.endswith("}"),
    "slow": lambda desk: desk.get("/v8/finance/chart/AAPL").delay_s == 5.0,
    "reset": lambda desk: desk.get("/v8/finance/chart/AAPL").is_reset,
    "null_rows": lambda desk: None in desk.closes(),
    "missing_bars": lambda desk: (
        desk.result()["timestamp"][-1] < hours.session(50).open_ns // 10**9
    ),
    "stale_time": lambda desk: NOON_NS // 10**9 - desk.result()["meta"]["regularMarketTime"] >= 900,
    "missing_zone": lambda desk: "exchangeTimezoneName" not in desk.result()["meta"],
    "spike": lambda desk: desk.closes()[-1] > 1.15 * desk.closes()[-2],
    "split_event": lambda desk: "splits" in desk.result()["events"],
    "dividend_event": lambda desk: "dividends" in desk.result()["events"],
}
COMMON = {
    "consent": lambda desk: "Set-Cookie" not in desk.get("/", "fc.yahoo.com").headers,
    "crumb_limit": lambda desk: desk.get("/v1/test/getcrumb").status == 429,
    "bad_crumb": lambda desk: desk.chart(crumb=Yahoo._word(desk.handler, "crumb"))[0] == 401,
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_each_fault_shows_and_ends(desk, name):
    desk.faults.set(name, symbol="AAPL", count=2 if name == "spike" else 1)
    whole = desk.result("SPY")
    assert FAULTS[name](desk)
    desk.faults.clear()
    assert desk.result("SPY") == whole
    assert None not in desk.closes()


@pytest.mark.parametrize("name", sorted(COMMON))
def test_each_fault_of_cookie_and_crumb_shows(desk, name):
    desk.faults.set(name)
    assert COMMON[name](desk)


def test_no_fault_is_without_a_test():
    elsewhere = ("stream_", "tls_")
    pages = {spec.name for spec in CATALOGUE if not spec.name.startswith(elsewhere)}
    assert pages == {*FAULTS, *COMMON}


@settings(max_examples=15, deadline=None)
@given(st.integers(1, curve.ORDER - 1), st.binary(max_size=64), st.binary(max_size=64))
def test_a_signature_is_good_for_its_message_alone(key, message, other):
    signature, point = curve.sign(key, message), curve.public_point(key)
    assert curve.verifies(point, message, signature)
    assert curve.verifies(point, other, signature) == (message == other)


def test_certificates_are_made_once_and_are_for_the_owner_alone(tmp_path):
    folder = tmp_path / "tls"
    server_context(folder)
    first = authority_file(folder).read_text()
    server_context(folder)
    assert authority_file(folder).read_text() == first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "server.pem").stat().st_mode & 0o777 == 0o600
    trusting = ssl.create_default_context(cafile=authority_file(folder))
    (root,) = trusting.get_ca_certs()
    assert root["notAfter"] == "Dec 31 23:59:59 2049 GMT"
    (folder / "server.pem").write_text("damaged")
    with pytest.raises(HomeUnusable, match="remove that folder"):
        server_context(folder)


def test_no_two_homes_have_the_same_authority():
    assert make_certificates()[0] != make_certificates()[0]
