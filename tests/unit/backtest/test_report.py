"""The page of a run: whole in itself, escaped, and with every figure it promises."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from support.stock_results import stock_result, weekdays
from tradebox.backtest.report import RunTotals, StockPart, build_report, monthly
from tradebox.backtest.store_encoding import RESULT_COLUMNS, encode
from tradebox.strategies.bars import Bars


def run_row(**changes):
    at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    row = {
        "run_id": "20260105-090000-ab12",
        "state": "done",
        "universe": "all",
        "symbol_count": 3,
        "strategies": ["trend_cross"],
        "data_source": "dir:<img src=x onerror=alert(1)>",
        "data_hash": "d" * 64,
        "code_hash": "c" * 64,
        "run_hash": "e" * 64,
        "seed": 1,
        "started_at": at,
        "finished_at": at,
        "expires_at": at,
        "refused_count": 1,
        "failed_count": 0,
        "mismatch_count": 0,
        "figures": {"wall_s": 1.25},
    }
    return {**row, **changes}


def row_of(stock):
    return dict(zip(RESULT_COLUMNS, encode(stock).result, strict=True))


def bars(count=300):
    days = weekdays(count)
    close = 40 + 5 * np.sin(np.arange(count) / 15)
    return Bars("AAA", days, close, close + 1, close - 1, close, np.full(count, 1e6))


def page(stocks, parts, **changes):
    totals = RunTotals()
    for stock in stocks:
        totals.add(stock)
    return build_report(run_row(**changes), [row_of(one) for one in stocks], totals, parts)


class Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found = []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "href", "data") and value]


def without_script(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_has_every_figure_and_loads_nothing():
    stocks = [stock_result("AAA", grade="A"), stock_result("BBB"), stock_result("CCC", trades=0)]
    text = page(stocks, [StockPart(stocks[0], bars())])
    for title in ("stocks by grade", "equity: sum of R", "equity at each close", "underwater",
                  "R of 12 trades", "R of 24 trades", "R by month of exit", "trades on price",
                  "long entry", "short entry", "exit with gain"):  # fmt: skip
        assert title in text, title
    loads = Loads()
    loads.feed(text)
    assert loads.found == []
    assert "link" not in loads.tags
    assert "img" not in loads.tags
    assert text.count("Plotly.newPlot(") == 4 + 4
    policy = text.index("content=\"default-src 'none';")
    assert policy < text.index("<style"), "the browser is told before anything could load"
    assert "e" * 64 in text


def test_every_text_of_the_data_is_escaped():
    evil = stock_result("A<script>")
    text = without_script(page([evil], [StockPart(evil, None)], universe="<b>&"))
    assert "<img src=x" not in text
    assert "A&lt;script&gt;" in text
    assert "&lt;b&gt;&amp;" in text


def test_a_run_without_trades_or_prices_says_so():
    quiet = stock_result("AAA", trades=0)
    refused = stock_result("BBB", status="refused")
    text = page([quiet, refused], [StockPart(quiet, None), StockPart(refused, None)])
    assert text.count("No trades.") == 3
    traded = stock_result("AAA")
    assert "no longer stored" in page([traded], [StockPart(traded, None)])


class Outline(HTMLParser):
    """Tags that are open, headings in order, ids, and what has no name."""

    void = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.levels, self.ids, self.nameless = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag not in self.void:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "figure" and not named.get("aria-label"):
            self.nameless.append(tag)
        if tag == "table":
            self.nameless.append("table")
        if tag == "caption":
            assert self.nameless.pop() == "table", "a caption comes first in its table"
        if tag == "th":
            assert named["scope"] in ("row", "col")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def full_page():
    stocks = [stock_result("AAA", grade="A"), stock_result("BBB", trades=0)]
    return page(stocks, [StockPart(stocks[0], bars()), StockPart(stocks[1], None)])


def test_the_page_is_well_formed_and_says_what_it_shows():
    text = full_page()
    outline = Outline(text)
    assert outline.open == []
    assert (outline.levels[0], outline.levels.count(1)) == (1, 1)
    steps = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(after - before <= 1 for before, after in steps), "no heading skips a level"
    assert len(outline.ids) == len(set(outline.ids)) == text.count("Plotly.newPlot(")
    assert outline.nameless == []
    forbidden = r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]"
    assert re.findall(forbidden, text) == [], "code points that no page may hold"


def luminance(colour):
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_can_be_read_on_both_backgrounds():
    style = re.search(r"<style>(.*?)</style>", full_page(), re.DOTALL)[1]
    colours = re.findall(r"[{;\s]color:(#[0-9a-f]{6})", style)
    assert len(colours) == 4
    for behind in ("#ffffff", "#f7fafc"):
        for colour in colours:
            contrast = (luminance(behind) + 0.05) / (luminance(colour) + 0.05)
            assert contrast >= 4.5, (colour, behind)


def test_months_add_up():
    days = weekdays(480)
    values = np.random.default_rng(1).normal(size=480)
    table = monthly(days, values)
    assert sorted(table) == [2015, 2016]
    known = [one for line in table.values() for one in line if one is not None]
    assert sum(known) == pytest.approx(values.sum())
    january = days < weekdays(1, "2015-02-02")[0]
    assert table[2015][0] == pytest.approx(values[january].sum())
    assert table[2016][11] is None
