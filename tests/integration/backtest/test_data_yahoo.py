"""The unmodified yfinance against the stand-in's Yahoo feeds a run, from fetch to grade."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from support.sim_market import market_at
from support.stores import dsn_of
from tradebox.adapters.embedded.secrets import Login
from tradebox.backtest.data.arraystore import ArrayStore
from tradebox.backtest.data.prepare import prepare_apart
from tradebox.backtest.data.yahoo import ROUTE_VARIABLE
from tradebox.backtest.records import GRADES
from tradebox.backtest.scheduler_run import Place, run_backtest
from tradebox.backtest.scheduler_wish import Wish
from tradebox.backtest.store import BacktestStore
from tradebox.backtest.store_reads import RunReader
from tradebox.config import Home, Settings
from tradebox.errors import VendorUnavailable
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.sim.yahoo.authority import authority_file, server_context
from tradebox.sim.yahoo.faults import yahoo_faults
from tradebox.sim.yahoo.server import Yahoo

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120), pytest.mark.xdist_group("yahoo-run")]

LATE = hours.session(480)
NOON_NS = LATE.open_ns + 150 * hours.MINUTE_NS
DAY_S = 86_400


@asynccontextmanager
async def yahoo(folder, monkeypatch):
    """Serve the stand-in's Yahoo, and lead every child's yfinance to it."""
    market, faults = market_at(NOON_NS), yahoo_faults()
    server = HttpServer("yahoo", Yahoo(market, "s", faults), tls=server_context(folder))
    _, port = await server.start()
    monkeypatch.setenv(ROUTE_VARIABLE, f"{port},{authority_file(folder)}")
    monkeypatch.setenv("HOME", str(folder))
    try:
        yield market, faults
    finally:
        await server.stop()


def universe(folder, *symbols):
    path = folder / "stocks.txt"
    path.write_text("\n".join(symbols))
    return str(path)


async def prepared(folder, wanted):
    return await asyncio.to_thread(prepare_apart, "yahoo:5y", wanted, folder / "bars")


async def test_a_run_from_fetch_to_grade(stores, pg_database, tmp_path, monkeypatch):
    wanted = universe(tmp_path, "AAPL", "NFLX", "SPY", "NOPE")
    dsn = dsn_of(stores.home, Login.RESEARCH, pg_database)
    home = Home(tmp_path / "home")
    home.root.mkdir(mode=0o700)
    settings = Settings.model_validate({"backtest": {"memory_budget": "4GiB"}})
    place = Place(home, settings, dsn, lambda: None)
    async with yahoo(tmp_path, monkeypatch) as (market, _):
        wish = Wish(data="yahoo:5y", universe=wanted, executor="serial")
        done = await run_backtest(place, wish)
    assert done.state == "done"
    assert done.spec.symbols == ("AAPL", "NFLX", "SPY")
    assert done.spec.data_source == "yahoo:5y@stand-in"
    assert "NOPE" in done.spec.refused
    bars = ArrayStore.open(done.spec.data_path).bars("AAPL")
    assert bars.adjusted
    known = market.bars("AAPL", DAY_S, NOON_NS, 2000)
    last = str(np.datetime64(int(bars.day[-1]), "D"))
    assert last == str(hours.session(479).day), "the running session's bar is left out"
    assert len(bars) == len(known)
    assert np.allclose(bars.close[-60:], [bar.close_micros / 1e6 for bar in known[-60:]], rtol=1e-6)
    async with BacktestStore(dsn) as store:
        reader = RunReader(store)
        rows = await reader.results(await reader.run_id("last"))
    assert {row["symbol"]: row["status"] for row in rows} == dict.fromkeys(done.spec.symbols, "ok")
    assert all(row["grade"] in GRADES and row["is_verified"] for row in rows)
    assert sum(row["trades"] for row in rows) > 0


async def test_a_stock_that_fails_is_skipped_and_a_vendor_that_fails_is_told(tmp_path, monkeypatch):
    async with yahoo(tmp_path, monkeypatch) as (_, faults):
        faults.set("rate_limit", symbol="AAPL")
        done = await prepared(tmp_path, universe(tmp_path, "AAPL", "SPY"))
        assert done.symbols == ("SPY",)
        assert "Yahoo did not answer: YFRateLimitError" in done.refused["AAPL"]
        faults.set("html_page")
        wanted = universe(tmp_path, *(f"S{number}" for number in range(9)))
        with pytest.raises(VendorUnavailable, match="5 stocks in a row failed"):
            await prepared(tmp_path, wanted)
