"""What is stored of runs, read for people, for reports and for cleaning.

Rules of this file:
- nothing here changes a result; removing is of whole runs;
- a run may be named by its id, by the beginning of one, or as "last".

Public names: RunReader, StoredStock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from tradebox.backtest.records import StockResult
from tradebox.backtest.store import BacktestStore
from tradebox.backtest.store_encoding import decode
from tradebox.errors import NameAmbiguous, NotRunning

LAST: Final = "last"
CANDIDATES_MAX: Final = 8
BUSY_HOURS: Final = 6
"""A run that says it is running and has done nothing for so long is nobody's any more."""

_RESULTS: Final = """
SELECT * FROM backtest.result WHERE run_id = $1 AND symbol = ANY($2::text[]) ORDER BY symbol
"""
_TRADES: Final = "SELECT * FROM backtest.trade WHERE run_id = $1 AND symbol = ANY($2::text[])"
_EQUITIES: Final = "SELECT * FROM backtest.equity WHERE run_id = $1 AND symbol = ANY($2::text[])"
_SIZES: Final = """
SELECT (SELECT coalesce(sum(pg_column_size(r.*)), 0) FROM backtest.result r WHERE run_id = $1)
         AS result_bytes,
       (SELECT coalesce(sum(pg_column_size(t.*)), 0) FROM backtest.trade t WHERE run_id = $1)
         AS trade_bytes,
       (SELECT coalesce(sum(pg_column_size(e.*)), 0) FROM backtest.equity e WHERE run_id = $1)
         AS equity_bytes,
       (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
         WHERE c.relnamespace = 'backtest'::regnamespace AND c.relkind = 'r') AS schema_bytes
"""
_OLD: Final = """
SELECT run_id FROM backtest.run r
WHERE created_at < clock_timestamp() - $1::interval
  AND NOT (state = 'running' AND greatest(r.created_at, (SELECT max(t.claimed_at)
           FROM backtest.task t WHERE t.run_id = r.run_id)) > clock_timestamp() - $2::interval)
ORDER BY created_at
"""


@dataclass(frozen=True, slots=True, eq=False)
class StoredStock:
    """A stock of a run, with what is needed to judge it again."""

    run: Mapping[str, Any]
    result: StockResult


class RunReader:
    """Reads and removes runs through an open store."""

    def __init__(self, store: BacktestStore) -> None:
        self._store = store

    async def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return runs, newest first. Raises: StoreUnavailable."""
        return await self._rows(
            "SELECT * FROM console.backtest_run ORDER BY created_at DESC, run_id DESC LIMIT $1",
            limit,
        )

    async def run_id(self, name: str) -> str:
        """Return the id that a name means.

        Raises: NotRunning where there is none; NameAmbiguous where it begins several.
        """
        if name == LAST:
            newest = await self.runs(1)
            if not newest:
                raise NotRunning("there is no run yet: `tradebox backtest run` makes one")
            return str(newest[0]["run_id"])
        rows = await self._rows(
            "SELECT run_id FROM backtest.run WHERE starts_with(run_id, $1) ORDER BY run_id"
            " LIMIT $2",
            name,
            CANDIDATES_MAX + 1,
        )
        found = [str(row["run_id"]) for row in rows]
        if name in found:
            return name
        if not found or not name:
            raise NotRunning(f"there is no run {name}: `tradebox backtest list` shows them")
        if len(found) > 1:
            shown, more = found[:CANDIDATES_MAX], "" if len(found) <= CANDIDATES_MAX else ", …"
            raise NameAmbiguous(
                f"RUN={name}: several runs begin so: {', '.join(shown)}{more}: give more of the id",
                field="RUN",
                value=name,
                candidates=tuple(shown),
            )
        return found[0]

    async def run(self, name: str) -> dict[str, Any]:
        """Return a run with all it was asked for. Raises: as run_id."""
        run_id = await self.run_id(name)
        rows = await self._rows(
            "SELECT v.*, r.symbols, r.refused, r.data_source, r.data_path, r.config"
            " FROM console.backtest_run v JOIN backtest.run r USING (run_id)"
            " WHERE run_id = $1",
            run_id,
        )
        if not rows:
            raise NotRunning(f"run {run_id} was removed")
        return rows[0]

    async def results(
        self, run_id: str, *, grades: Sequence[str] = (), status: str | None = None
    ) -> list[dict[str, Any]]:
        """Return a run's stocks without their arrays, best grade first."""
        return await self._rows(
            "SELECT symbol, status, strategy, setting, grade, trades, expectancy_r, profit_factor,"
            " drawdown_r, sharpe, trials, is_verified, result_hash, metrics, reasons, details"
            " FROM backtest.result WHERE run_id = $1"
            " AND (cardinality($2::text[]) = 0 OR grade = ANY($2))"
            " AND ($3::text IS NULL OR status = $3)"
            " ORDER BY nullif(grade, '') NULLS LAST, expectancy_r DESC NULLS LAST, symbol",
            run_id,
            list(grades),
            status,
        )

    async def stock(self, name: str, symbol: str) -> StoredStock:
        """Return one stock of a run with its arrays.

        Raises: NotRunning where the run or the stock is unknown, or its data was refused.
        """
        run = await self.run(name)
        found = await self.stocks(run["run_id"], [symbol])
        if found:
            return StoredStock(run, found[0])
        if symbol in run["refused"]:
            raise NotRunning(f"{symbol} was not tested: {run['refused'][symbol]}")
        raise NotRunning(f"run {run['run_id']} has no stock {symbol}: `backtest show` lists them")

    async def stocks(self, run_id: str, symbols: Sequence[str]) -> list[StockResult]:
        """Return the named stocks of a run with their arrays, in the order of their symbols."""
        wanted = list(symbols)
        rows = await self._rows(_RESULTS, run_id, wanted)
        trades = await self._rows(_TRADES, run_id, wanted)
        equities = await self._rows(_EQUITIES, run_id, wanted)
        trade_of = {row["symbol"]: row for row in trades}
        equity_of = {row["symbol"]: row for row in equities}
        return [decode(row, trade_of.get(row["symbol"]), equity_of.get(row["symbol"]))
                for row in rows]  # fmt: skip

    async def sizes(self, run_id: str) -> dict[str, int]:
        """Return the bytes of a run's rows, and of the whole schema with its indexes."""
        rows = await self._rows(_SIZES, run_id)
        return {name: int(value or 0) for name, value in rows[0].items()}

    async def old_runs(self, older_than_days: float) -> list[str]:
        """Return the runs older than so many days that nobody works on, oldest first."""
        rows = await self._rows(_OLD, timedelta(days=older_than_days), timedelta(hours=BUSY_HOURS))
        return [str(row["run_id"]) for row in rows]

    async def remove(self, run_ids: Sequence[str]) -> int:
        """Remove whole runs and return how many there were."""
        rows = await self._rows(
            "DELETE FROM backtest.run WHERE run_id = ANY($1::text[]) RETURNING run_id",
            list(run_ids),
        )
        return len(rows)

    async def data_paths(self) -> set[str]:
        """Return the folders of bars that a stored run names."""
        rows = await self._rows("SELECT DISTINCT data_path FROM backtest.run")
        return {str(row["data_path"]) for row in rows}

    async def _rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        async with self._store.connection() as connection:
            return [dict(row) for row in await connection.fetch(query, *values)]
