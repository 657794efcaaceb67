"""Stored bars: the same bit for bit, read-only, whole or not there, and made once."""

import contextlib
import errno
import os
import resource

import numpy as np
import orjson
import pytest

from support.bar_files import rows_of, seeded_bars, write_csv
from tradebox.backtest.data.arraystore import ArrayStore, ArrayWriter
from tradebox.backtest.data.prepare import prepare, prepare_apart
from tradebox.backtest.data.series import PRICES, Defect, RawSeries
from tradebox.errors import HomeUnusable, InputError

SERIES = [seeded_bars("B", 120), seeded_bars("A", 300), seeded_bars("C", 60, adjusted=False)]


def written(root, series=SERIES):
    with ArrayWriter(root) as writer:
        for bars in series:
            writer.add(bars)
        return writer.finish({"A": [Defect("gap", 1, "noted", "x")]})


def test_bars_come_back_bit_for_bit_and_cannot_be_written(tmp_path):
    store = ArrayStore.open(written(tmp_path))
    assert store.symbols == ("A", "B", "C")
    for bars in SERIES:
        found = store.bars(bars.symbol)
        for name in ("day", *PRICES, "volume"):
            assert getattr(found, name).tobytes() == getattr(bars, name).tobytes()
            assert getattr(found, name).dtype == getattr(bars, name).dtype
        assert (found.adjusted, found.currency) == (bars.adjusted, "USD")
        with pytest.raises(ValueError, match="read-only"):
            found.close[0] = 1.0
        assert store.length(bars.symbol) == len(bars)
    assert store.defects() == {"A": [Defect("gap", 1, "noted", "x")]}
    assert store.check() == []
    assert [store.is_delisted(one) for one in "ABC"] == [False, True, True]
    store.release()
    assert store.bars("A").close[7] == SERIES[1].close[7]


def test_the_hash_is_of_the_content_alone(tmp_path):
    path = written(tmp_path)
    assert written(tmp_path, SERIES[::-1]) == path
    assert len(list(tmp_path.iterdir())) == 1
    close = SERIES[0].close.copy()
    close[3] = np.nextafter(close[3], 99)
    other = type(SERIES[0])(**{
        name: getattr(SERIES[0], name) for name in ("symbol", "day", *PRICES[:3], "volume")
    }, close=close)  # fmt: skip
    assert written(tmp_path, [other, *SERIES[1:]]) != path


