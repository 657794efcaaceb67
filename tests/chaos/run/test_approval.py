"""A stored grade, a scan and a person's yes open a live position in a running engine."""

import dataclasses
import datetime as dt
import time

import numpy as np
import pytest

from support.price_series import walk
from support.run_bench import Bench, bench, eventually, in_thread
from support.stock_results import run_spec, signed, stock_result
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.marketclock import AffineMarketClock
from tradebox.backtest.data.arraystore import ArrayWriter
from tradebox.backtest.records import BatchResult
from tradebox.backtest.store import BacktestStore
from tradebox.config import Home
from tradebox.config.backtest import BacktestSettings
from tradebox.errors import ExitCode
from tradebox.strategies.catalogue import STRATEGIES

pytestmark = [pytest.mark.xdist_group("whole-run"), pytest.mark.timeout(240)]

CONFIG = """
[sim]
demo_plans = false
speed = 1
[live]
first_day_cap_waived = true
[live.limits]
order_quantity_max = 4
"""
RUN_ID, SYMBOL = "20260101-100000-cafe", "SPY"
STRATEGY = STRATEGIES["mean_reversion"]
SETTING = {one.name: one.values[len(one.values) // 2] for one in STRATEGY.parameters}
CLOSED = "SELECT max(day) AS day FROM trade.session WHERE close_ns <= $1"
EXPIRES = "UPDATE backtest.run SET expires_at = clock_timestamp() + $1::interval"


def speaking_bars(last_day: dt.date):
    """Return made-up bars whose last one is of a day and makes the strategy say: buy."""
    bars = walk(4, 900, symbol=SYMBOL)
    entry = STRATEGY.signals(bars, SETTING).entry
    bars = bars.cut(int(np.flatnonzero(entry[300:] > 0)[0]) + 301)
    ends = (last_day - dt.date(1970, 1, 1)).days
    days = (ends - np.arange(len(bars))[::-1]).astype(np.int32)
    scale = 200.0 / bars.close[-1]
    prices = {name: getattr(bars, name) * scale for name in ("open", "high", "low", "close")}
    return dataclasses.replace(bars, day=days, **prices)


async def store_a_grade(box: Bench, bars, grade: str) -> None:
    with ArrayWriter(Home(box.home).bars_dir) as writer:
        writer.add(bars)
        path = writer.finish()
    config = BacktestSettings().model_dump(mode="json")
    made = dataclasses.replace(
        stock_result(SYMBOL, grade=grade), strategy=STRATEGY.name, setting=SETTING
    )
    spec = run_spec(RUN_ID, (SYMBOL,), data_path=str(path), data_hash=path.name, config=config)
    async with BacktestStore(box.dsn(Login.RESEARCH)) as store:
        await store.create_run(spec, [(SYMBOL,)])
        await store.save_batch(RUN_ID, BatchResult(0, (signed(made),)))
        await store.finish_run(RUN_ID, "done", {})


async def expire(box: Bench, in_days: int) -> None:
    async with (
        BacktestStore(box.dsn(Login.RESEARCH)) as store,
        store.connection() as connection,
    ):
        await connection.execute(EXPIRES, dt.timedelta(days=in_days))


def plan_of(box: Bench, plan_id: str) -> dict:
    return box.json("plan", "show", plan_id)


def test_a_grade_of_b_and_a_persons_yes_open_a_live_position():
    with bench() as box:
        (box.home / "config.toml").write_text(CONFIG)
        run = box.run().ready()
        run.when(
            lambda s: s["accounts"] and all(a["link"] == "CLEAN" for a in s["accounts"]),
            "both links CLEAN",
        )
        eventually(lambda: box.rows("SELECT 1 FROM trade.account_day"), "the accounts' values")
        now_ns = AffineMarketClock(box.home / "sim" / "clock.json").now_ns()
        closed = eventually(lambda: box.rows(CLOSED, now_ns)[0]["day"], "the trading hours")
        in_thread(store_a_grade(box, speaking_bars(closed), "B"))

        told = box.json("scan", "--account", "live")
        assert told["grades"] == ["A", "B"]
        (proposal,) = told["proposals"]
        assert (proposal["state"], proposal["grade"], proposal["side"]) == ("proposed", "B", "long")
        plan_id = proposal["plan_id"]

        in_thread(expire(box, -1))
        refused = box.command("plan", "approve", plan_id, "--json")
        assert refused.returncode == ExitCode.REFUSED
        assert plan_of(box, plan_id)["plan"]["state"] == "proposed"
        in_thread(expire(box, 1))

        settled_s = time.monotonic() + 2.0  # no controller takes a proposal up by itself
        eventually(lambda: time.monotonic() > settled_s, "two quiet seconds")
        assert plan_of(box, plan_id)["orders"] == []

        approved = box.json("plan", "approve", plan_id)
        assert (approved["grade"], approved["run_id"]) == ("B", RUN_ID)
        run.wait_event("PlanStepTaken", plan_id=plan_id, kind="entry")
        size = proposal["size"]
        shown = run.when(
            lambda s: [p for p in s["positions"] if p["account"] == "live" and p["covered"]],
            "a covered position on live",
        )
        (position,) = [p for p in shown["positions"] if p["account"] == "live"]
        assert (position["symbol"], position["quantity"]) == (SYMBOL, size)
        assert position["stop_quantity"] == size
        story = plan_of(box, plan_id)
        assert (story["plan"]["origin"], story["plan"]["state"]) == ("strategy", "open")
        assert story["plan"]["approved_at"] is not None
        approvals = box.json("journal", "--kind", "plan_approved")
        assert [(one["plan_id"], one["data"]["grade"]) for one in approvals] == [(plan_id, "B")]
