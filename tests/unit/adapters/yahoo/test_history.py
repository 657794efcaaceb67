"""Kept history: whole or not at all, for a limited time, with its hash."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.adapters.yahoo.desk import FAILURES_MAX, HistoryDesk, Manners
from tradebox.adapters.yahoo.history import COLUMNS, HistoryStore, Series
from tradebox.errors import VendorUnavailable
from tradebox.supervision.clock import ManualClock

HOUR_S = 3600.0
QUICK = Manners(pause_s=0.0, chunk_pause_s=0.0, wait_first_s=0.0)


def series(count=3, close=10.0):
    days = tuple(f"2024-01-{number + 1:02}" for number in range(count))
    columns = {name: [close + number for number in range(count)] for name in COLUMNS}
    return Series(days, columns, "USD")


@pytest.fixture
def store(tmp_path):
    return HistoryStore(tmp_path, "yahoo", 6 * HOUR_S)


def test_a_series_comes_back_as_it_was_kept(store):
    about = store.write("BRK-B", "10y", series(), 1000.0)
    kept = store.read("BRK-B", "10y")
    assert (kept.about, kept.series) == (about, series())
    assert (about.bars, about.first_day, about.last_day) == (3, "2024-01-01", "2024-01-03")
    assert [one.symbol for one in store.listed()] == ["BRK-B"]
    assert store.read("BRK-B", "5y") is None


def test_it_may_be_used_for_a_limited_time(store):
    store.write("A", "10y", series(), 1000.0)
    assert store.fresh("A", "10y", 1000.0 + 6 * HOUR_S - 1) is not None
    assert store.fresh("A", "10y", 1000.0 + 6 * HOUR_S) is None
    assert store.fresh("A", "10y", 999.0) is None, "a clock that was set back trusts nothing"
    assert store.read("A", "10y") is not None


def test_a_close_that_comes_ends_it_earlier(store):
    store.write("A", "10y", series(), 1000.0, next_close_s=1000.0 + HOUR_S)
    assert store.fresh("A", "10y", 1000.0 + 1.4 * HOUR_S) is not None
    assert store.fresh("A", "10y", 1000.0 + 1.6 * HOUR_S) is None


def test_a_new_series_takes_the_place_of_the_old_one_whole(store):
    first = store.write("A", "10y", series(20), 1000.0)
    before = store.stamp(1000.0)
    second = store.write("A", "10y", series(2, close=5.0), 2000.0)
    assert store.read("A", "10y").series == series(2, close=5.0)
    assert first.data_hash != second.data_hash
    assert store.stamp(1000.0) != before


def test_the_stamp_changes_when_the_first_series_expires(store):
    store.write("A", "10y", series(), 1000.0, next_close_s=1000.0 + HOUR_S)
    store.write("B", "10y", series(), 1001.0)
    assert store.stamp(1002.0) == store.stamp(1000.0 + 1.4 * HOUR_S)
    assert store.stamp(1000.0 + 1.6 * HOUR_S) != store.stamp(1002.0)
    store.write("A", "10y", series(), 1000.0 + 1.6 * HOUR_S)
    assert "usable" in store.stamp(1000.0 + 2 * HOUR_S)


@pytest.mark.parametrize("harm", ["content", "cut", "other", "about", "format"])
def test_what_does_not_fit_together_is_not_there(store, harm):
    store.write("A", "10y", series(), 1000.0)
    data, about = store.data_file("A", "10y"), store._about_file("A", "10y")
    if harm == "content":
        store.write("B", "10y", series(4), 1000.0)
        data.write_bytes(store.data_file("B", "10y").read_bytes())
    elif harm == "cut":
        data.write_bytes(data.read_bytes()[:20])
    elif harm == "other":
        data.unlink()
    elif harm == "about":
        about.write_text("{")
    else:
        about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    assert store.fresh("A", "10y", 1001.0) is None


@pytest.mark.parametrize("symbol", ["../../etc/passwd", ".", "..", "^GSPC", "A/B", "EURUSD=X", "é"])
def test_no_symbol_leads_out_of_the_folder(store, symbol):
    store.write(symbol, "10y", series(), 1000.0)
    path = store.data_file(symbol, "10y")
    assert path.resolve().parent == (store.folder / "10y").resolve()
    assert store.read(symbol, "10y").about.symbol == symbol
    assert [one.symbol for one in store.listed()] == [symbol]


@given(values=st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=9))
def test_holds_every_value_survives(tmp_path_factory, values):
    kept = HistoryStore(tmp_path_factory.mktemp("history"), "yahoo", 1.0)
    days = tuple(f"2024-01-{number + 1:02}" for number in range(len(values)))
    one = Series(days, dict.fromkeys(COLUMNS, values), "USD")
    kept.write("A", "1y", one, 0.0)
    found = kept.read("A", "1y").series
    assert found.days == days
    assert all(list(found.columns[name]) == values for name in COLUMNS)


class Worker:
    """Answers from a list; a fault where there is none."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    async def ask(self, *, symbol, **_):
        self.asked.append(symbol)
        answer = self.answers.get(symbol)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:
            raise VendorUnavailable("dead")
        return answer


