"""A database that holds another world's or another account's books starts no engine."""

import pytest

from support.stores import Stores, role_passwords
from tradebox.adapters.postgres.books_owner import BooksOwner
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.migrate import migrate
from tradebox.errors import ConfigInvalid, ExitCode

RUN = "INSERT INTO trade.run (run_id, boot_epoch, profile, version) VALUES ($1, 1, $1, '0')"
ORDER = """
INSERT INTO trade.broker_order (order_ref, plan_id, account, account_id, symbol, con_id, role, side,
    quantity, order_type, tif, client_id, order_id, state, run_id, epoch)
VALUES ($1 || $2, 'p', $1, $2, 'SPY', 1, 'entry', 'BUY', 1, 'MKT', 'DAY', 11, 1, 'filled', 'r', 1)
"""
LIVE = {"paper": "DU1111111", "live": "U2222222"}


@pytest.fixture
def start(stores: Stores, pg_owner_dsn):
    """Migrate as a run does, for a profile and its accounts."""

    async def started(profile, accounts=()):
        owner = BooksOwner(profile, dict(accounts))
        return await migrate(pg_owner_dsn, role_passwords(stores.home), books=owner)

    return started


async def done(dsn, statement, *values):
    async with connected(dsn) as connection:
        await connection.execute(statement, *values)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("before", "now"), [("sim", "paper"), ("sim", "live"), ("paper", "sim"), ("live", "sim")]
)
async def test_the_books_of_one_world_are_not_followed_in_another(start, pg_dsn, before, now):
    await done(pg_dsn, RUN, before)
    with pytest.raises(ConfigInvalid, match=rf"profile={now}: .*profile {before} ran") as caught:
        await start(now)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "--home" in caught.value.message
    await start(before)


@pytest.mark.asyncio
async def test_paper_and_live_are_of_one_world(start, pg_dsn):
    await done(pg_dsn, RUN, "paper")
    await start("live", LIVE)
    await start("paper", {"paper": LIVE["paper"]})


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["paper", "live"])
async def test_the_shares_of_another_account_number_are_not_ours(start, pg_dsn, name):
    for known, number in LIVE.items():
        await done(pg_dsn, ORDER, known, number)
    await start("live", LIVE)
    with pytest.raises(ConfigInvalid, match=f"{name}.account=.*9.*the books of {LIVE[name]}"):
        await start("live", {**LIVE, name: "DU9999999" if name == "paper" else "U9999999"})
