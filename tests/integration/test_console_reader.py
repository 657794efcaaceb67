"""The console's reader against the real stores, with the console's own logins."""

import asyncio
import json
import socket
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import numpy as np
import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from support.stock_results import batch, run_spec, stock_result
from tradebox.adapters.postgres.roles import CONSOLE_CONNECTIONS_MAX
from tradebox.backtest.store import BacktestStore
from tradebox.readmodel import Row, encode_row, key_of
from tradebox.readmodel.reader import RETRY_S_MAX, Reader
from tradebox.readmodel.research import R_BIN

S = 1_000_000_000
HELD = """
SELECT count(*) FROM pg_stat_activity
WHERE usename = 'console_ro' AND datname = current_database()
"""


def write_places(path, postgres, redis):
    path.write_text(
        json.dumps({"postgres": postgres, "redis": redis, "profile": "sim", "world": "SIMULATED"})
    )
    return path


@pytest.fixture
def console_file(tmp_path, pg_console_dsn, redis_url, redis_console_url):
    return write_places(tmp_path / "console.json", pg_console_dsn, redis_console_url)


async def put(url, name, row):
    async with Redis.from_url(url) as client:
        await client.set(key_of(name), encode_row(row), px=60_000)


@pytest.mark.asyncio
async def test_rows_by_name(console_file, redis_url):
    reader = Reader(console_file)
    row = Row(3, 4, time.monotonic_ns(), 1.0, {"plans": []})
    await put(redis_url, "plans", row)
    try:
        assert await reader.rows(["plans", "orders"]) == {"plans": row, "orders": None}
        assert (reader.waiting, reader.profile, reader.world) == ("", "sim", "SIMULATED")
    finally:
        await reader.close()


@pytest.mark.asyncio
async def test_history_of_a_plan_and_of_a_symbol(console_file, pg_dsn):
    trade = await asyncpg.connect(pg_dsn)
    await trade.execute(
        "INSERT INTO trade.plan (plan_id, account, symbol, side, state, version)"
        " VALUES ('P-1', 'paper', 'NVDA', 'BUY', 'open', 1)"
    )
    for number, kind in enumerate(("entry", "scale_out"), 1):
        await trade.execute(
            "INSERT INTO trade.plan_step (plan_id, step_no, run_id, kind, price, quantity, source,"
            " at_ns, reason) VALUES ('P-1', $1, 'r', $2, 101.5, 60, 'finnhub', $3, 'why')",
            number, kind, number,
        )  # fmt: skip
    for end_ns in range(5):
        await trade.execute(
            "INSERT INTO trade.bar VALUES ('NVDA', 60, $1, 10, 12, 9, 11, 100, 'sim')",
            end_ns * S,
        )
    await trade.execute(
        "INSERT INTO trade.event (at_ns, run_id, epoch, kind, plan_id) VALUES (1, 'r', 1, 'k',"
        " 'P-1'), (2, 'r', 1, 'k', NULL)"
    )
    await trade.close()
    reader = Reader(console_file)
    try:
        steps = await reader.steps("P-1")
        assert [(step.step_no, step.kind, step.price) for step in steps] == [
            (1, "entry", Decimal("101.5")),
            (2, "scale_out", Decimal("101.5")),
        ]
        bars = await reader.bars("NVDA", 60, 3 * S, 2)
        assert [bar.end_ns for bar in bars] == [2 * S, 3 * S]
        assert bars[0].close == 11
        assert len(await reader.events()) == 2
        assert [event.plan_id for event in await reader.events("P-1")] == ["P-1"]
        assert reader.history_waiting == ""
    finally:
        await reader.close()


@pytest.mark.asyncio
async def test_the_logins_of_the_console_cannot_write(pg_console_dsn, redis_console_url):
    connection = await asyncpg.connect(pg_console_dsn)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM console.plan")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("SELECT * FROM trade.plan")
    await connection.close()
    async with Redis.from_url(redis_console_url) as client:
        for words in (("SET", key_of("plans"), "x"), ("PUBLISH", "rm:v1", "x"), ("FLUSHALL",)):
            with pytest.raises(NoPermissionError):
                await client.execute_command(*words)


@pytest.mark.asyncio
async def test_a_run_that_begins_later_is_found(tmp_path, pg_console_dsn, redis_url,
                                                redis_console_url):  # fmt: skip
    path, told = tmp_path / "console.json", []
    reader = Reader(path, on_places=lambda places: told.append(places.addresses()))
    row = Row(1, 1, 1, 1.0, {})
    await put(redis_url, "header", row)
    try:
        assert await reader.rows(["header"]) == {"header": None}
        assert "nothing has run" in reader.waiting
        assert await reader.steps("P-1") is None
        write_places(path, pg_console_dsn, redis_console_url)
        assert await reader.rows(["header"]) == {"header": row}
        assert await reader.steps("P-1") == []
        assert len(told) == 1
        assert all(address.is_unix for address in told[0])
        path.unlink()
        assert await reader.rows(["header"]) == {"header": row}
    finally:
        await reader.close()