def test_what_is_not_finished_leaves_nothing(tmp_path):
    with contextlib.suppress(RuntimeError), ArrayWriter(tmp_path) as writer:
        writer.add(SERIES[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_swept(tmp_path):
    (tmp_path / ".new-999999999-dead").mkdir()
    mine = tmp_path / f".new-{os.getpid()}-mine"
    mine.mkdir()
    written(tmp_path)
    assert mine.exists()
    assert not (tmp_path / ".new-999999999-dead").exists()


@pytest.mark.parametrize("spoil", ["index", "column", "version", "gone", "kind"])
def test_a_spoilt_folder_is_refused(tmp_path, spoil):
    path = written(tmp_path)
    index = path / "index.json"
    if spoil == "index":
        index.write_bytes(index.read_bytes()[:50])
    elif spoil == "column":
        (path / "day.npy").write_bytes((path / "day.npy").read_bytes()[:400])
    elif spoil == "version":
        index.write_bytes(orjson.dumps({**orjson.loads(index.read_bytes()), "version": 99}))
    elif spoil == "gone":
        (path / "close.npy").unlink()
    else:
        np.save(path / "close.npy", np.zeros(480, np.float32))
    with pytest.raises(InputError, match="prepare it again"):
        ArrayStore.open(path)


def test_a_changed_bar_is_found(tmp_path):
    path = written(tmp_path)
    with (path / "close.npy").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\x01")
    assert ArrayStore.open(path).check() == ["C"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HomeUnusable, match="No space left on device: make room"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_cannot_grow_is_told_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(HomeUnusable, match="bars cannot be written: File too large"):
            written(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert ArrayStore.open(written(tmp_path)).check() == []


def folder_of(tmp_path):
    folder = tmp_path / "csv"
    for name in ("AAA", "BBB", "CCC"):
        write_csv(folder, name, rows_of(seeded_bars(name)))
    write_csv(folder, "ONE", rows_of(seeded_bars("ONE"))[:1])
    bad = [[*row[:4], "nan", row[5]] for row in rows_of(seeded_bars("NAN"))]
    write_csv(folder, "NAN", bad)
    return folder


def test_a_bad_stock_is_reported_and_the_rest_goes_on(tmp_path):
    done = prepare(f"dir:{folder_of(tmp_path)}", None, tmp_path / "bars")
    assert done.symbols == ("AAA", "BBB", "CCC")
    assert done.refused["ONE"] == "only 1 bar: at least 60 are needed"
    assert "300 of 300 bars cannot be used (a price is missing (NaN))" in done.refused["NAN"]
    assert done.defects["nan_price"] == {"refused": 1}
    assert done.bars == 900
    assert ArrayStore.open(done.path).data_hash == done.data_hash


def test_bars_of_the_year_2199_are_refused_and_what_waits_for_its_day_is_read_again(tmp_path):
    folder, root = tmp_path / "csv", tmp_path / "bars"
    rows = rows_of(seeded_bars("AAA"))
    write_csv(folder, "AAA", rows)
    later = np.datetime64("2199-01-01") - np.datetime64(rows[0][0])
    write_csv(folder, "BBB", [[str(np.datetime64(row[0]) + later), *row[1:]] for row in rows])
    done = [prepare(f"dir:{folder}", None, root) for _ in range(2)]
    assert [one.symbols for one in done] == [("AAA",), ("AAA",)]
    assert "a day that has not come yet" in done[0].refused["BBB"]
    assert done[0].defects["future_day"] == {"refused": 1}
    assert [one.is_known for one in done] == [False, False]


def test_it_is_done_once_until_something_changes(tmp_path):
    folder, root = folder_of(tmp_path), tmp_path / "bars"
    text = f"dir:{folder}"
    first = prepare(text, None, root)
    again = prepare(text, None, root)
    assert (first.is_known, again.is_known) == (False, True)
    assert again.data_hash == first.data_hash
    assert again.symbols == first.symbols
    wanted = tmp_path / "stocks.txt"
    wanted.write_text("AAA\nZZZ\n")
    part = prepare(text, str(wanted), root)
    assert part.symbols == ("AAA",)
    assert "has no series ZZZ" in part.refused["ZZZ"]
    wanted.write_text("BBB\n")
    assert prepare(text, str(wanted), root).symbols == ("BBB",)
    write_csv(folder, "AAA", rows_of(seeded_bars("AAA", seed=2)))
    fresh = prepare(text, None, root)
    assert not fresh.is_known
    assert fresh.data_hash != first.data_hash


def test_a_lost_folder_is_made_again(tmp_path):
    text, root = f"dir:{folder_of(tmp_path)}", tmp_path / "bars"
    first = prepare(text, None, root)
    (root / first.data_hash / "close.npy").unlink()
    (root / first.data_hash / "index.json").unlink()
    again = prepare(text, None, root)
    assert (again.is_known, again.data_hash) == (False, first.data_hash)
    assert ArrayStore.open(again.path).check() == []


def test_nothing_usable_is_one_message(tmp_path):
    folder = tmp_path / "csv"
    write_csv(folder, "ONE", rows_of(seeded_bars())[:1])
    with pytest.raises(InputError, match="none of 1 stocks can be used; ONE: only 1 bar"):
        prepare(f"dir:{folder}", None, tmp_path / "bars")
    assert not any(path.name.startswith(".new") for path in (tmp_path / "bars").iterdir())


def test_apart_gives_the_same(tmp_path):
    text, root = f"dir:{folder_of(tmp_path)}", tmp_path / "bars"
    apart = prepare_apart(text, None, tmp_path / "other")
    here = prepare(text, None, root)
    assert (apart.data_hash, apart.symbols, apart.refused) == (
        here.data_hash,
        here.symbols,
        here.refused,
    )
    assert prepare_apart(text, None, tmp_path / "other").is_known
    with pytest.raises(InputError, match="no such file or name"):
        prepare_apart(text, "sp500", root)


def test_a_file_that_cannot_be_opened_is_one_message(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "DDD.csv").mkdir()
    done = prepare_apart(f"dir:{folder}", None, tmp_path / "bars")
    assert done.symbols == ("AAA", "BBB", "CCC")
    assert "DDD.csv cannot be read: [Errno 21]" in done.refused["DDD"]
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable, match="bars cannot be written: Not a directory"):
        prepare_apart(f"dir:{folder}", None, tmp_path / "file" / "bars")


class Flaky:
    """A source that lost a stock at the first reading."""

    name, can_list, readings = "flaky", True, 0

    def fingerprint(self):
        return "one"

    def symbols(self):
        return ["AAA", "BBB"]

    def read(self, symbols):
        Flaky.readings += 1
        bars = seeded_bars("AAA")
        columns = {name: getattr(bars, name) for name in (*PRICES, "volume")}
        yield RawSeries("AAA", columns, bars.day, adjusted=True)
        if Flaky.readings == 1:
            yield RawSeries("BBB", problem="no answer", is_passing=True)
        else:
            yield RawSeries("BBB", columns, bars.day, adjusted=True)


def test_what_failed_in_passing_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tradebox.backtest.data.prepare.parse_source", lambda _: Flaky())
    done = [prepare("flaky", None, tmp_path) for _ in range(3)]
    assert [one.symbols for one in done] == [("AAA",), ("AAA", "BBB"), ("AAA", "BBB")]
    assert [one.is_known for one in done] == [False, False, True]
    assert Flaky.readings == 2