def told(one):
    return {
        "days": list(one.days), "columns": dict(one.columns), "currency": "USD",
        "next_close_s": None,
    }  # fmt: skip


DOWN = {"no": "throttled", "said": "429"}
NOTHING = {"no": "empty", "said": "Yahoo has no bars"}


def desk(worker, store=None, now_s=1000.0, **fields):
    return HistoryDesk(worker, ManualClock(), lambda: now_s, store=store, manners=QUICK, **fields)


@pytest.mark.asyncio
async def test_what_is_fresh_is_not_asked_for_again_unless_forced(store):
    worker = Worker(A=told(series()))
    first = await desk(worker, store).get("A", "10y")
    second = await desk(worker, store).get("A", "10y")
    assert (first.is_kept, second.is_kept) == (False, True)
    assert first.series == second.series == series()
    assert worker.asked == ["A"]
    await desk(worker, store, is_forced=True).get("A", "10y")
    await desk(worker, store, now_s=1000.0 + 7 * HOUR_S).get("A", "10y")
    assert worker.asked == ["A"] * 3


@pytest.mark.asyncio
async def test_a_failure_is_tried_again_and_an_unknown_stock_is_not():
    worker = Worker(A=[DOWN, told(series())], NOPE=NOTHING)
    one = desk(worker)
    assert (await one.get("A", "10y")).series == series()
    found = await one.get("NOPE", "10y")
    assert (found.problem, found.is_passing) == ("Yahoo has no bars", False)
    assert worker.asked == ["A", "A", "NOPE"]


@pytest.mark.asyncio
async def test_many_failures_in_a_row_are_the_vendors(store):
    one = desk(Worker(A=told(series()), B=DOWN), store)
    await one.get("A", "10y")
    for _ in range(FAILURES_MAX - 1):
        assert (await one.get("B", "10y")).is_passing
    with pytest.raises(VendorUnavailable, match="5 stocks in a row failed"):
        await one.get("DEAD", "10y")
    assert store.read("A", "10y") is not None, "what came before is kept"


@pytest.mark.asyncio
async def test_requests_are_spaced_and_chunks_apart():
    clock = ManualClock()
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    clock.sleep = sleep
    one = HistoryDesk(
        Worker(A=told(series())), clock, lambda: 0.0, manners=Manners(chunk=2, pause_s=0.2)
    )
    for _ in range(5):
        await one.get("A", "1y")
    assert waits == [0.2, 5.0, 0.2, 5.0]


def test_the_canonical_text_is_what_a_folder_of_csv_files_holds():
    text = Series(
        ("2024-01-02",), {**{name: [1.5] for name in COLUMNS}, "high": [None]}, "USD"
    ).text()
    assert text == "date,open,high,low,close,volume\n2024-01-02,1.5,,1.5,1.5,1.5\n"
    assert math.isfinite(float(text.splitlines()[1].split(",")[1]))
