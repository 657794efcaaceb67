"""The reset windows, in New York time on both sides of a clock change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tradebox.execution.windows import in_reset

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
    assert in_reset(moment) is expected
