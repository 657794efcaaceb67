"""Frames of quotes: exact prices, unreadable ones passed over, other messages ignored."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.adapters.ibkr.quotes.reader import QuoteReader, micros_of


class Log:
    """Writes down what it is told."""

    def __init__(self):
        self.told = defaultdict(list)

    def __getattr__(self, name):
        return lambda *args, **fields: self.told[name].append((*args, *fields.values()))


def read(*frames):
    log = Log()
    reader = QuoteReader(log)
    for fields in frames:
        reader.interpret(list(fields))
    return log.told, reader.malformed


def test_every_message_of_a_quote_is_told():
    told, malformed = read(
        ["81", "7", "0.01", "9c0001", "3"],
        ["58", "1", "7", "1"],
        ["1", "6", "7", "1", "99.99", "300", "1"],
        ["2", "6", "7", "8", "123456"],
        ["46", "6", "7", "45", "1300000000"],
        ["45", "6", "7", "49", "1.0"],
        ["4", "2", "-1", "1100", "lost", ""],
        ["49", "1", "1300000001"],
    )
    assert malformed == 0
    assert told == {
        "taken": [(7,)],
        "data_type": [(7, 1)],
        "price": [(7, 1, 99_990_000, 300)],
        "size": [(7, 8, 123456)],
        "time": [(7, 45, 1_300_000_000)],
        "halted": [(7, 49, True)],
        "code": [(-1, 1100, "lost")],
        "current_time": [(1_300_000_001,)],
    }


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("46.000001", 46_000_001),
        ("0.1", 100_000),
        ("-1.0", -1_000_000),
        ("1e-9", 0),
        ("1E2", 100_000_000),
        ("NaN", None),
        ("Infinity", None),
        ("1e300", None),
        ("abc", None),
    ],
)
def test_prices_are_read_without_a_float(text, micros):
    assert micros_of(text) == micros
    told, malformed = read(["1", "6", "7", "4", text, "1", "0"])
    assert told["price"] == [(7, 4, micros, 1)]
    assert malformed == 0


def test_a_halt_that_is_not_known_is_no_halt():
    told, _ = read(["45", "6", "7", "49", "-1.0"], ["45", "6", "7", "49", "0"])
    assert told["halted"] == [(7, 49, False), (7, 49, False)]


def test_what_is_no_message_of_a_quote_is_passed_over():
    told, malformed = read(["5", "1"], ["11", "x"], [], ["999"], ["46", "6", "7", "32", "text"])
    assert not told
    assert malformed == 0


@given(
    st.lists(st.text(max_size=6), max_size=8),
    st.sampled_from(["1", "2", "4", "45", "46", "49", "58", "81"]),
)
def test_no_message_raises(fields, message_id):
    told, malformed = read([message_id, *fields])
    assert malformed + sum(map(len, told.values())) <= 1
