"""Vendor bytes to a mailbox at a steady rate, beside the loopback floor of the same run.

Rules of this file:
- bench_feed measures; this adds what a figure needs to be quoted.
"""

from typing import Any, cast

from bench import bench_feed
from bench.loopback import Loopback
from bench.machine import load_average, ratio, spread

PASSES = 2000


def run() -> dict[str, Any]:
    """Measure once and return the figures. Units stand in the names."""
    loopback = Loopback()
    try:
        before = [loopback.pass_over() for _ in range(PASSES)]
        found = bench_feed.run()
        load = load_average()
        passes = spread([*before, *(loopback.pass_over() for _ in range(PASSES))], 1)
    finally:
        loopback.close()
    steady = cast("dict[str, float]", found["vendor_bytes_to_mailbox"])
    return {
        "load_during": load,
        **{name: value for name, value in found.items() if name != "name"},
        "floor": {"loopback_us": passes},
        "ratio_to_floor_p50": ratio(steady["p50_us"], passes["p50"]),
        "ratio_to_floor_p99": ratio(steady["p99_us"], passes["p99"]),
    }
