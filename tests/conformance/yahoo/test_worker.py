"""Our use of yfinance against the stand-in's Yahoo, beside the naive use of it.

Each trap is shown twice in one test: the naive use falls in, ours does not.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.finnhub_double import eventually
from support.sim_market import market_at
from tradebox.adapters.yahoo.quotes import YahooQuotes
from tradebox.adapters.yahoo.worker import YahooWorker
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import NoQuote, NoQuoteReason, Quote
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.sim.yahoo.authority import authority_file, server_context
from tradebox.sim.yahoo.faults import yahoo_faults
from tradebox.sim.yahoo.handshake import take_faults
from tradebox.sim.yahoo.server import CHART, Yahoo
from tradebox.sim.yahoo.streamer import Streamer
from tradebox.supervision.clock import MonotonicClock

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180), pytest.mark.xdist_group("yahoo")]

NOON_NS = hours.session(50).open_ns + 150 * hours.MINUTE_NS
NAIVE = Path(__file__).parents[2] / "support" / "yfinance_naive.py"
PATIENT_S = 60.0


class Desk:
    """The stand-in's Yahoo, and workers that are led to it."""

    def __init__(self, folder):
        self.folder, self.market, self.faults = folder, market_at(NOON_NS), yahoo_faults()
        self.handler = Yahoo(self.market, "s", self.faults)
        self.charts = []
        self.exchange = ""
        self.workers = []

    def take(self, request):
        if request.path.startswith(CHART):
            self.charts.append(request.path.removeprefix(CHART))
        answer = self.handler(request)
        if self.exchange and isinstance(answer.data, str):
            answer = replace(answer, data=answer.data.replace('"NMS"', f'"{self.exchange}"'))
        return answer

    def worker(self, **fields):
        route = f"{self.port},{authority_file(self.folder)}"
        fields.setdefault("answer_s_max", PATIENT_S)
        self.workers.append(YahooWorker(MonotonicClock(), route=route, **fields))
        return self.workers[-1]

    def naive(self):
        cache = self.folder / "naive"
        cache.mkdir()
        place = (str(self.port), str(authority_file(self.folder)), str(cache))
        return self.worker(command=(sys.executable, str(NAIVE), *place))


@contextlib.asynccontextmanager
async def open_desk(folder):
    desk = Desk(folder)
    streamer = Streamer(desk.market, desk.faults)
    streamer.start()
    tls = server_context(folder)
    take_faults(tls, folder / "stranger", desk.faults)
    server = HttpServer("yahoo", desk.take, tls=tls, take_upgrade=streamer.serve)
    _, desk.port = await server.start()
    desk.streamer = streamer
    try:
        yield desk
    finally:
        for worker in desk.workers:
            await worker.close()
        streamer.stop()
        await server.stop()


async def test_quotes_carry_their_time_and_what_yahoo_says_of_delay(tmp_path):
    async with open_desk(tmp_path) as desk:
        port = YahooQuotes(desk.worker())
        day = desk.market.day("AAPL")
        quote = await port.quote("AAPL")
        assert quote == Quote(
            "AAPL", day.last_micros, day.previous_close_micros, day.last_ns // 10**9 * 10**9
        )
        assert await port.quote("NOPE") == NoQuote("NOPE", NoQuoteReason.EMPTY)
        desk.exchange = "LSE"
        assert (await port.quote("AAPL")).delay_s == 900, "London is told late"
        desk.exchange = ""
        desk.faults.set("stale_time", symbol="AAPL", age_s=1200)
        assert (await port.quote("AAPL")).event_ns < day.last_ns - 1100 * 10**9
        desk.faults.clear()
        desk.faults.set("rate_limit", symbol="AAPL")
        assert (await port.quote("AAPL")).reason is NoQuoteReason.THROTTLED
        for fault in ("server_error", "html_page", "truncated", "reset", "missing_zone"):
            desk.faults.clear()
            desk.faults.set(fault, symbol="SPY")
            with pytest.raises(VendorUnavailable):
                await port.quote("SPY")
        desk.faults.clear()
        assert isinstance(await port.quote("NFLX"), Quote)
        assert desk.workers[0].started == 1, "no fault of the vendor cost the process"


async def test_nobody_else_is_taken_for_yahoo(tmp_path):
    async with open_desk(tmp_path) as desk:
        port = YahooQuotes(desk.worker())
        for fault in ("tls_certificate", "tls_refuse"):
            desk.faults.clear()
            desk.faults.set(fault)
            with pytest.raises(VendorUnavailable):
                await port.quote("NFLX")
        desk.faults.clear()
        assert isinstance(await port.quote("NFLX"), Quote)