@pytest.mark.asyncio
async def test_away_stores_are_waited_for_with_a_growing_pause(tmp_path):
    now_s = 0.0
    path = write_places(
        tmp_path / "console.json",
        f"postgresql://console_ro:secret@/x?host={tmp_path}",
        f"unix://console:secret@{tmp_path}/none.sock",
    )
    reader = Reader(path, clock=lambda: now_s)
    pauses = []
    for _ in range(8):
        assert await reader.rows(["header"]) == {"header": None}
        assert await reader.events() is None
        pauses.append(reader.redis.retry_at_s - now_s)
        now_s = max(reader.redis.retry_at_s, reader.postgres.retry_at_s)
    assert pauses == sorted(pauses)
    assert pauses[-1] == RETRY_S_MAX
    for words in (reader.waiting, reader.history_waiting):
        assert words.startswith(("Redis", "PostgreSQL"))
        assert "secret" not in words
    await reader.close()


@pytest.mark.asyncio
async def test_it_comes_back_after_its_connections_were_cut(
    console_file, redis_url, redis_owner_url, pg_owner_dsn
):
    now_s = 0.0
    reader = Reader(console_file, clock=lambda: now_s)
    row = Row(1, 1, 1, 1.0, {})
    await put(redis_url, "header", row)
    try:
        assert await reader.rows(["header"]) == {"header": row}
        assert await reader.events() == []
        async with Redis.from_url(redis_owner_url) as owner:
            await owner.execute_command("CLIENT", "KILL", "USER", "console")
        boss = await asyncpg.connect(pg_owner_dsn)
        await boss.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'console_ro'"
            " AND datname = current_database()"
        )
        await boss.close()
        for _ in range(3):
            found, events = await reader.rows(["header"]), await reader.events()
            now_s += RETRY_S_MAX
            if found == {"header": row} and events == []:
                break
        assert found == {"header": row}
        assert events == []
    finally:
        await reader.close()


