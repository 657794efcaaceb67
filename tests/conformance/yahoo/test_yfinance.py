"""The Yahoo stand-in under the unmodified yfinance, over TLS, by real host names.

yfinance is blocking and knows one session per process: it runs in a process of its own, which
asks what a test wants and prints the answers as JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.sim_market import market_at, run, trades
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.sim.yahoo.authority import authority_file, server_context
from tradebox.sim.yahoo.faults import yahoo_faults
from tradebox.sim.yahoo.server import Yahoo
from tradebox.sim.yahoo.streamer import Streamer

NOON_NS = hours.session(50).open_ns + 150 * hours.MINUTE_NS
DEADLINE_S = 50
ASKER = Path(__file__).parents[2] / "support" / "yfinance_asker.py"


class Desk:
    def __init__(self, address, faults, market, folder, streamer) -> None:
        self.address, self.faults, self.market, self.folder = address, faults, market, folder
        self.streamer = streamer

    async def ask(self, *lines):
        """Let yfinance evaluate each line; return the results."""
        authority = str(authority_file(self.folder))
        environment = {**os.environ, "HOME": str(self.folder), "SSL_CERT_FILE": authority}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ASKER),
            str(self.address[1]),
            str(authority_file(self.folder)),
            str(self.folder),
            *lines,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        async with asyncio.timeout(DEADLINE_S):
            output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return json.loads(output)


@asynccontextmanager
async def desk_at(folder):
    market, faults = market_at(NOON_NS), yahoo_faults()
    streamer = Streamer(market, faults)
    streamer.start()
    server = HttpServer(
        "yahoo",
        Yahoo(market, "s", faults),
        tls=server_context(folder),
        take_upgrade=streamer.serve,
    )
    address = await server.start()
    try:
        yield Desk(address, faults, market, folder, streamer)
    finally:
        streamer.stop()
        await server.stop()


@pytest.mark.asyncio
async def test_yfinance_reads_history_splits_dividends_and_errors(tmp_path):
    async with desk_at(tmp_path) as desk:
        market = desk.market
        daily, minutes, weeks, unknown, last = await desk.ask(
            "history('AAPL', period='1mo', interval='1d', auto_adjust=False)",
            "history('AAPL', period='1d', interval='5m')",
            "history('SPY', start='2016-01-04', end='2016-02-20', interval='1wk')",
            "history('NONE', period='5d')",
            "fast('AAPL')",
        )
        bars = market.bars("AAPL", 86_400, NOON_NS, 100)
        assert daily["index"][-2].startswith(str(hours.session(49).day))
        assert daily["Close"][-2] == bars[-1].close_micros / 1e6
        assert daily["Volume"][-2] == bars[-1].volume
        assert daily["Close"][-1] == market.day("AAPL").last_micros / 1e6
        assert len(daily["index"]) >= 19
        five = market.bars("AAPL", 300, NOON_NS, 30)
        assert minutes["Close"] == [bar.close_micros / 1e6 for bar in five]
        assert minutes["index"][0].endswith("09:30:00-04:00")
        assert len(weeks["index"]) >= 6
        assert unknown["index"] == []
        assert last == pytest.approx(market.day("AAPL").last_micros / 1e6, abs=1e-6)


@pytest.mark.asyncio
async def test_yfinance_sees_nulls_and_events(tmp_path):
    async with desk_at(tmp_path) as desk:
        desk.faults.set("split_event", symbol="AAPL", days_ago=3)
        desk.faults.set("dividend_event", symbol="AAPL", days_ago=8, amount=0.5)
        desk.faults.set("null_rows", symbol="SPY", every=2)
        shares, nulls = await desk.ask(
            "history('AAPL', period='1mo', auto_adjust=False)",
            "history('SPY', period='1mo', keepna=True)",
        )
        assert [one for one in shares["Stock Splits"] if one] == [2.0]
        assert [one for one in shares["Dividends"] if one] == [0.5]
        day = shares["Dividends"].index(0.5)
        assert shares["Adj Close"][day - 1] < shares["Close"][day - 1]
        assert shares["Adj Close"][day] == shares["Close"][day]
        assert nulls["Close"].count(None) >= 8


@pytest.mark.asyncio
async def test_yfinance_gets_through_the_consent_form(tmp_path):
    async with desk_at(tmp_path) as desk:
        desk.faults.set("consent")
        crumb, strategy = await desk.ask("crumb()", "strategy()")
        assert crumb
        assert strategy == "csrf"


@pytest.mark.asyncio
async def test_yfinance_raises_what_it_raises_at_the_real_vendor(tmp_path):
    async with desk_at(tmp_path) as desk:
        desk.faults.set("rate_limit", symbol="AAPL")
        desk.faults.set("html_page", symbol="SPY")
        desk.faults.set("server_error", symbol="NFLX")
        limited, page, down, missing = await desk.ask(
            "error('AAPL')", "error('SPY')", "error('NFLX')", "error('NONE')"
        )
        assert limited == "YFRateLimitError"
        assert page == "JSONDecodeError"
        assert down == "JSONDecodeError"
        assert missing in ("YFPricesMissingError", "YFTzMissingError", "HTTPError")


@pytest.mark.asyncio
async def test_yfinance_reads_the_stream(tmp_path):
    async with desk_at(tmp_path) as desk:
        asking = asyncio.ensure_future(desk.ask("live('AAPL')"))
        seen = []
        while not asking.done():
            if any("AAPL" in client.symbols for client in desk.streamer._clients):
                at_ns = desk.market.clock.at_ns + 5 * hours.SECOND_NS
                seen += [one for one in trades(run(desk.market, at_ns)) if one.symbol == "AAPL"]
                desk.streamer.flush()
            await asyncio.wait((asking,), timeout=0.01)
        (messages,) = asking.result()
        told = {(int(one["time"]), round(one["price"], 2)) for one in messages}
        made = {(one.event_ns // 10**6, one.price_micros / 1e6) for one in seen}
        assert len(messages) == 5
        assert told <= made
        assert {one["id"] for one in messages} == {"AAPL"}
        assert {"day_volume", "bid", "ask", "previous_close", "change_percent"} <= set(messages[0])
