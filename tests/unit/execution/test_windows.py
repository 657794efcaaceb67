"""The reset windows, in New York time on both sides of a clock change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from tradebox.config.settings import NIGHTLY_WINDOWS, AccountSettings
from tradebox.execution.windows import LinkWindows

NEW_YORK = ZoneInfo("America/New_York")


def at(day, hour, minute, month=1):
    moment = datetime(2026, month, day, hour, minute, tzinfo=NEW_YORK)
    return int(moment.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (at(6, 0, 9), False),  # a Tuesday
        (at(6, 0, 10), True),
        (at(6, 1, 44), True),
        (at(6, 1, 45), False),
        (at(6, 10, 0), False),
        (at(7, 0, 20, month=7), True),
        (at(9, 22, 54), False),  # a Friday
        (at(9, 22, 55), True),
        (at(10, 2, 59), True),
        (at(10, 3, 0), False),
        (at(10, 12, 0), False),
        (at(11, 0, 30), True),  # a Sunday
    ],
)
def test_entries_stop_before_and_during_a_reset(moment, expected):
    assert LinkWindows.of(NIGHTLY_WINDOWS, 5).contains(moment) is expected


def test_the_time_left_is_counted_down():
    windows = LinkWindows.of(["Tue 10:00 30"], 5)
    assert windows.left_min(at(6, 9, 54)) is None
    assert windows.left_min(at(6, 9, 55)) == 35
    assert windows.left_min(at(6, 10, 29)) == 1
    assert windows.left_min(at(6, 10, 30)) is None


@pytest.mark.parametrize("text", ["Tue 10:00", "Tue 25:00 10", "Dienstag 10:00 10", "Tue 10:00 0"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValidationError):
        AccountSettings(windows=(text,))
