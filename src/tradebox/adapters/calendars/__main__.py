"""`python -m tradebox.adapters.calendars`: writes market hours into PostgreSQL and ends.

Rules of this file:
- the password is in the environment, never on the command line;
- the last line on stdout is the JSON result; a refusal is one line on stderr;
- rows that are there already are replaced, so it may run any number of times.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tradebox.adapters.calendars.sessions import VENUE, sessions_between
from tradebox.adapters.marketclock import AffineMarketClock, WallMarketClock
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.domain.market import Session
from tradebox.errors import ConfigInvalid, TradeboxError
from tradebox.supervision.clock import MonotonicClock

DSN_VARIABLE = "TRADEBOX_CALENDAR_DSN"
DAYS_BEFORE = 30
DAYS_AFTER = 800
"""A simulator at speed 20 uses this up in five days of running, at wall speed in two years."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sessions and print what was written; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tradebox.adapters.calendars")
    parser.add_argument("--dsn-env", default=DSN_VARIABLE, help="variable that holds the DSN")
    parser.add_argument("--from", dest="first", help="first day, YYYY-MM-DD")
    parser.add_argument("--to", dest="last", help="last day, YYYY-MM-DD")
    parser.add_argument("--clock-file", type=Path, help="also the simulator's days")
    given = parser.parse_args(argv)
    try:
        dsn = os.environ.get(given.dsn_env)
        if not dsn:
            raise ConfigInvalid(
                f"{given.dsn_env} is not set: put the DSN of role trade_rw there",
                field="dsn_env",
                value=given.dsn_env,
            )
        spans = spans_of(given.first, given.last, given.clock_file)
        result = asyncio.run(write(dsn, spans))
    except TradeboxError as error:
        sys.stderr.write(f"tradebox calendars: {error.message}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def spans_of(
    first: str | None, last: str | None, clock_file: Path | None
) -> list[tuple[date, date]]:
    """Return the spans of days to write: those given, else around today, and around the sim's.

    Raises: ConfigInvalid for days that are none or in the wrong order; NotRunning without a clock.
    """
    today = _day_of(WallMarketClock().now_ns())
    start = _parsed("from", first) or today - timedelta(days=DAYS_BEFORE)
    end = _parsed("to", last) or start + timedelta(days=DAYS_BEFORE + DAYS_AFTER)
    if end < start:
        raise ConfigInvalid(
            f"to={end} lies before from={start}: give a later day", field="to", value=str(end)
        )
    spans = [(start, end)]
    if clock_file is not None:
        simulated = _day_of(AffineMarketClock(clock_file).now_ns())
        before, after = timedelta(days=DAYS_BEFORE), timedelta(days=DAYS_AFTER)
        spans.append((simulated - before, simulated + after))
    return spans


async def write(dsn: str, spans: Sequence[tuple[date, date]]) -> dict[str, object]:
    """Write the sessions of the spans. Raises StoreUnavailable."""
    rows: dict[str, Session] = {}
    for first, last in spans:
        rows |= {one.day: one for one in sessions_between(first, last)}
    pool = PgPool(dsn, MonotonicClock())
    try:
        reference = PgReference(pool)
        await reference.put_sessions(tuple(rows[day] for day in sorted(rows)))
        horizon_ns = await reference.horizon_ns(VENUE)
    finally:
        await pool.close()
    return {
        "venue": VENUE,
        "sessions": len(rows),
        "early_closes": sum(one.is_early_close for one in rows.values()),
        "horizon_ns": horizon_ns,
    }


def _day_of(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).date()


def _parsed(field: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigInvalid(
            f"{field}={text!r} is no day: give YYYY-MM-DD", field=field, value=text
        ) from error


if __name__ == "__main__":
    sys.exit(main())
