"""journal, orders, fills and positions against a real database, by the console's own login."""

import asyncio
import json
from contextlib import contextmanager
from types import SimpleNamespace

import asyncpg
import pytest

from tradebox.adapters.embedded import lease
from tradebox.cli.main import run_command_line

ROWS = """
INSERT INTO trade.broker_order (order_ref, plan_id, account, account_id, symbol, con_id, role, side,
    quantity, order_type, stop_price, tif, client_id, order_id, state, filled, run_id, epoch)
VALUES ('o-1', 'P-1', 'paper', 'SIM1', 'NVDA', 1, 'entry', 'BUY', 60, 'MKT', NULL, 'DAY', 1, 7,
        'filled', 60, 'r', 1),
       ('o-2', 'P-1', 'paper', 'SIM1', 'NVDA', 1, 'stop', 'SELL', 60, 'STP', 100.5, 'GTC', 1, 8,
        'working', 0, 'r', 1),
       ('o-3', 'P-2', 'live', 'SIM2', 'AAPL', 2, 'entry', 'SELL', 5, 'MKT', NULL, 'DAY', 1, 9,
        'sending', 0, 'r', 1);
INSERT INTO trade.fill (exec_stem, exec_id, order_ref, plan_id, account, perm_id, symbol, con_id,
    side, quantity, price, at_ns, run_id)
VALUES ('e1', 'e1.1', 'o-1', 'P-1', 'paper', 1, 'NVDA', 1, 'BUY', 60, 101.25, 1, 'r'),
       ('e2', 'e2.1', 'o-9', 'P-9', 'paper', 2, 'GE', 3, 'BUY', 5, 30, 2, 'r'),
       ('e3', 'e3.1', 'o-9', 'P-9', 'paper', 3, 'GE', 3, 'SELL', 5, 31, 3, 'r');
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, order_ref, symbol, data)
VALUES (1, 'r', 1, 'plan_state', 'paper', 'P-1', NULL, 'NVDA', '{"to": "open"}'),
       (2, 'r', 1, 'fill_booked', 'paper', 'P-1', 'o-1', 'NVDA', '{}'),
       (3, 'r', 1, 'plan_state', 'live', 'P-2', NULL, 'AAPL', '{}');
"""


@pytest.fixture
def books(pg_dsn, pg_owner_dsn, pg_console_dsn, monkeypatch, tmp_path, capsys):
    """Return what runs a command on a database with a few rows and gives its JSON."""

    async def fill():
        connection = await asyncpg.connect(pg_owner_dsn)
        await connection.execute(ROWS)
        await connection.close()

    asyncio.run(fill())

    @contextmanager
    def stores(home, settings):
        yield SimpleNamespace(postgres_console=pg_console_dsn)

    monkeypatch.setattr(lease, "stores", stores)
    monkeypatch.setenv("TRADEBOX_HOME", str(tmp_path))

    def ask(*words, as_json=True):
        code = run_command_line([*words, "--json"] if as_json else words)
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if as_json and code == 0 else shown.out + shown.err

    return ask


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("orders",), ["o-1", "o-2", "o-3"]),
        (("orders", "--working"), ["o-2", "o-3"]),
        (("orders", "--state", "filled"), ["o-1"]),
        (("orders", "--symbol", "nvda", "--limit", "2"), ["o-1", "o-2"]),
        (("orders", "--account", "live"), ["o-3"]),
        (("orders", "--about", "P-1"), ["o-1", "o-2"]),
        (("orders", "--about", "o-2"), ["o-2"]),
        (("orders", "--symbol", "GE"), []),
        (("fills", "--about", "P-9"), ["o-9", "o-9"]),
        (("fills", "--symbol", "NVDA"), ["o-1"]),
    ],
)
def test_rows_by_filter(books, words, found):
    code, rows = books(*words)
    assert code == 0
    assert sorted(row["order_ref"] for row in rows) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), [3, 2, 1]),
        (("--kind", "plan_state"), [3, 1]),
        (("--about", "o-1"), [2]),
        (("--after", "1", "--account", "paper"), [2]),
        (("--limit", "1"), [3]),
    ],
)
def test_the_journal_newest_first(books, words, found):
    code, rows = books("journal", *words)
    assert (code, [row["at_ns"] for row in rows]) == (0, found)
    assert rows[-1]["data"] in ({}, {"to": "open"})


def test_positions_say_that_cover_is_not_known_without_a_run(books):
    code, rows = books("positions")
    assert code == 0
    assert rows == [
        {"account": "paper", "symbol": "NVDA", "quantity": 60, "stop_quantity": None,
         "in_flight_quantity": None, "covered": None}
    ]  # fmt: skip
    assert {row["symbol"] for row in books("positions", "--all")[1]} == {"NVDA", "GE"}


def test_prices_keep_their_places(books):
    assert books("fills", "--symbol", "NVDA")[1][0]["price"] == "101.25"


@pytest.mark.parametrize("command", ["journal", "orders", "fills", "positions"])
def test_a_table_for_people_is_not_cut_in_a_pipe(books, command):
    code, text = books(command, as_json=False)
    assert code == 0
    assert "NVDA" in text
    assert "\x1b" not in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("orders", "--account", "x"), "give paper or live"),
        (("fills", "--limit", "0"), "--limit=0"),
        (("journal", "--limit", "10001"), "1 to 10000"),
        (("journal", "--after", "x"), "--after"),
    ],
)
def test_bad_input_is_refused(books, words, why):
    code, text = books(*words, as_json=False)
    assert code == 2
    assert why in text


def test_nothing_that_fits_is_said(books):
    assert books("orders", "--symbol", "XX", as_json=False) == (0, "no order fits\n")
