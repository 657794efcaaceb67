"""Migrations: forward only, whole or not at all, one runner at a time, checked by sha256."""

import asyncio
from dataclasses import replace

import pytest

from support.stores import Stores, in_database, in_thread, role_passwords
from tradebox.adapters.embedded import postgres
from tradebox.adapters.embedded.addresses import superuser_dsn
from tradebox.adapters.postgres import migrate as migrations
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.engine_lock import PgEngineLock
from tradebox.adapters.postgres.migrate import (
    Migration,
    MigrationFailed,
    check,
    compare,
    load_migrations,
    migrate,
)
from tradebox.adapters.postgres.roles import ROLES
from tradebox.config import Home
from tradebox.errors import ExitCode, StoreUnavailable
from tradebox.ports.claim import Claim

ONE = Migration(1, "0001_one.sql", "CREATE TABLE one (x int);")
TWO = Migration(2, "0002_two.sql", "CREATE TABLE two (x int); INSERT INTO two VALUES (2);")
BAD = Migration(2, "0002_bad.sql", "CREATE TABLE two (x int); SELECT 1 / 0;")


@pytest.fixture
def empty_dsn(stores: Stores, pg_owner_dsn, pg_database):
    """A database that no migration has touched, as its owner."""
    name = f"{pg_database}_empty"

    async def run(statement):
        async with connected(superuser_dsn(stores.home, database="postgres")) as connection:
            await connection.execute(statement)

    in_thread(run(f"CREATE DATABASE {name} TEMPLATE template0"))
    yield in_database(superuser_dsn(stores.home), name)
    in_thread(run(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def passwords(stores: Stores):
    return role_passwords(stores.home)


async def tables(dsn):
    async with connected(dsn) as connection:
        rows = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
    return [row["relname"] for row in rows]


@pytest.mark.asyncio
async def test_the_shipped_files_make_a_current_database(empty_dsn, passwords):
    before = await check(empty_dsn)
    assert before.version == 0
    assert before.pending == tuple(file.name for file in load_migrations())
    state, applied = await migrate(empty_dsn, passwords)
    assert applied == before.pending
    assert state.is_current
    assert state.version == len(applied)
    assert await migrate(empty_dsn, passwords) == (state, ())
    assert (await check(empty_dsn)).is_current


@pytest.mark.asyncio
async def test_only_what_is_pending_is_applied(empty_dsn, passwords):
    assert (await migrate(empty_dsn, passwords, [ONE]))[1] == (ONE.name,)
    assert (await check(empty_dsn, [ONE, TWO])).pending == (TWO.name,)
    state, applied = await migrate(empty_dsn, passwords, [ONE, TWO])
    assert (state.version, applied) == (2, (TWO.name,))


@pytest.mark.asyncio
async def test_a_failing_file_leaves_nothing_behind_and_can_be_mended(empty_dsn, passwords):
    with pytest.raises(MigrationFailed, match=r"0002_bad.sql failed .*division by zero") as caught:
        await migrate(empty_dsn, passwords, [ONE, BAD])
    assert caught.value.exit_code is ExitCode.STORE
    assert await tables(empty_dsn) == ["one"]
    assert (await check(empty_dsn, [ONE, BAD])).pending == (BAD.name,)
    await migrate(empty_dsn, passwords, [ONE, TWO])
    assert await tables(empty_dsn) == ["one", "two"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("files", "words", "field"),
    [
        ([replace(ONE, sql=ONE.sql + " "), TWO], "edited after", "changed"),
        ([replace(ONE, name="0001_other.sql"), TWO], "edited after", "changed"),
        ([ONE], "newer than this tradebox", "unknown"),
    ],
)
async def test_an_edited_or_unknown_file_is_refused(empty_dsn, passwords, files, words, field):
    await migrate(empty_dsn, passwords, [ONE, TWO])
    state = await check(empty_dsn, files)
    assert getattr(state, field)
    assert not state.is_current
    with pytest.raises(MigrationFailed, match=words):
        await migrate(empty_dsn, passwords, [*files, Migration(3, "0003_x.sql", "SELECT 1")])
    assert (await check(empty_dsn, [ONE, TWO])).version == 2


@pytest.mark.asyncio
async def test_runners_that_come_at_once_apply_each_file_once(empty_dsn, passwords):
    slow = replace(TWO, sql=TWO.sql + "SELECT pg_sleep(0.05);")
    done = await asyncio.gather(*(migrate(empty_dsn, passwords, [ONE, slow]) for _ in range(5)))
    assert sorted(applied for _, applied in done) == [(), (), (), (), (ONE.name, slow.name)]


@pytest.mark.asyncio
async def test_a_held_lock_is_named_after_the_wait(empty_dsn, passwords, monkeypatch):
    monkeypatch.setattr(migrations, "LOCK_WAIT_S", 0.05)
    async with connected(empty_dsn) as other:
        await other.execute("SELECT pg_advisory_lock($1)", migrations.LOCK_KEY)
        with pytest.raises(MigrationFailed, match="another migration"):
            await migrate(empty_dsn, passwords, [ONE])


@pytest.mark.asyncio
async def test_a_database_that_another_homes_engine_holds_keeps_its_logins(empty_dsn, passwords):
    await migrate(empty_dsn, passwords)
    strange = {role: f"{password}-of-another" for role, password in passwords.items()}
    dsn = f"postgresql://trade_rw:{passwords['trade_rw']}@{empty_dsn.split('@', 1)[1]}"
    engine = PgEngineLock(empty_dsn, "ours")
    try:
        assert await engine.tend() is Claim.HELD
        with pytest.raises(StoreUnavailable, match="another engine holds this database"):
            await migrate(empty_dsn, strange, owner="theirs")
        async with connected(dsn) as connection:
            assert await connection.fetchval("SELECT current_user") == "trade_rw"
        assert await migrate(empty_dsn, passwords, owner="ours")
    finally:
        await engine.close()


@pytest.mark.asyncio
async def test_an_owner_who_may_not_make_roles_is_refused(stores, empty_dsn, passwords):
    async with connected(empty_dsn) as owner:
        await owner.execute("CREATE ROLE small_owner LOGIN PASSWORD 'x'")
        try:
            database = await owner.fetchval("SELECT current_database()")
            await owner.execute(f"GRANT ALL ON DATABASE {database} TO small_owner")
            head, tail = empty_dsn.split("@", 1)
            dsn = f"postgresql://small_owner:x@{tail}"
            assert head.startswith("postgresql://postgres:")
            with pytest.raises(StoreUnavailable, match=r"may not make the roles .*CREATEROLE"):
                await migrate(dsn, passwords, [ONE])
            assert await tables(empty_dsn) == []
        finally:
            await owner.execute("DROP OWNED BY small_owner; DROP ROLE small_owner")


@pytest.mark.asyncio
async def test_a_plain_owner_with_createrole_gets_working_roles(home: Home):
    await asyncio.to_thread(postgres.start, home, 32, durable=False)
    superuser = superuser_dsn(home, database="postgres")
    async with connected(superuser) as admin:
        await admin.execute("DROP DATABASE tradebox")
        async with connected(superuser_dsn(home, database="template1")) as template:
            await template.execute("DROP OWNED BY trade_rw")
        await admin.execute("DROP ROLE trade_rw; DROP ROLE research_rw; DROP ROLE console_ro")
        await admin.execute("CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'x'")
        await admin.execute("CREATE DATABASE elsewhere OWNER owner TEMPLATE template0")
    at = superuser.split("@", 1)[1].replace("/postgres?", "/elsewhere?")
    secrets = dict.fromkeys(ROLES, "first")
    state, _ = await migrate(f"postgresql://owner:x@{at}", secrets)
    assert state.is_current
    secrets = dict.fromkeys(ROLES, "second")
    await migrate(f"postgresql://owner:x@{at}", secrets)
    for role in ROLES:
        with pytest.raises(StoreUnavailable, match="refused the login"):
            async with connected(f"postgresql://{role}:first@{at}"):
                pass
        async with connected(f"postgresql://{role}:second@{at}") as connection:
            await connection.fetch("SELECT * FROM console.plan")
    async with connected(f"postgresql://trade_rw:second@{at}") as trader:
        await trader.fetchval("SELECT pg_try_advisory_lock(1)")


def test_names_and_numbers_are_checked(tmp_path):
    def write(*names):
        for old in tmp_path.iterdir():
            old.unlink()
        for name in names:
            (tmp_path / name).write_text("SELECT 1;")

    write("0001_a.sql", "0002_b.sql", "README.md")
    assert [file.number for file in load_migrations(tmp_path)] == [1, 2]
    for names in ([], ["0001_a.sql", "0003_c.sql"], ["0002_a.sql"], ["0001_a.sql", "0001_b.sql"]):
        write(*names)
        with pytest.raises(MigrationFailed, match="without a gap"):
            load_migrations(tmp_path)
    write("1_a.sql")
    with pytest.raises(MigrationFailed, match="NNNN_words"):
        load_migrations(tmp_path)


def test_each_difference_is_in_exactly_one_list():
    applied = {1: (ONE.name, "other"), 3: ("0003_gone.sql", "x")}
    state = compare([ONE, TWO], applied)
    assert (state.changed, state.unknown, state.pending) == (
        (ONE.name,),
        ("0003_gone.sql",),
        (TWO.name,),
    )
    assert state.version == 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("postgresql://a:hunter2@127.0.0.1:1/x", "refused|Connect call failed"),
        ("postgresql://a:hunter2@/x?host=/nonexistent", "No such file"),
        ("postgresql://a:hunter2@127.0.0.1:notaport/x", "malformed"),
        ("nonsense", "malformed"),
    ],
)
async def test_a_wrong_url_is_named_without_its_password(dsn, words):
    with pytest.raises(StoreUnavailable, match=words) as caught:
        await check(dsn)
    assert "hunter2" not in str(caught.value) + str(caught.value.fields)
    assert caught.value.exit_code is ExitCode.STORE


@pytest.mark.asyncio
async def test_a_wrong_password_or_database_is_a_refused_login(stores, pg_owner_dsn):
    wrong = superuser_dsn(stores.home).replace("/tradebox?", "/nowhere?")
    with pytest.raises(StoreUnavailable, match="refused the login"):
        await check(wrong)
    head, tail = pg_owner_dsn.split("@", 1)
    with pytest.raises(StoreUnavailable, match="refused the login"):
        await check(f"{head}x@{tail}")