async def test_history_leaves_the_running_session_out(tmp_path):
    async with open_desk(tmp_path) as desk:
        told = await desk.worker().ask(do="history", symbol="AAPL", period="1y")
        assert told["days"][-1] == str(hours.session(49).day)
        assert told["next_close_s"] == hours.session(50).close_ns / 10**9
        bars = desk.market.bars("AAPL", 86_400, NOON_NS, 5)
        assert told["columns"]["close"][-1] == pytest.approx(bars[-1].close_micros / 1e6)
        assert len(told["columns"]["volume"]) == len(told["days"])


async def test_trap_one_a_poisoned_cache(tmp_path):
    """yfinance keeps an error page as the answer to its first question, for ever."""
    async with open_desk(tmp_path) as desk:
        naive, ours = desk.naive(), desk.worker()
        desk.faults.set("server_error", symbol="AAPL")
        assert (await naive.ask(do="loud", symbol="AAPL"))["error"]
        assert (await ours.ask(do="history", symbol="AAPL", period="1y"))["no"] == "failed"
        desk.faults.clear()

        before = len(desk.charts)
        again = await naive.ask(do="loud", symbol="AAPL")
        assert again["bars"] == 0, "the naive use fails on though Yahoo is well"
        assert len(desk.charts) == before, "and does not even ask"

        assert (await ours.ask(do="history", symbol="AAPL", period="1y"))["days"]
        assert len(desk.charts) > before


async def test_trap_two_a_hidden_outage(tmp_path):
    """yfinance tells an outage and an unknown stock alike: no bars, no error."""
    async with open_desk(tmp_path) as desk:
        naive, ours = desk.naive(), desk.worker()
        unknown = await naive.ask(do="quiet", symbol="NOPE")
        assert (await ours.ask(do="history", symbol="NOPE", period="1y"))["no"] == "empty"
        for fault in ("server_error", "html_page", "reset"):
            desk.faults.clear()
            desk.faults.set(fault, symbol="SPY")
            assert await naive.ask(do="quiet", symbol="SPY") == unknown == {"bars": 0, "error": ""}
            assert (await ours.ask(do="history", symbol="SPY", period="1y"))["no"] == "failed"


async def test_trap_three_a_frozen_loop(tmp_path):
    """yfinance blocks the loop that calls it; our loop goes on and replaces what hangs."""
    async with open_desk(tmp_path) as desk:
        naive, ours = desk.naive(), desk.worker(answer_s_max=1.5)
        desk.faults.set("slow", symbol="AAPL", delay_s=2)
        blocked = await naive.ask(do="beside", symbol="AAPL")
        assert blocked["before"] > 0
        assert blocked["beats"] == 0, "nothing ran beside the naive use"
        desk.faults.clear()

        port = YahooQuotes(ours)
        ours._answer_s_max = PATIENT_S
        assert isinstance(await port.quote("SPY"), Quote)
        pid = ours.pid
        os.kill(pid, signal.SIGSTOP)  # nothing inside can end this, no timeout of its own either
        ours._answer_s_max = 0.5
        beats = 0
        asking = asyncio.ensure_future(port.quote("SPY"))
        while not asking.done():
            beats += 1
            await asyncio.wait((asking,), timeout=0.01)
        with pytest.raises(VendorUnavailable, match="killed"):
            asking.result()
        assert beats > 1, "our loop went on"
        assert not Path(f"/proc/{pid}").exists()
        ours._answer_s_max = PATIENT_S
        assert isinstance(await port.quote("SPY"), Quote)
        assert ours.started == 2


async def test_trap_three_again_its_own_stream(tmp_path):
    """yfinance's AsyncWebSocket spins when the server closes in order: the whole loop stands."""
    async with open_desk(tmp_path) as desk:
        environment = {**os.environ, "SSL_CERT_FILE": str(authority_file(tmp_path))}
        (tmp_path / "naive").mkdir()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(NAIVE),
            str(desk.port),
            str(authority_file(tmp_path)),
            str(tmp_path / "naive"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
        )
        try:
            assert json.loads(await process.stdout.readline())["ready"]
            process.stdin.write(b'{"id": 1, "do": "stream"}\n')
            clients = desk.streamer._clients
            await eventually(lambda: any("AAPL" in one.symbols for one in clients), 60.0)
            assert json.loads(await process.stdout.readline())["beat"]
            desk.faults.set("stream_close", code=1000)
            said = await _until_silent(process.stdout)
            assert b"ended" not in said, "it neither ends nor goes on"
            assert process.returncode is None

            port = YahooQuotes(desk.worker())
            assert isinstance(await port.quote("AAPL"), Quote), "ours uses no such stream"
        finally:
            process.kill()
            await process.wait()


async def _until_silent(stream, silent_s=3.0):
    """Read lines until none comes for so long; return the last one."""
    last = b""
    while True:
        try:
            line = await asyncio.wait_for(stream.readline(), silent_s)
        except TimeoutError:
            return last
        if not line:
            return last
        last = line
