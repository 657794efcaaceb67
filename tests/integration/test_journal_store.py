"""The journal in PostgreSQL: one commit per call, append-only, runs recorded once."""

import asyncpg
import pytest

from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.journal import PgJournal
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.events import AlertRaised
from tradebox.ports.journal import JournalEvent, RunOpened
from tradebox.supervision.clock import MonotonicClock

RUN = RunOpened("run-1", 7, "sim", "0.1.0")


@pytest.fixture
def journal(pg_dsn):
    return PgJournal(PgPool(pg_dsn, MonotonicClock()), RUN.run_id)


async def rows_of(dsn, query):
    async with connected(dsn) as connection:
        return [tuple(row) for row in await connection.fetch(query)]


@pytest.mark.asyncio
async def test_events_of_one_call_keep_their_order_and_data(journal, pg_dsn):
    events = [
        JournalEvent("sent", at, 3, "paper", "P1", f"ref-{at}", "SPY", {"n": at, "s": "é"})
        for at in range(50)
    ]
    await journal.append(events)
    await journal.append([])
    query = "SELECT at_ns, order_ref, data, run_id FROM trade.event ORDER BY seq"
    rows = await rows_of(pg_dsn, query)
    assert rows == [(at, f"ref-{at}", {"n": at, "s": "é"}, "run-1") for at in range(50)]
    await journal.close()


@pytest.mark.asyncio
async def test_a_call_with_one_bad_event_writes_nothing(journal, pg_dsn):
    good = JournalEvent("sent", 1, 1)
    with pytest.raises(asyncpg.DataError):
        await journal.append([good, JournalEvent("sent", 2**70, 1)])
    with pytest.raises(asyncpg.PostgresError):
        await journal.append([good, JournalEvent("nul\0", 1, 1)])
    assert await rows_of(pg_dsn, "SELECT seq FROM trade.event") == []
    await journal.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trade.event SET kind = 'x'",
        "DELETE FROM trade.event",
        "TRUNCATE trade.event",
        "DROP TABLE trade.event",
        "ALTER TABLE trade.event DISABLE TRIGGER ALL",
    ],
)
async def test_the_journal_cannot_be_rewritten_by_its_writer(journal, pg_dsn, statement):
    await journal.append([JournalEvent("sent", 1, 1)])
    async with connected(pg_dsn) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    assert await rows_of(pg_dsn, "SELECT kind FROM trade.event") == [("sent",)]
    await journal.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("verb", ["UPDATE trade.event SET kind = 'x'", "TRUNCATE trade.event"])
async def test_not_even_the_owner_rewrites_it_by_accident(journal, pg_owner_dsn, verb):
    await journal.append([JournalEvent("sent", 1, 1)])
    async with connected(pg_owner_dsn) as connection:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(verb)
    await journal.close()


@pytest.mark.asyncio
async def test_a_run_is_opened_once_and_closed_once(journal, pg_dsn):
    await journal.open_run(RUN)
    await journal.open_run(RUN)
    await journal.close_run()
    query = "SELECT run_id, boot_epoch, profile, ended_at FROM trade.run"
    first = await rows_of(pg_dsn, query)
    await journal.close_run()
    assert await rows_of(pg_dsn, query) == first
    assert first[0][:3] == ("run-1", 7, "sim")
    assert first[0][3] is not None
    await journal.close()


@pytest.mark.asyncio
async def test_rows_for_people_are_written_in_one_commit(journal, pg_dsn):
    alert = AlertRaised("warning", "feed", "gap", "paper", "SPY", (("gap_s", "3"),), 5)
    await journal.record([alert, alert])
    await journal.record([])
    alerts = "SELECT at_ns, severity, kind, text, account, symbol, fields FROM trade.alert"
    assert (
        await rows_of(pg_dsn, alerts)
        == [(5, "warning", "feed", "gap", "paper", "SPY", {"gap_s": "3"})] * 2
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await journal.record([alert, AlertRaised("loud", "k", "t")])
    assert len(await rows_of(pg_dsn, alerts)) == 2
    await journal.close()
