"""`tradebox quotes` on real stores by the console's logins; verdicts by the engine's own path."""

import asyncio
import json
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from tradebox.adapters.embedded import lease
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.verdicts import PgVerdicts
from tradebox.cli.main import run_command_line
from tradebox.domain.market import Source
from tradebox.ports.verdicts import VerdictRow
from tradebox.readmodel import Row, encode_row, key_of
from tradebox.supervision.clock import MonotonicClock

S = 1_000_000_000
NOW_NS = 1_700_000_000 * S


def price(symbol, **changed):
    return {
        "symbol": symbol, "price_micros": 101_250_000, "size": 5, "source": "finnhub", "tier": 1,
        "quality": "live", "event_ns": NOW_NS - S, "recv_ns": NOW_NS - S + 40_000_000,
        "pub_seq": 9, "epoch": 4, "ticks": 9, "gaps": 0, "refused": 0, **changed,
    }  # fmt: skip


PRICES = [price("NVDA", refused=3), price("SPY", source="yahoo", tier=3, quality="delayed")]


def verdict(check, what, price_micros, at_ns, *, symbol="NVDA", quality="suspect", count=1):
    row = (symbol, Source.FINNHUB, check, what, quality, price_micros, at_ns, at_ns - S, count)
    return VerdictRow(*row)


REFUSED = [
    verdict("spike", "hold", 130_000_000, NOW_NS - 3 * S),
    verdict("late", "drop", 99_000_000, NOW_NS - 2 * S),
    verdict("duplicate", "drop", 101_250_000, NOW_NS - S, count=4),
    verdict("odd_lot", "flag", 101_250_000, NOW_NS - S, quality="live", count=900),
    verdict("odd_lot", "flag", 101_260_000, NOW_NS, quality="live", count=100),
    verdict("sentinel", "drop", -1_000_000, NOW_NS, symbol="GE"),
]


@pytest.fixture
def quotes(pg_dsn, pg_console_dsn, redis_url, redis_console_url, monkeypatch, tmp_path, capsys):
    """Return what tells prices, and what runs the command and gives its JSON."""
    (tmp_path / "run").mkdir()
    places = {"postgres": pg_console_dsn, "redis": redis_console_url, "profile": "sim"}
    (tmp_path / "run" / "console.json").write_text(json.dumps(places))

    async def refuse():
        pool = PgPool(pg_dsn, MonotonicClock())
        await PgVerdicts(pool).write(REFUSED)
        await pool.close()

    asyncio.run(refuse())

    @contextmanager
    def stores(home, settings):
        yield SimpleNamespace(postgres_console=pg_console_dsn)

    monkeypatch.setattr(lease, "stores", stores)
    monkeypatch.setenv("TRADEBOX_HOME", str(tmp_path))

    async def put(prices, told_s_ago):
        told_ns = time.monotonic_ns() - round(told_s_ago * S)
        async with Redis.from_url(redis_url) as client:
            row = Row(4, NOW_NS, told_ns, 600.0, prices)
            await client.set(key_of("feeds"), encode_row(row), px=60_000)

    def ask(*words, prices=PRICES, told_s_ago=0.0, as_json=True):
        if prices is not None:
            asyncio.run(put(prices, told_s_ago))
        code = run_command_line(["quotes", *words, *(["--json"] if as_json else [])])
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if as_json and code == 0 else shown.out + shown.err

    return ask


def test_one_price_is_explained_whole(quotes):
    code, [row] = quotes("nvda", "--refusals", "2")
    assert code == 0
    assert (row["last"], row["bid"], row["ask"]) == ("101.25", None, None)
    assert (row["source"], row["tier"], row["quality"]) == ("finnhub", 1, "live")
    assert (row["event_ns"], row["recv_ns"]) == (NOW_NS - S, NOW_NS - S + 40_000_000)
    assert row["age_s"] >= 1
    assert row["refused"] == 3
    assert [(each["check"], each["verdict"]) for each in row["refusals"]] == [
        ("duplicate", "drop"), ("late", "drop"),
    ]  # fmt: skip
    assert row["refusals"][1]["price"] == "99.00"
    assert [(each["number"], each["ticks"]) for each in row["refusals"]] == [(3, 4), (5, 1)]
    [flag] = row["flags"]
    assert (flag["check"], flag["number"], flag["ticks"], flag["quality"]) == (
        "odd_lot", 8, 1000, "live",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), ["NVDA", "SPY"]),
        (("--source", "yahoo"), ["SPY"]),
        (("--quality", "live"), ["NVDA"]),
        (("--refused",), ["NVDA"]),
        (("GE", "SPY", "--refused"), ["GE"]),
        (("spy", "SPY"), ["SPY"]),
        (("--limit", "1"), ["NVDA"]),
        (("--source", "ib"), []),
    ],
)
def test_prices_by_filter(quotes, words, found):
    code, rows = quotes(*words)
    assert (code, [row["symbol"] for row in rows]) == (0, found)


def test_an_engine_gone_quiet_is_not_live(quotes):
    [row] = quotes("NVDA", told_s_ago=1_801)[1]
    assert row["quality"] == "stale"
    assert "quiet" in row["waiting"]
    assert quotes("--quality", "live", told_s_ago=1_801)[1] == []


def test_refusals_are_told_where_no_price_is(quotes):
    [row] = quotes("GE", prices=None)[1]
    assert (row["last"], row["quality"]) == (None, None)
    assert "nothing runs" in row["waiting"]
    assert [each["check"] for each in row["refusals"]] == ["sentinel"]
    code, text = quotes(prices=None, as_json=False)
    assert code == 0
    assert text.startswith("no price fits: the engine has told no price")


def test_tables_for_people_are_not_cut_in_a_pipe(quotes):
    code, text = quotes("NVDA", as_json=False)
    assert code == 0
    for word in ("101.25", "finnhub", "22:13:19.040", "too far from the last prices", "130.00"):
        assert word in text
    assert "\x1b" not in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--source", "x"), "give finnhub, alphavantage, yahoo, ib"),
        (("--quality", "good"), "unknown quality"),
        (("--limit", "0"), "--limit=0"),
        (("--refusals", "-1"), "0 to 10000"),
    ],
)
def test_bad_input_is_refused(quotes, words, why):
    code, text = quotes(*words, as_json=False)
    assert code == 2
    assert why in text
