"""Writes what the stand-in market trades into PostgreSQL: instruments and past daily bars.

Rules of this file:
- a short-lived process of its own, run after the migrations in profile sim only;
- rows of an earlier run are replaced, so it may run any number of times;
- outside the sim the same rows come from the broker: contracts at arming, bars once a day.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from tradebox.adapters.marketclock import AffineMarketClock
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.domain.market import Bar, Instrument
from tradebox.domain.money import to_decimal
from tradebox.errors import ExitCode, TradeboxError
from tradebox.sim.exchange.market_port import Bar as SimBar
from tradebox.sim.market.data import load
from tradebox.sim.market.history import DAY_S, History
from tradebox.sim.market.replay import Replay
from tradebox.supervision.clock import MonotonicClock

DSN_VARIABLE = "TRADEBOX_SEED_DSN"
DAYS = 60


async def seed(dsn: str, clock_file: Path, market_seed: int) -> dict[str, int]:
    """Write instruments and the last daily bars. Raises StoreUnavailable."""
    pool = PgPool(dsn, MonotonicClock())
    try:
        reference = PgReference(pool)
        replay = Replay(load(), market_seed)
        now_ns = AffineMarketClock(clock_file).now_ns()
        history = History(replay)
        instruments = [
            Instrument(
                one.instrument.symbol,
                one.instrument.con_id,
                one.instrument.primary_exchange,
                one.instrument.currency,
                to_decimal(one.instrument.increment_micros),
                one.instrument.name,
            )
            for one in replay.series
        ]
        bars = [
            _bar(instrument.symbol, bar)
            for instrument in instruments
            for bar in history.bars(instrument.symbol, DAY_S, now_ns, DAYS)
        ]
        await reference.put_instruments(instruments, "sim")
        await reference.put_bars(bars, "sim")
        return {"instruments": len(instruments), "bars": len(bars)}
    finally:
        await pool.close()


def _bar(symbol: str, bar: SimBar) -> Bar:
    return Bar(
        symbol,
        DAY_S,
        bar.end_ns,
        to_decimal(bar.open_micros),
        to_decimal(bar.high_micros),
        to_decimal(bar.low_micros),
        to_decimal(bar.close_micros),
        bar.volume,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Seed the database named by the environment and print what was written."""
    parser = argparse.ArgumentParser(prog="python -m tradebox.sim.seed")
    parser.add_argument("--clock-file", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args(argv)
    try:
        written = asyncio.run(seed(os.environ[DSN_VARIABLE], arguments.clock_file, arguments.seed))
    except TradeboxError as error:
        sys.stderr.write(f"tradebox: {error.message}\n")
        return int(error.exit_code)
    sys.stdout.write(orjson.dumps(written).decode() + "\n")
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
