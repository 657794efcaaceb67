"""What the console's two logins could do if somebody took them: the catalogues, walked whole.

PostgreSQL: every relation, sequence, schema, database and function there is; functions that could
have an effect are called. Valkey: every command and subcommand the server has.
"""

import asyncio

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tradebox.adapters.postgres.connect import connected

OWN_SESSION_ONLY = {"pg_catalog.pg_settings"}
"""UPDATE on it is SET: it changes the session that does it, and no other."""
SAMPLES = {
    "int4": "1", "int8": "1", "int2": "1::int2", "oid": "1::oid", "text": "'x'", "bool": "true",
    "name": "'x'::name", "regclass": "'pg_class'::regclass", "float8": "0.01",
    "bytea": "'x'::bytea", "cstring": "'x'",
    "_text": "'{x}'", "timestamptz": "now()", "interval": "interval '1 ms'",
    "xid": "'1'::xid", "xid8": "'1'::xid8", "pg_lsn": "'0/0'::pg_lsn", "json": "'{}'::json",
    "jsonb": "'{}'::jsonb", "inet": "'127.0.0.1'::inet", "char": "'x'",
}  # fmt: skip
FINGERPRINT = """
SELECT json_build_object(
  'classes', (SELECT count(*) FROM pg_class WHERE relpersistence <> 't'),
  'functions', (SELECT count(*) FROM pg_proc),
  'rights', (SELECT md5(string_agg(relacl::text, '' ORDER BY oid)) FROM pg_class),
  'roles', (SELECT md5(string_agg(rolname || rolconnlimit, '' ORDER BY oid)) FROM pg_roles),
  'role settings', (SELECT md5(coalesce(string_agg(setconfig::text, ''), ''))
                    FROM pg_db_role_setting),
  'large objects', (SELECT count(*) FROM pg_largeobject_metadata),
  'locks of others', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
  'slots', (SELECT count(*) FROM pg_replication_slots),
  'settings', (SELECT md5(string_agg(name || reset_val, '' ORDER BY name)) FROM pg_settings
               WHERE name NOT IN ('transaction_read_only')),
  'events', (SELECT count(*) FROM trade.event), 'plans', (SELECT count(*) FROM trade.plan),
  'sequences', (SELECT md5(coalesce(string_agg(sequencename || coalesce(last_value, 0), ''), ''))
                FROM pg_sequences),
  'wal file', (SELECT timeline_id FROM pg_control_checkpoint()))::text
"""


NONE = """
SELECT nspname FROM pg_namespace WHERE has_schema_privilege('console_ro', oid, 'CREATE');
SELECT datname FROM pg_database WHERE has_database_privilege('console_ro', oid, 'CREATE, TEMP');
SELECT spcname FROM pg_tablespace WHERE has_tablespace_privilege('console_ro', oid, 'CREATE');
SELECT lanname FROM pg_language WHERE lanname NOT IN ('internal', 'c', 'sql', 'plpgsql')
    AND has_language_privilege('console_ro', oid, 'USAGE');
SELECT srvname FROM pg_foreign_server WHERE has_server_privilege('console_ro', oid, 'USAGE');
SELECT oid FROM pg_class WHERE relowner = 'console_ro'::regrole;
SELECT oid FROM pg_proc WHERE proowner = 'console_ro'::regrole;
SELECT parname FROM pg_parameter_acl
    WHERE has_parameter_privilege('console_ro', parname, 'SET, ALTER SYSTEM');
SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'console_ro'::regrole;
SELECT rolname FROM pg_roles WHERE rolname = 'console_ro'
    AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
"""
"""Each of these finds nothing."""


@pytest.mark.asyncio
async def test_no_relation_can_be_written(pg_owner_dsn):
    query = """
    SELECT n.nspname || '.' || c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (
      has_table_privilege('console_ro', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
      OR has_table_privilege('console_ro', c.oid, 'REFERENCES, TRIGGER')
      OR has_table_privilege('console_ro', c.oid, 'MAINTAIN')
      OR has_any_column_privilege('console_ro', c.oid, 'INSERT, UPDATE, REFERENCES'))
    """
    async with connected(pg_owner_dsn) as owner:
        assert await owner.fetchval("SELECT count(*) FROM pg_class") > 300
        assert {row["name"] for row in await owner.fetch(query)} <= OWN_SESSION_ONLY
        sequences = await owner.fetch(
            "SELECT relname FROM pg_class WHERE CASE WHEN relkind = 'S'"
            " THEN has_sequence_privilege('console_ro', oid, 'USAGE, UPDATE, SELECT') END"
        )
        assert sequences == []


@pytest.mark.asyncio
async def test_nothing_can_be_made_or_owned(pg_owner_dsn):
    async with connected(pg_owner_dsn) as owner:
        for query in NONE.split(";"):
            assert await owner.fetch(query) == [], query


