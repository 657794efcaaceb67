"""How good the sanity filter is: errors passed, genuine ticks refused, time to accept a gap.

Rules of this file:
- the settings are the product's own defaults; their hash and that of the rules' code stand in the
  result, beside the files they were tuned on and those that nobody looked at before they were
  frozen;
- beside each figure stands the naive rule: refuse what is more than x % from the last price;
- recordings that this machine does not have are named as missing, never skipped in silence.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.filter_data import (
    CENT_MICROS,
    INTRADAY,
    PIP_TENTH_MICROS,
    SHIPPED,
    Recording,
    bars,
    line,
    quotes,
    trades,
)
from bench.filter_trial import NaiveRule, OurRule, measure, usual_gap_s
from bench.machine import load_average
from tradebox.config import FilterSettings
from tradebox.domain.tick_filter import judge

LENGTHS = (1, 2, 3, 5, 8)
SEEDS = tuple(range(6))
GAPS = 300
NAIVE = (0.01, 0.03, 0.05)
COUNT_MAX = 40_000

Load = Callable[[Path, FilterSettings], Recording]
TUNED_ON: dict[str, Load] = {
    "us_equity_XXX_2018-01-02_trades.csv.gz": trades,
    "EURUSD_2014-05-05_08_quotes.csv.gz": lambda path, settings: quotes(
        path, settings, PIP_TENTH_MICROS, COUNT_MAX
    ),
}
LOOKED_AT: dict[str, Load] = {
    "us_equity_XXX_2018-01-02_quotes.csv.gz": lambda path, settings: quotes(
        path, settings, CENT_MICROS, COUNT_MAX
    ),
    "BTCUSD_bitstamp_2011-2012_trades.csv.gz": trades,
    "SPY_2011-01_1min_bars.csv.gz": bars,
    "NZDUSD_2014-05-05_06_quotes.csv.gz": lambda path, settings: quotes(
        path, settings, PIP_TENTH_MICROS, COUNT_MAX
    ),
}
"""No settings were made for them, but what they showed was looked at before the rules were final:
middles of one exchange's quotes, an asset of another class, and what was held out once before."""

BESIDE = "us_equity_XXX_2018-01-02_quotes.csv.gz"
"""The stock's quotes are also told beside its trades, as a broker's line has them."""

HELD_OUT: tuple[tuple[str, int, int], ...] = (
    ("EURUSD_2014-05-05_08_quotes.csv.gz", 120_000, COUNT_MAX),
    ("EURUSD_2014-05-05_08_quotes.csv.gz", 160_000, COUNT_MAX),
    ("NZDUSD_2014-05-05_06_quotes.csv.gz", COUNT_MAX, COUNT_MAX),
)
"""Rows, from which and how many, that nobody looked at before the rules were final; those from
160,001 were read for the first time hours after, by rules that had not changed."""

RULES = sorted((Path(judge.__code__.co_filename).parent).glob("*filter*.py"))


def rules_hash() -> str:
    """Return the hash that says which rules were measured."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in RULES)).hexdigest()


def settings_hash(settings: FilterSettings) -> str:
    """Return the hash that says which settings were measured."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def one_file(recording: Recording, *, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Return what the filter and the naive rules make of one recording."""
    ticks = recording.ticks
    began_s = time.process_time()
    judged = len(ticks)
    rule = OurRule(recording)
    for tick in ticks:
        rule.see(tick)
    cost_us = (time.process_time() - began_s) / judged * 1e6
    return {
        "ticks": judged,
        "usual_gap_s": usual_gap_s(ticks),
        "cpu_us_per_tick": round(cost_us, 2),
        "filter": measure(lambda: OurRule(recording), ticks, LENGTHS, seeds, GAPS),
        "naive": {
            f"refuse > {share:.0%}": measure(
                lambda share=share: NaiveRule(share, recording.stubs),
                ticks,
                (1, 3),
                seeds[:3],
                GAPS,
            )
            for share in NAIVE
        },
    }


def _rows(name: str, from_row: int) -> str:
    return f"{name}, rows from {from_row + 1:,}"


def run() -> dict[str, Any]:
    """Measure every recording that is there. Units stand in the names."""
    settings = FilterSettings()
    found: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "settings_sha256": settings_hash(settings),
        "rules_sha256": rules_hash(),
        "tuned_on": sorted(TUNED_ON),
        "looked_at": sorted(LOOKED_AT),
        "held_out": sorted(_rows(name, from_row) for name, from_row, _ in HELD_OUT),
        "seeds": list(SEEDS),
        "files": {},
        "missing": [],
        "load_during": load_average(),
    }
    for name, load in {**TUNED_ON, **LOOKED_AT}.items():
        path = INTRADAY / name
        if path.exists():
            found["files"][name] = one_file(load(path, settings))
        else:
            found["missing"].append(name)
    for name, from_row, count in HELD_OUT:
        path = INTRADAY / name
        if path.exists():
            kept = quotes(path, settings, PIP_TENTH_MICROS, count, from_row)
            found["files"][_rows(name, from_row)] = one_file(kept)
    beside = INTRADAY / BESIDE
    if beside.exists():
        merged = line(INTRADAY / BESIDE.replace("quotes", "trades"), beside, settings)
        found["files"][merged.name] = one_file(merged)
    found["files"][SHIPPED.name] = one_file(bars(SHIPPED, settings))
    return found


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
