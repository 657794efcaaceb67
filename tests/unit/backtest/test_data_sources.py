"""The sources: what --data may say, what each reads, and what a mistake is answered with."""

import gzip

import numpy as np
import pytest

from support.bar_files import HEAD, rows_of, seeded_bars, write_csv, write_parquet
from tradebox.backtest.data.series import PRICES
from tradebox.backtest.data.sources import (
    FolderSource,
    ParquetSource,
    SampleSource,
    parse_source,
)
from tradebox.backtest.data.universe import resolve_universe
from tradebox.backtest.data.vetting import vet
from tradebox.errors import InputError


def series_of(source, *symbols):
    return {raw.symbol: raw for raw in source.read(symbols or source.symbols())}


def assert_equal(raw, bars):
    assert np.array_equal(raw.day, bars.day)
    for name in (*PRICES, "volume"):
        assert np.array_equal(raw.columns[name], getattr(bars, name)), name


@pytest.mark.parametrize("text", ["", "csv:x", "parquet:", "dir:", "samples", "sample:x", "x"])
def test_an_unknown_source_is_told_the_forms(text):
    with pytest.raises(InputError, match="give sample, yahoo, parquet:FILE or dir:FOLDER"):
        parse_source(text)


@pytest.mark.parametrize("text", ["parquet:/nowhere/at.all", "dir:/nowhere/at/all"])
def test_a_place_that_is_not_there_is_named(text):
    with pytest.raises(InputError, match="there is no such"):
        parse_source(text)


def test_yahoo_takes_a_known_period():
    assert parse_source("yahoo").name == "yahoo:10y"
    assert parse_source("yahoo:5y").name == "yahoo:5y"
    with pytest.raises(InputError, match="yahoo:10y"):
        parse_source("yahoo:7h")


def test_the_shipped_series_are_all_usable():
    found = series_of(SampleSource())
    assert len(found) == 40
    for raw in found.values():
        vetted = vet(raw)
        assert vetted.bars is not None, vetted.refusal
        assert vetted.bars.adjusted
        assert len(vetted.bars) > 700


def test_a_folder_reads_plain_and_packed_files(tmp_path):
    one, two = seeded_bars("AAA"), seeded_bars("BRK.B")
    write_csv(tmp_path, "AAA", rows_of(one))
    write_csv(tmp_path, "BRK.B", rows_of(two), packed=True)
    (tmp_path / "notes.txt").write_text("nothing")
    source = parse_source(f"dir:{tmp_path}")
    assert source.symbols() == ["AAA", "BRK.B"]
    found = series_of(source, "AAA", "BRK.B", "ZZZ")
    assert_equal(found["AAA"], one)
    assert_equal(found["BRK.B"], two)
    assert "has no series ZZZ" in found["ZZZ"].problem
    assert found["AAA"].adjusted is None
    assert series_of(parse_source(f"dir:{tmp_path}?unadjusted"))["AAA"].adjusted is False


def test_a_spoilt_file_is_one_bad_stock(tmp_path):
    write_csv(tmp_path, "AAA", rows_of(seeded_bars()))
    (tmp_path / "BAD.csv.gz").write_bytes(gzip.compress(b"date,open")[:-9])
    (tmp_path / "BIN.csv").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "NUL.csv").write_text("")
    found = series_of(FolderSource(tmp_path))
    assert "BAD.csv.gz cannot be read" in found["BAD"].problem
    assert "BIN.csv cannot be read" in found["BIN"].problem
    assert found["NUL"].problem == "no bars"
    assert found["AAA"].problem == ""


def test_an_adjusted_close_adjusts_the_other_prices(tmp_path):
    bars = seeded_bars()
    rows = [[*row, str(float(row[4]) / 2)] for row in rows_of(bars)]
    write_csv(tmp_path, "AAA", rows, [*HEAD, "Adj Close"])
    raw = series_of(FolderSource(tmp_path))["AAA"]
    assert raw.adjusted is True
    assert raw.columns["high"] == pytest.approx(bars.high / 2)


