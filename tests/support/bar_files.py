"""Files of daily bars for tests, seeded, and the faults a file can have."""

import csv
import gzip
import io

import numpy as np

from support.stock_results import weekdays
from tradebox.strategies.bars import Bars

HEAD = ("date", "open", "high", "low", "close", "volume")


def seeded_bars(symbol="AAA", count=300, seed=1, *, adjusted=True):
    """Return a seeded random walk with true ranges."""
    random = np.random.default_rng([seed, *symbol.encode()])
    close = (50 * np.exp(np.cumsum(random.normal(0, 0.015, count)))).round(2)
    opens = (close * np.exp(random.normal(0, 0.004, count))).round(2)
    high = (np.maximum(opens, close) * (1 + random.uniform(0, 0.01, count))).round(2) + 0.01
    low = (np.minimum(opens, close) * (1 - random.uniform(0, 0.01, count))).round(2) - 0.01
    volume = random.integers(500_000, 5_000_000, count).astype(np.float64)
    return Bars(symbol, weekdays(count), opens, high, low, close, volume, adjusted)


def rows_of(bars):
    """Return a series as the cells of a file."""
    days = bars.day.astype("datetime64[D]")
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [[str(day), *(str(column[at]) for column in columns)] for at, day in enumerate(days)]


def write_csv(folder, symbol, rows, head=HEAD, *, packed=False):
    """Write SYMBOL.csv, or SYMBOL.csv.gz."""
    folder.mkdir(exist_ok=True)
    path = folder / (f"{symbol}.csv.gz" if packed else f"{symbol}.csv")
    text = io.StringIO()
    csv.writer(text).writerows([head, *rows])
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def write_parquet(path, series, group_rows=100, names=str):
    """Write stocks into one parquet file, row groups cutting through them; names: of symbols."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {
        "symbol": [names(bars.symbol) for bars in series for _ in bars.day],
        "date": pa.array(np.concatenate([bars.day for bars in series]), pa.date32()),
    }
    for name in HEAD[1:]:
        table[name] = np.concatenate([getattr(bars, name) for bars in series])
    pq.write_table(pa.table(table), path, row_group_size=group_rows)
    return path