@pytest.mark.asyncio
async def test_it_reads_views_and_nothing_below_them(pg_owner_dsn):
    query = """
    SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f')
      AND has_table_privilege('console_ro', c.oid, 'SELECT')
      AND has_schema_privilege('console_ro', n.oid, 'USAGE')
    """
    async with connected(pg_owner_dsn) as owner:
        schemas = {row["nspname"] for row in await owner.fetch(query)}
    assert schemas == {"console", "trade_meta", "pg_catalog", "information_schema"}


@pytest.mark.asyncio
async def test_no_function_that_it_may_call_has_an_effect(pg_owner_dsn, pg_console_dsn):
    query = """
    SELECT p.oid::regprocedure::text AS signature, p.proname AS name, n.nspname AS schema,
           array(SELECT typname::text FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, at)
                 JOIN pg_type ON pg_type.oid = a.t ORDER BY at) AS types
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.provolatile = 'v' AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype
      AND has_function_privilege('console_ro', p.oid, 'EXECUTE')
      AND has_schema_privilege('console_ro', n.oid, 'USAGE') ORDER BY 1
    """
    async with connected(pg_owner_dsn) as owner, connected(pg_console_dsn) as console:
        functions = await owner.fetch(query)
        before = await owner.fetchval(FINGERPRINT)
        await console.execute("SET default_transaction_read_only = off")
        await console.execute("SET statement_timeout = 250")
        called, told = 0, []
        for each in functions:
            if each["name"] in ("pg_sleep", "pg_sleep_for", "pg_sleep_until"):
                continue
            arguments = [SAMPLES.get(name) for name in each["types"]]
            if None in arguments:
                continue
            call = f"SELECT {each['schema']}.{each['name']}({', '.join(arguments)})"
            try:
                await console.execute(call)
            except asyncpg.PostgresError:
                continue
            called += 1
            told.append(each["signature"])
        assert called >= 20, "the walk calls something"
        assert await owner.fetchval(FINGERPRINT) == before, told


@pytest.mark.asyncio
async def test_it_cannot_end_the_engines_sessions(pg_dsn, pg_console_dsn):
    async with connected(pg_dsn) as engine, connected(pg_console_dsn) as console:
        pid = await engine.fetchval("SELECT pg_backend_pid()")
        for call in ("pg_terminate_backend", "pg_cancel_backend"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await console.fetchval(f"SELECT {call}($1)", pid)
        assert await engine.fetchval("SELECT 1") == 1


@pytest.mark.asyncio
async def test_a_lock_it_takes_by_reading_holds_no_writer_back(pg_dsn, pg_console_dsn):
    async with (
        connected(pg_dsn) as engine,
        connected(pg_console_dsn) as console,
        console.transaction(),
    ):
        await console.fetch("SELECT * FROM console.plan")
        async with asyncio.timeout(5):
            await engine.execute(
                "INSERT INTO trade.event (at_ns, run_id, epoch, kind) VALUES (1, 'r', 1, 'k')"
            )
            await engine.execute("UPDATE trade.plan SET state = state")


def names_of(infos):
    """Yield (words, info) of each command and subcommand."""
    for info in infos:
        name = info[0].decode()
        subcommands = info[9] if len(info) > 9 else []
        if subcommands:
            yield from (((*each[0].decode().split("|"),), each) for each in subcommands)
        else:
            yield (name,), info


@pytest.mark.asyncio
async def test_no_command_that_it_may_send_writes_publishes_or_administers(redis_owner_url):
    async with Redis.from_url(redis_owner_url, protocol=2) as owner:
        raw = await _raw_commands(owner)
        categories = {}
        for category in ("write", "admin", "dangerous", "scripting", "transaction"):
            found = await owner.execute_command("ACL", "CAT", category)
            categories[category] = {name.decode().lower() for name in found}
        allowed = []
        for words, info in raw:
            arity = abs(info[1])
            filled = [*words, *["rm:v1:header"] * max(0, arity - len(words))]
            try:
                answer = await owner.execute_command("ACL", "DRYRUN", "console", *filled)
            except ResponseError:  # arguments that cannot be: the same for every user
                continue
            if answer == b"OK":
                allowed.append(("|".join(words).lower(), info))
    assert len(raw) > 300
    names = {name for name, _ in allowed}
    assert {"get", "mget", "subscribe", "ping", "auth"} <= names
    for category, members in categories.items():
        assert not names & members, category
    assert not names & {"publish", "spublish", "keys", "scan", "randomkey", "monitor", "migrate"}
    flags = {flag.decode() for _, info in allowed for flag in info[2]}
    assert not flags & {"write", "admin", "noscript_write", "may_replicate"}, flags


async def _raw_commands(owner):
    """Return the server's own list of commands: the client would drop the subcommands."""
    connection = await owner.connection_pool.get_connection()
    try:
        await connection.send_command("COMMAND")
        infos = await connection.read_response()
    finally:
        await owner.connection_pool.release(connection)
    return list(names_of(infos))
