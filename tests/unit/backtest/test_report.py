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
