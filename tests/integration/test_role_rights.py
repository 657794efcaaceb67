"""What each role may do in PostgreSQL; console_ro may look and nothing else."""

import asyncpg
import pytest

from support.stores import role_passwords
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.roles import CONSOLE_CONNECTIONS_MAX, ensure_roles

REFUSED = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.FeatureNotSupportedError,
)
FORBIDDEN = [
    "CREATE TABLE stray (x int)",
    "CREATE TABLE console.stray (x int)",
    "CREATE TEMP TABLE stray (x int)",
    "CREATE SCHEMA stray",
    "CREATE FUNCTION stray() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW public.stray AS SELECT 1",
    "CREATE EXTENSION pgcrypto",
    "CREATE ROLE stray",
    "CREATE DATABASE stray",
    "CREATE PUBLICATION stray",
    "CREATE EVENT TRIGGER stray ON sql_drop EXECUTE FUNCTION trade.refuse_change()",
    "INSERT INTO trade.run (run_id, boot_epoch, profile, version) VALUES ('x', 1, 'sim', '')",
    "INSERT INTO console.plan (plan_id) VALUES ('x')",
    "UPDATE console.plan SET state = 'closed'",
    "DELETE FROM console.alert",
    "TRUNCATE trade.event",
    "SELECT * FROM trade.plan",
    "SELECT * FROM trade.event",
    "SELECT nextval('trade.event_seq_seq')",
    "DROP VIEW console.plan",
    "ALTER VIEW console.plan RENAME TO other",
    "COMMENT ON VIEW console.plan IS 'x'",
    "DO $$ BEGIN LOCK TABLE console.plan IN EXCLUSIVE MODE; END $$",
    "DO $$ BEGIN LOCK TABLE trade.plan IN ACCESS SHARE MODE; END $$",
    "SELECT * FROM console.plan FOR UPDATE",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_lock_shared(1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_advisory_xact_lock_shared(1)",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_try_advisory_lock_shared(1, 2)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT lo_creat(-1)",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_open(1, 131072)",
    "SELECT lo_put(1, 0, 'x')",
    "SELECT lo_get(1)",
    "SELECT lo_truncate(0, 1)",
    "SELECT lo_unlink(1)",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_export(1, '/tmp/stray')",
    "SELECT lowrite(0, 'x')",
    "SELECT loread(0, 1)",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "SELECT pg_switch_wal()",
    "SELECT pg_stat_reset()",
    "SELECT pg_reload_conf()",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "COPY console.plan TO '/tmp/stray'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "ALTER DATABASE {database} SET work_mem = '1GB'",
    "ALTER ROLE trade_rw SET work_mem = '1GB'",
    "ALTER ROLE trade_rw PASSWORD 'x'",
    "ALTER ROLE console_ro CONNECTION LIMIT -1",
    "ALTER ROLE console_ro CREATEDB",
    "ALTER ROLE ALL SET work_mem = '1GB'",
    "GRANT trade_rw TO console_ro",
    "SET ROLE trade_rw",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET session_replication_role = replica",
    "SET log_statement = 'none'",
    "CHECKPOINT",
    "LOAD 'plpgsql'",
]
WITHOUT_EFFECT = [
    "GRANT SELECT ON console.plan TO PUBLIC",
    "REVOKE ALL ON console.plan FROM trade_rw",
    "VACUUM pg_catalog.pg_class",
]
CATALOGUE = """
SELECT (SELECT count(*) FROM pg_class) || '/' || (SELECT count(*) FROM pg_proc) || '/'
    || (SELECT md5(string_agg(relacl::text, '' ORDER BY oid)) FROM pg_class) || '/'
    || (SELECT count(*) FROM pg_roles) || '/' || (SELECT count(*) FROM pg_namespace) || '/'
    || (SELECT count(*) FROM pg_largeobject_metadata) || '/'
    || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
"""


@pytest.mark.asyncio
async def test_console_ro_can_change_nothing(pg_console_dsn, pg_owner_dsn, pg_database):
    async with connected(pg_owner_dsn) as owner, connected(pg_console_dsn) as console:
        before = await owner.fetchval(CATALOGUE)
        for unlocked in (False, True):
            if unlocked:
                await console.execute("SET default_transaction_read_only = off")
                await console.execute("SET statement_timeout = 0")
            allowed = []
            for template in FORBIDDEN:
                try:
                    await console.execute(template.replace("{database}", pg_database))
                except REFUSED:
                    continue
                except asyncpg.PostgresError as error:
                    allowed.append(f"{template}: {type(error).__name__} {error}")
                else:
                    allowed.append(template)
            assert allowed == []
        for statement in WITHOUT_EFFECT:
            await console.execute(statement)
        assert await owner.fetchval(CATALOGUE) == before


@pytest.mark.asyncio
async def test_console_ro_reads_every_view_and_starts_read_only(pg_console_dsn):
    async with connected(pg_console_dsn) as console:
        names = await console.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'v'"
            " AND relnamespace = 'console'::regnamespace"
        )
        assert len(names) >= 9
        for row in names:
            await console.fetch(f"SELECT * FROM console.{row['relname']}")
        assert await console.fetchval("SHOW default_transaction_read_only") == "on"
        assert await console.fetchval("SHOW statement_timeout") == "5s"
        assert await console.fetchval("SELECT max(number) FROM trade_meta.migration") >= 1


@pytest.mark.asyncio
async def test_console_ro_has_few_connections(pg_console_dsn):
    made = []
    try:
        for _ in range(CONSOLE_CONNECTIONS_MAX):
            made.append(await asyncpg.connect(pg_console_dsn))  # noqa: PERF401 - kept on failure
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(pg_console_dsn)
    finally:
        for connection in made:
            await connection.close()


@pytest.mark.asyncio
async def test_what_a_role_may_change_of_itself_is_undone_by_the_next_start(stores, pg_owner_dsn):
    query = "SELECT rolconfig::text || rolconnlimit FROM pg_roles WHERE rolname = 'console_ro'"
    async with connected(pg_owner_dsn) as owner:
        before = await owner.fetchval(query)
        await owner.execute("ALTER ROLE console_ro SET default_transaction_read_only = off")
        await owner.execute("ALTER ROLE console_ro SET work_mem = '1GB'")
        assert await owner.fetchval(query) != before
        await ensure_roles(owner, role_passwords(stores.home))
        assert await owner.fetchval(query) == before


@pytest.mark.asyncio
async def test_the_trader_may_lock_and_write_but_not_make_tables(pg_dsn):
    async with connected(pg_dsn) as connection:
        assert await connection.fetchval("SELECT pg_try_advisory_lock(7)")
        assert await connection.fetchval("SELECT pg_advisory_unlock(7)")
        for statement in ("CREATE TABLE trade.stray ()", "CREATE TEMP TABLE stray ()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


@pytest.mark.asyncio
async def test_research_writes_its_own_schema_and_reads_bars_only(pg_research_dsn):
    async with connected(pg_research_dsn) as connection:
        await connection.execute("CREATE TABLE research.grade (x int)")
        await connection.fetch("SELECT * FROM trade.bar")
        for statement in (
            "SELECT * FROM trade.plan",
            "DELETE FROM trade.bar",
            "INSERT INTO trade.event (at_ns, run_id, epoch, kind) VALUES (1, 'x', 1, 'x')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