def test_actions_beside_a_folder_mark_it_unadjusted(tmp_path):
    write_csv(tmp_path, "AAA", rows_of(seeded_bars()))
    actions = tmp_path / "_actions.csv"
    actions.write_text("symbol,ex_date,factor,kind\nAAA,2015-06-01,0.5,split\n")
    raw = series_of(FolderSource(tmp_path))["AAA"]
    assert raw.adjusted is False
    assert raw.factors == [(16587, 0.5)]
    actions.write_text("symbol,factor\nAAA,x\n")
    with pytest.raises(InputError, match="needs symbol, ex_date and factor"):
        series_of(FolderSource(tmp_path))


def test_parquet_reads_stocks_across_row_groups(tmp_path):
    series = [seeded_bars(name, count) for name, count in (("A", 250), ("B", 30), ("CC", 300))]
    source = ParquetSource(write_parquet(tmp_path / "bars.parquet", series))
    assert source.symbols() == ["A", "B", "CC"]
    found = series_of(source, "CC", "A", "ZZ")
    assert_equal(found["A"], series[0])
    assert_equal(found["CC"], series[2])
    assert "has no series ZZ" in found["ZZ"].problem
    assert "B" not in found


def test_parquet_takes_symbols_that_are_numbers(tmp_path):
    series = [seeded_bars(name) for name in ("1301", "7203")]
    found = series_of(ParquetSource(write_parquet(tmp_path / "bars.parquet", series, names=int)))
    assert_equal(found["7203"], series[1])


def test_parquet_says_what_is_missing(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"symbol": ["A"], "date": ["2015-01-05"], "open": [1.0]}), path)
    with pytest.raises(InputError, match="missing column high, low, close, volume"):
        ParquetSource(path).symbols()
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="no parquet file"):
        ParquetSource(path).symbols()


def test_a_fingerprint_follows_the_content(tmp_path):
    path = write_csv(tmp_path, "AAA", rows_of(seeded_bars()))
    before = FolderSource(tmp_path).fingerprint()
    assert FolderSource(tmp_path).fingerprint() == before
    path.write_text(path.read_text() + "2016-06-01,1,1,1,1,1\n")
    assert FolderSource(tmp_path).fingerprint() != before
    assert (
        FolderSource(tmp_path, adjusted=True).fingerprint() != FolderSource(tmp_path).fingerprint()
    )


def universe(tmp_path, text):
    path = tmp_path / "stocks.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return resolve_universe(str(path), SampleSource())[1]


@pytest.mark.parametrize(
    "text",
    [
        "MSFT\nAAPL\nMSFT\n",
        "# ours\nAAPL\n\nMSFT\n",
        "\ufeffsymbol,name\nAAPL,Apple\nMSFT,Microsoft\n",
        "rank,Ticker\n1,MSFT\n2,AAPL\n",
    ],
)
def test_a_universe_file_is_lines_or_a_table(tmp_path, text):
    assert universe(tmp_path, text) == ("AAPL", "MSFT")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it holds no symbols"),
        ("# nothing\n\n", "it holds no symbols"),
        ("symbol\n", "it holds no symbols"),
        ("name,rank\nApple,1\n", "missing column symbol"),
        ("AAPL\nnot a symbol\n", "row 2: 'not a symbol' is no symbol"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_bad_universe_is_refused_with_its_place(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        universe(tmp_path, text)


def test_universe_names(tmp_path):
    assert resolve_universe(None, SampleSource())[0] == "all"
    assert resolve_universe("sample", FolderSource(tmp_path))[1] == tuple(SampleSource().symbols())
    name, symbols = resolve_universe(None, parse_source("yahoo"))
    assert (name, len(symbols)) == ("sample", 40)
    for text in (None, "all"):
        with pytest.raises(InputError, match="lists no symbols"):
            resolve_universe(text, FolderSource(tmp_path))
    with pytest.raises(InputError, match="lists no symbols"):
        resolve_universe("all", parse_source("yahoo"))
    with pytest.raises(InputError, match="no such file or name"):
        resolve_universe("sp500", SampleSource())
