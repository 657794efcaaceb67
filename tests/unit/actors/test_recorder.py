"""The recorder: whole trades by day, a disk that fails, a file that a crash has cut."""

import fcntl
import os
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from support.ticks import T0, S, admitted
from tradebox.actors import recorder
from tradebox.actors.recorder import TapeBook, write_days
from tradebox.domain.market import Quality
from tradebox.domain.tape import HEADER, TapeTrade, read_tape, tape_line


def trades(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(read_tape(file))


def taped(*ticks, book=None):
    book = TapeBook() if book is None else book
    for tick in ticks:
        book.take(tick)
    return book


def test_a_line_is_the_trade_and_the_day_is_new_yorks(tmp_path):
    midnight_s = 21 * 3600
    book = taped(admitted("SPY", 130.55), admitted("AAPL", 46.1234, midnight_s))
    write_days(tmp_path / "tape", book.hand_out(), 20)
    files = sorted((tmp_path / "tape").iterdir())
    assert [file.name for file in files] == ["2011-03-13.csv", "2011-03-14.csv"]
    assert [tuple(one) for one in trades(files[0])] == [("SPY", T0, 130_550_000, 100)]
    assert files[0].stat().st_mode & 0o777 == 0o600


def test_what_is_no_print_is_not_on_the_tape():
    book = taped(
        admitted(quality=Quality.SUSPECT),
        admitted(quality=Quality.EOD),
        replace(admitted(), size=0),
    )
    assert book.hand_out() == {}
    assert (book.taken, book.skipped) == (0, 3)


def test_appending_goes_on_after_a_line_that_a_crash_cut(tmp_path):
    book = taped(admitted("SPY", 100))
    write_days(tmp_path, book.hand_out(), 20)
    path = tmp_path / "2011-03-13.csv"
    with path.open("ab") as file:
        file.write(b"SPY,13000000")
    write_days(tmp_path, taped(admitted("SPY", 101, 1), book=book).hand_out(), 20)
    assert [one.price_micros for one in trades(path)] == [100_000_000, 101_000_000]
    path.write_bytes(HEADER.encode()[:5])
    write_days(tmp_path, taped(admitted("SPY", 102, 2), book=book).hand_out(), 20)
    assert [one.price_micros for one in trades(path)] == [102_000_000]


def test_a_second_writer_of_a_file_waits_for_the_first(tmp_path):
    """A recorder that was replaced while its disk hung may still write: no line is torn."""
    write_days(tmp_path, taped(admitted("SPY", 100)).hand_out(), 20)
    path = tmp_path / "2011-03-13.csv"
    with path.open("r+b") as first, ThreadPoolExecutor(1) as threads:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threads.submit(write_days, tmp_path, taped(admitted("SPY", 102, 2)).hand_out(), 20)
        wait([second], timeout=0.2)
        first.seek(0, os.SEEK_END)
        first.write(tape_line(TapeTrade("SPY", T0 + S, 101_000_000, 100)).encode())
        first.flush()
        fcntl.flock(first, fcntl.LOCK_UN)
        second.result(20)
    assert [one.price_micros for one in trades(path)] == [100_000_000, 101_000_000, 102_000_000]


def test_only_the_newest_files_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("not a tape")
    for day in range(5):
        write_days(tmp_path, taped(admitted(at_s=day * 86_400)).hand_out(), 2)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["2011-03-16.csv", "2011-03-17.csv", "notes.txt"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    book = taped(admitted("SPY", 100))
    write_days(tmp_path, book.hand_out(), 20)
    path = tmp_path / "2011-03-13.csv"
    before, real = path.read_bytes(), recorder.os.pwrite

    def full(handle, data, at):
        if at > len(before):
            raise OSError(28, "no space")
        return real(handle, data[:7], at)

    monkeypatch.setattr(recorder.os, "pwrite", full)
    days = taped(admitted("SPY", 101, 1), book=book).hand_out()
    with pytest.raises(OSError, match="no space"):
        write_days(tmp_path, days, 20)
    assert path.read_bytes() == before
    book.take_back(days)
    monkeypatch.undo()
    write_days(tmp_path, book.hand_out(), 20)
    assert len(trades(path)) == 2


def test_lines_that_wait_are_bounded_oldest_first_out():
    book = taped(*(admitted("SPY", 100, n) for n in range(5)), book=TapeBook(lines_max=3))
    assert book.dropped == 2
    days = book.hand_out()
    taped(admitted("SPY", 100, 6), admitted("SPY", 100, 7), book=book)
    book.take_back(days)
    assert book.dropped == 4
    lines = [line for lines in book.hand_out().values() for line in lines]
    assert [int(line.split(",")[1]) for line in lines] == [T0 + n * S for n in (4, 6, 7)]
