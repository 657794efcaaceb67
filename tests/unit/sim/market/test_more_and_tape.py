"""Synthetic symbols and recorded tapes."""

import gzip
from pathlib import Path

import pytest

from support.sim_market import HandClock, run, trades
from tradebox.domain.tape import HEADER, TapeTrade, tape_line
from tradebox.errors import ConfigInvalid
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.market.market import Market
from tradebox.sim.market.more import SYMBOLS_MAX, with_symbols
from tradebox.sim.market.paths import Corners, PackedBars, fold
from tradebox.sim.market.replay import Replay
from tradebox.sim.market.tape import with_tape

OPEN_NS = hours.session(3).open_ns


def market_of(data, at_ns=OPEN_NS, seed=1):
    market = Market(Replay(data, seed), HandClock(at_ns))
    market.begin(at_ns)
    return market


def test_fewer_symbols_are_the_first_of_more():
    data = load()
    few, many = with_symbols(data, 50), with_symbols(data, 90)
    names = [one.instrument.symbol for one in many.series]
    assert [one.instrument.symbol for one in few.series] == names[:50]
    assert len(set(names)) == len({one.instrument.con_id for one in many.series}) == 90
    assert many.series[:41] == data.series
    assert all(one.instrument.name.startswith("SYNTHETIC ") for one in many.series[41:])
    assert len(with_symbols(data, 1).series) == 1
    assert with_symbols(data, 60) == with_symbols(data, 60)


@pytest.mark.parametrize("wanted", [-1, SYMBOLS_MAX + 1])
def test_too_many_symbols_are_refused(wanted):
    with pytest.raises(ConfigInvalid, match="give 1 to 2000"):
        with_symbols(load(), wanted)


def test_synthetic_symbols_trade_and_have_a_past():
    market = market_of(with_symbols(load(), 45))
    symbol = market.symbols()[-1].symbol
    events = trades(run(market, OPEN_NS + 5 * hours.MINUTE_NS))
    assert {event.symbol for event in events} >= {symbol, "AAPL"}
    assert len(market.bars(symbol, 86_400, OPEN_NS, 60)) == 60


def tape(path: Path, rows) -> Path:
    lines = ["symbol,at_ns,price,size", *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_tape_is_traded_print_by_print_and_turns_round(tmp_path):
    first, second = hours.session(100), hours.session(101)
    rows = [
        ("AAPL", first.open_ns + 1_500_000_000, "101.25", 30),
        ("AAPL", first.open_ns + 61_000_000_000, "101.50", 40),
        ("NEWCO", first.open_ns + 2_000_000_000, "7.01", 500),
        ("AAPL", first.open_ns - 5, "90", 1),
        ("AAPL", second.open_ns + 1_000_000_000, "99.99", 10),
    ]
    data = with_tape(load().only(("AAPL", "SPY")), tape(tmp_path / "tape.csv", rows))
    market = market_of(data, hours.session(0).open_ns)
    seen = []
    for number in (0, 1, 2):
        begin_ns = hours.session(number).open_ns
        for event in trades(run(market, hours.session(number).close_ns)):
            if event.symbol != "SPY":
                after_ms = (event.event_ns - begin_ns) // 1_000_000
                seen.append((number, event.symbol, after_ms, event.price_micros, event.size))
    assert [one for one in seen if one[1] == "AAPL"] == [
        (0, "AAPL", 1_500, 101_250_000, 30),
        (0, "AAPL", 61_000, 101_500_000, 40),
        (1, "AAPL", 1_000, 99_990_000, 10),
        (2, "AAPL", 1_500, 101_250_000, 30),
        (2, "AAPL", 61_000, 101_500_000, 40),
    ]
    assert [one[0] for one in seen if one[1] == "NEWCO"] == [0, 1, 2]


def test_trades_of_one_millisecond_are_traded_in_the_order_of_the_tape(tmp_path):
    open_ns = hours.session(100).open_ns
    prices = ["101.30", "101.10", "101.20", "101.10"]
    rows = [("AAPL", open_ns + 5_000_000 + at, price, 10) for at, price in enumerate(prices)]
    rows.append(("AAPL", open_ns + 4_000_000, "101.00", 10))
    data = with_tape(load().only(("AAPL", "SPY")), tape(tmp_path / "tape.csv", rows))
    market = market_of(data, hours.session(0).open_ns)
    seen = trades(run(market, hours.session(0).open_ns + hours.MINUTE_NS))
    assert [one.price_micros for one in seen if one.symbol == "AAPL"] == [
        101_000_000, 101_300_000, 101_100_000, 101_200_000, 101_100_000
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "it is empty"),
        ("symbol,at_ns,price\nA,5,1\n", "cannot be read"),
        ("symbol,at_ns,price,size\nA,x,1,1\n", "cannot be read"),
        ("symbol,at_ns,price,size\nA,1500000000000000000,x,1\n", "cannot be read"),
    ],
)
def test_a_wrong_tape_is_refused(tmp_path, text, match):
    path = tmp_path / "tape.csv"
    path.write_text(text)
    with pytest.raises(ConfigInvalid, match=match):
        with_tape(load(), path)
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        with_tape(load(), tmp_path / "none")


