"""Regular hours of the New York Stock Exchange as exchange_calendars knows them.

Rules of this file:
- it loads pandas (0.3 s, 70 MB): only the worker process imports it, never the engine;
- a session is given whole or not at all; what lies beyond the library's knowledge is left out.
"""

from datetime import date, timedelta

import exchange_calendars
import pandas as pd

from tradebox.domain.market import Session

VENUE = "XNYS"


def sessions_between(first: date, last: date) -> list[Session]:
    """Return the sessions of the days from first to last, oldest first."""
    assert first <= last, (first, last)
    # The library wants at least one session inside its bounds.
    margin = timedelta(days=14)
    calendar = exchange_calendars.get_calendar(
        VENUE, start=str(first - margin), end=str(last + margin)
    )
    early = set(calendar.early_closes)
    rows = calendar.schedule.loc[pd.Timestamp(first) : pd.Timestamp(last)]
    return [
        Session(
            venue=VENUE,
            day=str(day.date()),
            open_ns=int(opened.value),
            close_ns=int(closed.value),
            is_early_close=day in early,
        )
        for day, opened, closed in zip(rows.index, rows["open"], rows["close"], strict=True)
    ]
