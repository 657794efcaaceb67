"""`tradebox scan` and `plan approve` on a real database: from a stored grade to a plan."""

import asyncio
import dataclasses
import datetime as dt
import json
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from support.price_series import walk
from support.stock_results import run_spec, signed, stock_result
from support.stores import dsn_of
from tradebox.adapters.embedded import lease
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.backtest.data.arraystore import ArrayWriter
from tradebox.backtest.records import BatchResult
from tradebox.backtest.store import BacktestStore
from tradebox.cli.main import run_command_line
from tradebox.config.backtest import BacktestSettings
from tradebox.domain.clock_map import ClockMap
from tradebox.domain.market import Session
from tradebox.strategies.catalogue import STRATEGIES
from tradebox.supervision.clock import MonotonicClock

CONFIG = BacktestSettings().model_dump(mode="json")
HOUR_NS = 3_600_000_000_000
STRATEGY = STRATEGIES["mean_reversion"]
SETTING = {one.name: one.values[len(one.values) // 2] for one in STRATEGY.parameters}


def session(day):
    open_ns = int(day) * 24 * HOUR_NS + 14 * HOUR_NS
    text = (dt.date(1970, 1, 1) + dt.timedelta(days=int(day))).isoformat()
    return Session("XNYS", text, open_ns, open_ns + 6 * HOUR_NS, is_early_close=False)


class Desk:
    """A home with one graded stock whose setting speaks at the last close."""

    def __init__(self, folder, trade_dsn, research_dsn, capsys):
        self.trade_dsn, self.research_dsn, self.capsys = trade_dsn, research_dsn, capsys
        self.folder = folder
        self.bars = walk(4, 900, symbol="AAA")
        entry = STRATEGY.signals(self.bars, SETTING).entry
        self.bar = int(np.flatnonzero(entry[300:])[0]) + 300

    async def fill(self, grade):
        with ArrayWriter(self.folder / "data") as writer:
            writer.add(self.bars)
            path = writer.finish()
        spec = run_spec("run-1", ("AAA",), data_path=str(path), data_hash=path.name, config=CONFIG)
        made = dataclasses.replace(
            stock_result("AAA", grade=grade), strategy=STRATEGY.name, setting=SETTING
        )
        async with BacktestStore(self.research_dsn) as store:
            await store.create_run(spec, [("AAA",)])
            await store.save_batch("run-1", BatchResult(0, (signed(made),)))
            await store.finish_run("run-1", "done", {})
        pool = PgPool(self.trade_dsn, MonotonicClock())
        days = [*self.bars.day[self.bar - 20 :], *range(int(self.bars.day[-1]) + 1, 99_999)][:90]
        await PgReference(pool).put_sessions([session(day) for day in days])
        await pool.close()

    def stand_at(self, after_close_ns):
        """Let the market clock stand so long after the close of the bar that speaks."""
        now_ns = session(self.bars.day[self.bar]).close_ns + after_close_ns
        mono_ns = time.monotonic_ns()
        place = self.folder / "home" / "sim"
        place.mkdir(parents=True, exist_ok=True)
        (place / "clock.json").write_text(ClockMap(now_ns, mono_ns, 1, mono_ns).encode())

    async def expire(self):
        async with BacktestStore(self.research_dsn) as store, store.connection() as connection:
            await connection.execute("UPDATE backtest.run SET expires_at = clock_timestamp()")

    def ask(self, *words):
        code = run_command_line([*words, "--home", str(self.folder / "home"), "--json"])
        shown = self.capsys.readouterr()
        return code, json.loads(shown.out if code == 0 else shown.err)

    def text(self, *words):
        assert run_command_line([*words, "--home", str(self.folder / "home")]) == 0
        return self.capsys.readouterr().out.splitlines()


@pytest.fixture
def desk(stores, pg_dsn, pg_database, monkeypatch, tmp_path, capsys):
    research = dsn_of(stores.home, Login.RESEARCH, pg_database)

    @contextmanager
    def of_home(home, settings):
        yield SimpleNamespace(postgres_trade=pg_dsn, postgres_research=research)

    monkeypatch.setattr(lease, "stores", of_home)
    made = Desk(tmp_path, pg_dsn, research, capsys)
    made.stand_at(HOUR_NS)
    return made


def test_live_is_proposed_approved_and_shown(desk):
    asyncio.run(desk.fill("B"))
    code, told = desk.ask("scan", "--account", "live")
    assert (code, told["run_id"], told["grades"]) == (0, "run-1", ["A", "B"])
    (one,) = told["proposals"]
    assert (one["symbol"], one["state"], one["grade"]) == ("AAA", "proposed", "B")
    assert one["bar_day"] == session(desk.bars.day[desk.bar]).day
    code, again = desk.ask("scan", "--account", "live")
    assert again["proposals"] == []
    assert "one plan a stock" in again["skipped"][0]["why"]
    code, approved = desk.ask("plan", "approve", one["plan_id"])
    assert (code, approved["grade"], approved["state"]) == (0, "B", "requested")
    (plan,) = desk.ask("plan", "list")[1]
    assert (plan["state"], plan["origin"]) == ("requested", "strategy")
    assert plan["proposal"]["reasons"] == one["reasons"]
    head, line = desk.text("plan", "list")
    assert head.split() == ["PLAN", "ACCOUNT", "SYMBOL", "SIDE", "STATE", "ORIGIN", "WHY", "ENDED"]
    assert line.split()[:3] == [one["plan_id"], "live", "AAA"]
    assert line.split()[4:] == ["requested", "strategy", "·"]
    shown = desk.text("plan", "show", one["plan_id"])
    assert shown[:2] == [head, line]
    assert [f"  because {reason}" for reason in one["reasons"]] == shown[
        2 : 2 + len(one["reasons"])
    ]
    assert shown[-1].startswith("  approved ")


def test_paper_arms_itself_where_it_may_and_not_when_it_is_late(desk, monkeypatch):
    asyncio.run(desk.fill("C"))
    monkeypatch.setenv("TRADEBOX_PAPER_AUTO_ARM", "true")
    assert desk.ask("scan", "--account", "live")[1]["graded_stocks"] == 0
    (shown,) = desk.ask("scan", "--dry-run")[1]["proposals"]
    assert (shown["plan_id"], shown["state"]) == (None, "would be requested")
    opens_ns = session(desk.bars.day[desk.bar + 1]).open_ns
    desk.stand_at(opens_ns + HOUR_NS - session(desk.bars.day[desk.bar]).close_ns)
    (late,) = desk.ask("scan", "--dry-run")[1]["proposals"]
    assert (late["state"], late["is_late"]) == ("would be proposed", True)
    desk.stand_at(HOUR_NS)
    (armed,) = desk.ask("scan")[1]["proposals"]
    assert armed["state"] == "requested"
    assert desk.ask("plan", "list")[1][0]["state"] == "requested"


def test_what_cannot_be_scanned_is_told(desk):
    code, told = desk.ask("scan")
    assert (code, "no run is done yet" in told["error"]) == (3, True)
    asyncio.run(desk.fill("B"))
    assert desk.ask("scan", "--grade", "E")[0] == 2
    assert (
        "live needs at least B" in desk.ask("scan", "--account", "live", "--grade", "C")[1]["error"]
    )
    asyncio.run(desk.expire())
    code, told = desk.ask("scan")
    assert "expired" in told["error"]
    assert code == 4