def test_packed_bars_are_the_bars():
    bars = [Corners(10, 12, 9, 11, 500), None, Corners(11, 11, 11, 11, 4)]
    packed = PackedBars(bars)
    assert list(packed) == bars
    assert packed[0:2] == bars[:2]
    assert len(packed) == 3
    with pytest.raises(IndexError):
        packed[3]


def test_very_many_symbols_are_kept_small_and_trade_the_same():
    data = with_symbols(load(), 230)
    replay = Replay(data, 1)
    symbol = data.series[-1].instrument.symbol
    assert isinstance(replay.minutes(symbol, 3), PackedBars)
    assert tuple(replay.minutes(symbol, 3)) == replay._minutes_of(symbol, 3)
    day = [bar for bar in replay.minutes(symbol, 3) if bar is not None]
    assert fold(day) == replay.day(symbol, 3)


def test_a_recorded_line_is_traded_and_a_compressed_tape_too(tmp_path):
    at_ns = hours.session(100).open_ns + 30 * hours.SECOND_NS
    lines = HEADER + tape_line(TapeTrade("NEWCO", at_ns, 12_340_000, 700))
    plain, packed = tmp_path / "tape.csv", tmp_path / "tape.csv.gz"
    plain.write_text(lines + "NEWCO,17")
    packed.write_bytes(gzip.compress(lines.encode()))
    for path in (plain, packed):
        market = market_of(with_tape(load(), path))
        events = [one for one in trades(run(market, OPEN_NS + 10**11)) if one.symbol == "NEWCO"]
        assert [(one.price_micros, one.size) for one in events] == [(12_340_000, 700)]
        assert market.instrument("NEWCO").name == "NEWCO FROM A TAPE"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is empty"),
        (b"symbol,at_ns,price,size\n", "holds no trade of a session: give trades between"),
        (b"symbol,at_ns,price,size\nAAPL,x,1,1\n", "line 2: at_ns='x'"),
        (b"symbol,at_ns,price,size\nAAPL,5,1,1\n", "is of 1970-01-01: give 2008-01-02 to"),
        (b"symbol,at_ns,price,size\nAAPL,4611686018427387903,1,1\n", "is of 2116-"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
@pytest.mark.parametrize("name", ["tape.csv", "tape.csv.gz"])
def test_an_unusable_tape_says_what_is_wrong(tmp_path, content, match, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(ConfigInvalid, match=match):
        with_tape(load(), path)
    path.write_bytes(gzip.compress(b"symbol" * 999)[:-9] if name.endswith("gz") else b"x" * 9)
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        with_tape(load(), path)