@pytest.mark.asyncio
async def test_a_store_that_never_answers_does_not_hold_the_console(tmp_path, monkeypatch):
    monkeypatch.setattr("tradebox.readmodel.reader.ANSWER_S_MAX", 0.2)
    deaf = Path(tmp_path, "deaf.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(deaf))
        listener.listen()
        path = write_places(
            tmp_path / "console.json",
            f"postgresql://console_ro:secret@/x?host={tmp_path}",
            f"unix://console:secret@{deaf}",
        )
        reader = Reader(path)
        assert await reader.rows(["header"]) == {"header": None}
        assert reader.waiting == "Redis: no answer in time"
        await reader.close()


@pytest.mark.asyncio
async def test_more_consoles_than_connections_share_them(tmp_path, pg_console_dsn, pg_owner_dsn):
    path = write_places(tmp_path / "c.json", pg_console_dsn, f"unix://x:y@{tmp_path}/z")
    readers = [Reader(path) for _ in range(CONSOLE_CONNECTIONS_MAX + 4)]
    boss = await asyncpg.connect(pg_owner_dsn)
    try:
        found = await asyncio.gather(*(reader.schema() for reader in readers))
        assert None not in found
        until = time.monotonic() + 30
        while await boss.fetchval(HELD):  # and each gives its own back
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        assert await readers[0].events() == []
    finally:
        await boss.close()
        for reader in readers:
            await reader.close()


@pytest.mark.asyncio
async def test_what_is_not_up_yet_is_said_in_words(tmp_path, pg_console_dsn):
    path = write_places(
        tmp_path / "console.json",
        f"postgresql://console_ro:secret@/x?host={tmp_path}",
        f"unix://console:secret@{tmp_path}/none.sock",
    )
    reader = Reader(path)
    assert await reader.rows(["header"]) == {"header": None}
    assert await reader.schema() is None
    assert (reader.waiting, reader.history_waiting) == (
        "Redis: not up yet",
        "PostgreSQL: not up yet",
    )
    await reader.close()
    database = pg_console_dsn.partition("?")[0].rpartition("/")[2]
    for wrong, why in (
        (pg_console_dsn.replace(f"/{database}?", "/nowhere?"), "its schema is being made"),
        (pg_console_dsn.replace("console_ro:", "console_ro:x"), "its logins are being made"),
    ):
        reader = Reader(write_places(tmp_path / "console.json", wrong, f"unix://x:y@{tmp_path}/z"))
        assert await reader.schema() is None
        assert why in reader.history_waiting
        await reader.close()


@pytest.mark.asyncio
async def test_the_schema_and_pages_of_the_journal(console_file, pg_dsn):
    trade = await asyncpg.connect(pg_dsn)
    await trade.execute(
        "INSERT INTO trade.event (at_ns, run_id, epoch, kind, symbol)"
        " SELECT n, 'r', 1, 'k', 'NVDA' FROM generate_series(1, 20) AS n"
    )
    await trade.close()
    reader = Reader(console_file)
    try:
        assert await reader.schema() >= 2
        newest = await reader.events(count=5)
        assert [event.at_ns for event in newest] == [16, 17, 18, 19, 20]
        older = await reader.events(count=5, before=newest[0].seq)
        assert [event.at_ns for event in older] == [11, 12, 13, 14, 15]
        assert [e.at_ns for e in await reader.events(after=newest[-2].seq)] == [20]
        assert await reader.events("AAPL") == []
        assert len(await reader.events("NVDA", after=newest[-2].seq)) == 1
    finally:
        await reader.close()


ORDER = """
INSERT INTO trade.broker_order (order_ref, plan_id, account, account_id, symbol, con_id, role, side,
    quantity, order_type, stop_price, tif, client_id, order_id, state, filled, run_id, epoch,
    created_at)
VALUES ($1, 'P-1', 'paper', 'SIM1', 'NVDA', 1, $2, 'BUY', 120, 'MKT', $3, 'GTC', 1, $4, $5, $6,
    'r1', 1, clock_timestamp() - $7::interval)
"""
EVENT = """
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, order_ref, data)
VALUES ($1, 'r1', 1, $2, 'paper', $3, $4)
"""
FILL = """
INSERT INTO trade.fill (exec_stem, exec_id, order_ref, account, perm_id, symbol, con_id, side,
    quantity, price, at_ns, run_id)
VALUES ($1, $1, 'o-1', 'paper', 1, 'NVDA', 1, 'BUY', $2, $3, 5, 'r1')
"""


@pytest.mark.asyncio
async def test_the_days_orders_with_their_way_and_price(console_file, pg_dsn):
    day = timedelta(days=1)
    trade = await asyncpg.connect(pg_dsn)
    for ref, role, stop, number, state, filled, age in (
        ("o-0", "entry", None, 1, "filled", 120, 2 * day),
        ("o-9", "stop", Decimal("99.5"), 2, "working", 0, 3 * day),
        ("o-1", "entry", None, 3, "filled", 120, day / 24),
    ):
        await trade.execute(ORDER, ref, role, stop, number, state, filled, age)
    for at_ns, kind, state in (
        (7, "order_intent", None), (8, "order_moved", "sending"), (9, "order_moved", "acked"),
        (9, "order_moved", "acked"), (11, "order_moved", "filled"),
    ):  # fmt: skip
        await trade.execute(EVENT, at_ns, kind, "o-1", json.dumps({"state": state}))
    for stem, quantity, price in (("e1", 100, Decimal("10.00")), ("e2", 20, Decimal("10.60"))):
        await trade.execute(FILL, stem, quantity, price)
    await trade.close()
    reader = Reader(console_file)
    try:
        old, new = await reader.orders()
    finally:
        await reader.close()
    assert (old["order_ref"], old["state"], old["path"]) == ("o-9", "working", [])
    assert old["reference_price"] == old["stop_price"] == Decimal("99.5")
    assert (new["order_ref"], new["first_ns"], new["at_ns"]) == ("o-1", 7, 11)
    assert new["path"] == ["sending", "acked", "filled"]
    assert (new["fill_quantity"], new["average_price"]) == (120, Decimal("10.1"))


@pytest.mark.asyncio
async def test_how_a_runs_trades_are_spread_over_r(console_file, pg_research_dsn):
    stocks = [stock_result("AAA"), stock_result("BBB", seed=2), stock_result("C", status="refused")]
    async with BacktestStore(pg_research_dsn) as store:
        spec = run_spec("run-1", [one.symbol for one in stocks])
        await store.create_run(spec, [spec.symbols])
        await store.save_batch("run-1", batch(0, stocks))
    reader = Reader(console_file)
    try:
        spread = await reader.spread("run-1")
        assert await reader.spread("no such run") == []
    finally:
        await reader.close()
    r = np.concatenate([one.trades["r"] for one in stocks])
    expected = np.unique(np.clip(np.floor(r / R_BIN), -12, 40).astype(int), return_counts=True)
    assert spread == list(zip(*(each.tolist() for each in expected), strict=True))
    assert sum(count for _, count in spread) == len(r) == 24
