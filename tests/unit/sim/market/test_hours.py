"""The rule-made calendar against the library that the engine's sessions come from."""

import json
import subprocess
import sys
from datetime import date

from tradebox.sim.market import hours

ASK = """
import json, exchange_calendars
calendar = exchange_calendars.get_calendar("XNYS", start="2008-01-01", end="2027-06-30")
rows = calendar.schedule
print(json.dumps([[str(day.date()), opened.value, closed.value] for day, opened, closed in
                  zip(rows.index, rows["open"], rows["close"])]))
"""


def test_every_session_agrees_with_exchange_calendars() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, check=True, timeout=50
    )
    expected = json.loads(answer.stdout)
    first = hours.number_of(date(2008, 1, 2))
    made = [hours.session(first + index) for index in range(len(expected))]
    assert [[str(one.day), one.open_ns, one.close_ns] for one in made] == expected
    assert all(one.is_early_close == (one.minutes == 210) for one in made)


def test_sessions_are_numbered_from_the_first_day() -> None:
    assert hours.session(0).day == hours.FIRST_DAY
    assert hours.number_of(hours.FIRST_DAY) == 0
    assert hours.session(-1).day == date(2015, 12, 31)
    assert hours.number_of(date(2016, 1, 3)) == -1


def test_a_moment_belongs_to_the_open_session_or_the_next() -> None:
    monday = hours.session(0)
    assert hours.session_from(monday.open_ns - 1) == monday
    assert hours.session_from(monday.close_ns - 1) == monday
    assert hours.session_from(monday.close_ns) == hours.session(1)
    assert not hours.is_open(monday.open_ns - 1)
    assert hours.is_open(monday.open_ns)
    assert hours.is_open(monday.close_ns - 1)
    assert not hours.is_open(monday.close_ns)


def test_trading_around_the_session_is_from_four_to_twenty():
    monday = hours.session(0)
    friday = hours.session(-1)
    assert (monday.open_ns - monday.before_ns, monday.after_ns - monday.close_ns) == (
        330 * hours.MINUTE_NS,
        240 * hours.MINUTE_NS,
    )
    for at_ns, is_so in (
        (monday.before_ns - 1, False),
        (monday.before_ns, True),
        (monday.open_ns, True),
        (monday.after_ns - 1, True),
        (monday.after_ns, False),
    ):
        assert hours.is_tradable(at_ns) == is_so
    assert hours.session_of(friday.after_ns - 1, is_whole=True) == friday
    assert hours.session_of(friday.after_ns - 1, is_whole=False) == monday
    assert hours.session_of(friday.after_ns, is_whole=True) == monday
    changes = [monday.before_ns]
    while changes[-1] < monday.after_ns:
        changes.append(hours.next_change_ns(changes[-1]))
    assert changes == [monday.before_ns, monday.open_ns, monday.close_ns, monday.after_ns]
