"""What a console reads of backtests: runs, their stocks, small equity curves.

Rules of this file:
- SELECT on the views of schema `console` alone, always with a limit, best or newest first;
- figures are out of sample; what was not measured is None.
"""

from collections.abc import Mapping
from typing import Any, Final

RUNS_MAX, RESULTS_MAX = 200, 1000

RUNS_SQL: Final = """
SELECT run_id, state, universe, array_to_string(strategies, ' ') AS strategies, symbol_count,
       task_count, task_ended, result_count, refused_count, failed_count, mismatch_count, grade_a,
       grade_b, grade_c, grade_d, grade_f, error,
       (extract(epoch FROM created_at) * 1e9)::bigint AS created_ns,
       extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)::float8 AS took_s
FROM console.backtest_run ORDER BY created_at DESC, run_id DESC LIMIT $1
"""
RESULTS_SQL: Final = """
SELECT run_id, symbol, status, strategy, grade, trades, expectancy_r, profit_factor, drawdown_r,
       sharpe, is_verified
FROM console.backtest_result WHERE run_id = $1
ORDER BY array_position(ARRAY['A', 'B', 'C', 'D', 'F', ''], grade), expectancy_r DESC NULLS LAST,
         symbol
LIMIT $2
"""
R_BIN: Final = 0.25
"""Width of a bin in R: bin n holds the trades from n * R_BIN up to (n + 1) * R_BIN."""

SPREAD_SQL: Final = """
SELECT b.key::integer AS bin, sum(b.value::integer)::integer AS trades
FROM console.backtest_result r, jsonb_each_text(r.metrics -> 'r_bins') AS b
WHERE r.run_id = $1 GROUP BY 1 ORDER BY 1
"""
SPARK_SQL: Final = """
SELECT spark FROM console.backtest_equity WHERE run_id = $1 AND symbol = $2
"""


def plain_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a dict."""
    return dict(record)
