"""The regular hours of the New York Stock Exchange from 2007 on, by rule.

Rules of this file:
- it must agree with the calendar that the engine gets from exchange_calendars (a test compares);
- no calendar library: the simulator starts in a tenth of a second and lives without pandas;
- sessions are numbered: 0 is `FIRST_DAY`, the day before it is -1.

Source: NYSE Rule 7.2 and its list of special closings.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

FIRST_DAY = date(2016, 1, 4)
"""The session with number 0: where a new simulator begins."""

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
BEFORE_MINUTES = 330
"""What trades before the session does so from 04:00 on."""

AFTER_MINUTES = 240
"""What trades after the session does so for four hours, until 20:00 mostly."""

_ZONE = ZoneInfo("America/New_York")
_FIRST_YEAR = 2007
_LAST_YEAR = 2200
_SPECIAL_CLOSINGS = frozenset(
    {
        date(2007, 1, 2),
        date(2012, 10, 29),
        date(2012, 10, 30),
        date(2018, 12, 5),
        date(2025, 1, 9),
    }
)


@dataclass(frozen=True, slots=True)
class Hours:
    """The regular hours of one session, [open_ns, close_ns) in UTC nanoseconds."""

    day: date
    number: int
    open_ns: int
    close_ns: int
    is_early_close: bool

    @property
    def minutes(self) -> int:
        """Return how many minutes the session has."""
        return (self.close_ns - self.open_ns) // MINUTE_NS

    @property
    def before_ns(self) -> int:
        """Return when trading before the session begins."""
        return self.open_ns - BEFORE_MINUTES * MINUTE_NS

    @property
    def after_ns(self) -> int:
        """Return when trading after the session ends."""
        return self.close_ns + AFTER_MINUTES * MINUTE_NS

    def begin_ns(self, *, is_whole: bool) -> int:
        """Return when its trading begins: of the whole day, or of the regular session."""
        return self.before_ns if is_whole else self.open_ns

    def end_ns(self, *, is_whole: bool) -> int:
        """Return when its trading ends: of the whole day, or of the regular session."""
        return self.after_ns if is_whole else self.close_ns

    def minutes_played(self, *, is_whole: bool) -> range:
        """Return its minutes, counted from the open; those before it are negative."""
        if is_whole:
            return range(-BEFORE_MINUTES, self.minutes + AFTER_MINUTES)
        return range(self.minutes)


def _weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """Return the nth weekday of a month; nth -1 is the last."""
    if nth > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))
    after = date(year + month // 12, month % 12 + 1, 1)
    return after - timedelta(days=(after.weekday() - weekday - 1) % 7 + 1)


def _observed(day: date) -> date:
    """Return the weekday on which a fixed holiday is kept."""
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _easter(year: int) -> date:
    """Return Easter Sunday (the anonymous Gregorian computus)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * i) // 451
    month, day = divmod(h + i - 7 * m + 114, 31)
    return date(year, month, day + 1)


@cache
def holidays(year: int) -> frozenset[date]:
    """Return the weekdays of a year on which the exchange stays closed."""
    new_year = date(year, 1, 1)
    days = {
        _weekday(year, 1, 0, 3),
        _weekday(year, 2, 0, 3),
        _easter(year) - timedelta(days=2),
        _weekday(year, 5, 0, -1),
        _observed(date(year, 7, 4)),
        _weekday(year, 9, 0, 1),
        _weekday(year, 11, 3, 4),
        _observed(date(year, 12, 25)),
    }
    if new_year.weekday() != 5:
        days.add(_observed(new_year))
    if year >= 2022:
        days.add(_observed(date(year, 6, 19)))
    return frozenset(days | {day for day in _SPECIAL_CLOSINGS if day.year == year})


def is_early_close(day: date) -> bool:
    """Say whether a session ends at 13:00."""
    if day == _weekday(day.year, 11, 3, 4) + timedelta(days=1):
        return True
    if (day.month, day.day) == (12, 24):
        return True
    independence = date(day.year, 7, 4).weekday()
    if day.year < 2013 and independence == 3:
        return (day.month, day.day) == (7, 5)
    return (day.month, day.day) == (7, 3) and independence in (1, 2, 3, 4)


@cache
def _sessions_until(year: int) -> tuple[date, ...]:
    """Return every session day from the first year to the end of the given one."""
    earlier = _sessions_until(year - 1) if year > _FIRST_YEAR else ()
    day, closed = date(year, 1, 1), holidays(year)
    days = []
    while day.year == year:
        if day.weekday() < 5 and day not in closed:
            days.append(day)
        day += timedelta(days=1)
    return earlier + tuple(days)


@cache
def session(number: int) -> Hours:
    """Return the session with that number."""
    first = bisect_left(_sessions_until(FIRST_DAY.year), FIRST_DAY)
    index, year = first + number, FIRST_DAY.year
    assert index >= 0, number
    while index >= len(_sessions_until(year)):
        year += 1
        assert year < _LAST_YEAR, number
    day = _sessions_until(year)[index]
    early = is_early_close(day)
    return Hours(
        day=day,
        number=number,
        open_ns=_at(day, time(9, 30)),
        close_ns=_at(day, time(13) if early else time(16)),
        is_early_close=early,
    )


def number_of(day: date) -> int:
    """Return the number of the last session on or before a day."""
    first = bisect_left(_sessions_until(FIRST_DAY.year), FIRST_DAY)
    return bisect_right(_sessions_until(day.year), day) - 1 - first


def session_from(at_ns: int) -> Hours:
    """Return the session that is open at a market time, else the next one."""
    day = datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(_ZONE).date()
    hours = session(number_of(day))
    return hours if at_ns < hours.close_ns else session(hours.number + 1)


def session_of(at_ns: int, *, is_whole: bool) -> Hours:
    """Return the session whose trading goes on at a market time, else the next one."""
    one = session_from(at_ns)
    if not is_whole:
        return one
    before = session(one.number - 1)
    return before if at_ns < before.after_ns else one


def session_begun(at_ns: int) -> Hours:
    """Return the last session that has opened by a market time."""
    one = session_from(at_ns)
    return one if one.open_ns <= at_ns else session(one.number - 1)


def next_change_ns(at_ns: int) -> int:
    """Return the next open, close or New York midnight after a market time.

    The begin and the end of the trading around the session are changes as well.
    """
    one = session_of(at_ns, is_whole=True)
    following_one = session(one.number + 1)
    day = datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(_ZONE).date()
    midnight_ns = _at(day + timedelta(days=1), time(0))
    following = (
        midnight_ns,
        *(one.before_ns, one.open_ns, one.close_ns, one.after_ns),
        *(following_one.before_ns, following_one.open_ns),
    )
    return min(at for at in following if at > at_ns)


def is_open(at_ns: int) -> bool:
    """Say whether the regular session is open at a market time."""
    hours = session_from(at_ns)
    return hours.open_ns <= at_ns < hours.close_ns


def is_tradable(at_ns: int) -> bool:
    """Say whether anything may trade at a market time, before, in or after the session."""
    hours = session_of(at_ns, is_whole=True)
    return hours.before_ns <= at_ns < hours.after_ns


def _at(day: date, wall: time) -> int:
    moment = datetime.combine(day, wall, tzinfo=_ZONE)
    return int(moment.timestamp()) * SECOND_NS
