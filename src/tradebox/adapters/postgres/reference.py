"""Instruments, bars and sessions in PostgreSQL.

Rules of this file:
- many rows go in one statement by arrays, in slices, within one transaction;
- a price is a Decimal on both sides.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.market import Bar, Instrument, Session

SLICE_ROWS: Final = 5_000

_INSTRUMENT = "SELECT symbol, con_id, primary_exchange, currency, increment, name"
_PUT_INSTRUMENTS = """
INSERT INTO trade.instrument (symbol, con_id, primary_exchange, currency, increment, name, source)
SELECT *, $7 FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::numeric[],
                         $6::text[])
ON CONFLICT (symbol) DO UPDATE SET con_id = excluded.con_id,
    primary_exchange = excluded.primary_exchange, currency = excluded.currency,
    increment = excluded.increment, name = excluded.name, source = excluded.source,
    updated_at = clock_timestamp()
"""
_BARS = """
SELECT symbol, interval_s, end_ns, open, high, low, close, volume FROM trade.bar
WHERE symbol = $1 AND interval_s = $2 AND end_ns <= $3 ORDER BY end_ns DESC LIMIT $4
"""
_PUT_BARS = """
INSERT INTO trade.bar (symbol, interval_s, end_ns, open, high, low, close, volume, source)
SELECT *, $9 FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::numeric[], $5::numeric[],
                         $6::numeric[], $7::numeric[], $8::bigint[])
ON CONFLICT (symbol, interval_s, end_ns) DO UPDATE SET open = excluded.open, high = excluded.high,
    low = excluded.low, close = excluded.close, volume = excluded.volume, source = excluded.source
"""
_ACTIONS: Final = """
SELECT kind, amount::text, ex_day AS day FROM trade.corporate_action
WHERE symbol = $1 AND ex_day > $2 AND ex_day <= $3
UNION ALL
SELECT 'split', numerator || ':' || denominator, day FROM trade.split
WHERE symbol = $1 AND day > $2 AND day <= $3
ORDER BY day
"""
_SESSION = "SELECT venue, day, open_ns, close_ns, is_early_close FROM trade.session"
_PUT_SESSIONS = """
INSERT INTO trade.session (venue, day, open_ns, close_ns, is_early_close)
SELECT * FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[], $5::boolean[])
ON CONFLICT (venue, day) DO UPDATE SET open_ns = excluded.open_ns, close_ns = excluded.close_ns,
    is_early_close = excluded.is_early_close
"""
_END_OF_TIME_NS: Final = 2**63 - 1

T = TypeVar("T")


def _slices(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), SLICE_ROWS):
        yield rows[start : start + SLICE_ROWS]


def _session(row: Any) -> Session:
    return Session(
        venue=row["venue"],
        day=row["day"].isoformat(),
        open_ns=row["open_ns"],
        close_ns=row["close_ns"],
        is_early_close=row["is_early_close"],
    )


class PgReference:
    """ReferencePort on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def instrument(self, symbol: str) -> Instrument | None:
        """Return one instrument."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"{_INSTRUMENT} FROM trade.instrument WHERE symbol = $1", symbol
            )
        return None if row is None else Instrument(**row)

    async def instruments(self) -> tuple[Instrument, ...]:
        """Return every instrument, by symbol."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(f"{_INSTRUMENT} FROM trade.instrument ORDER BY symbol")
        return tuple(Instrument(**row) for row in rows)

    async def put_instruments(self, rows: Sequence[Instrument], source: str) -> None:
        """Write instruments; a symbol that is known takes the new values."""
        async with self._pool.connection() as connection, connection.transaction():
            for part in _slices(rows):
                await connection.execute(
                    _PUT_INSTRUMENTS,
                    [row.symbol for row in part],
                    [row.con_id for row in part],
                    [row.primary_exchange for row in part],
                    [row.currency for row in part],
                    [row.increment for row in part],
                    [row.name for row in part],
                    source,
                )

    async def bars(
        self, symbol: str, interval_s: int, count_max: int, until_ns: int | None = None
    ) -> tuple[Bar, ...]:
        """Return the last bars that ended at or before until_ns, oldest first."""
        until = _END_OF_TIME_NS if until_ns is None else until_ns
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_BARS, symbol, interval_s, until, count_max)
        return tuple(Bar(**row) for row in reversed(rows))

    async def put_bars(self, rows: Sequence[Bar], source: str) -> None:
        """Write bars; the same symbol, interval and end takes the new values."""
        async with self._pool.connection() as connection, connection.transaction():
            for part in _slices(rows):
                await connection.execute(
                    _PUT_BARS,
                    [row.symbol for row in part],
                    [row.interval_s for row in part],
                    [row.end_ns for row in part],
                    [row.open for row in part],
                    [row.high for row in part],
                    [row.low for row in part],
                    [row.close for row in part],
                    [row.volume for row in part],
                    source,
                )

    async def actions(self, symbol: str, from_day: str, until_day: str) -> tuple[str, ...]:
        """Return the splits and dividends whose ex-date is after from_day, up to until_day."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                _ACTIONS,
                symbol,
                dt.date.fromisoformat(from_day),
                dt.date.fromisoformat(until_day),
            )
        return tuple(f"{row['kind']} {row['amount']} on {row['day']}" for row in rows)

    async def session_at(self, venue: str, now_ns: int) -> Session | None:
        """Return the session that is open now, or None."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                f"{_SESSION} WHERE venue = $1 AND open_ns <= $2 AND $2 < close_ns", venue, now_ns
            )
        return None if row is None else _session(row)

    async def sessions(self, venue: str, from_ns: int, until_ns: int) -> tuple[Session, ...]:
        """Return the sessions that end after from_ns and open before until_ns, oldest first."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                f"{_SESSION} WHERE venue = $1 AND close_ns > $2 AND open_ns < $3 ORDER BY open_ns",
                venue,
                from_ns,
                until_ns,
            )
        return tuple(_session(row) for row in rows)

    async def put_sessions(self, rows: Sequence[Session]) -> None:
        """Write sessions; the same venue and day takes the new values."""
        async with self._pool.connection() as connection, connection.transaction():
            for part in _slices(rows):
                await connection.execute(
                    _PUT_SESSIONS,
                    [row.venue for row in part],
                    [dt.date.fromisoformat(row.day) for row in part],
                    [row.open_ns for row in part],
                    [row.close_ns for row in part],
                    [row.is_early_close for row in part],
                )

    async def horizon_ns(self, venue: str) -> int | None:
        """Return the close of the last known session, or None: hours are unknown after it."""
        async with self._pool.connection() as connection:
            horizon: int | None = await connection.fetchval(
                "SELECT max(close_ns) FROM trade.session WHERE venue = $1", venue
            )
        return horizon
