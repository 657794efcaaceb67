"""`python -m bench [NAMES…]`: measures, keeps the results, and brings the README up to date.

Rules of this file:
- one file a bench and day in bench/results, of raw percentiles and their floors;
- figures, never verdicts: nothing here fails because something was slow.
"""

import argparse
import importlib
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from bench.machine import machine, versions
from bench.report import RESULTS, write_readme

BENCHES = {
    "runtime": "crash to replacement, tells and asks a second",
    "takeover": "the feed pair, by crash and by hang",
    "failover": "the feed pair inside a whole run, by crash and by hang",
    "price_path": "vendor bytes to a mailbox",
    "data": "vendor bytes to two controllers and to Redis with five readers, on one core",
    "restart": "the launcher brings an engine back, beside a fresh start",
    "orders": "price in the mailbox to order bytes at the gateway; memory",
    "console": "the console on a terminal: bytes, CPU, memory, keys, start; lag with ten of them",
    "recovery": "the engine killed under plans, until it trades again",
    "reconcile": "10, 100 and 1,000 working orders; an exit behind 600 requests",
    "filter": "the sanity filter: errors passed, genuine ticks refused, time to accept a gap",
    "sim": "the stand-in world: orders, ticks and memory on one core",
    "backtest": "the universe in one command, memory, growth, other people's engines",
    "isolation": "live beside a burning paper, a flooded dashboard, busy cores",
}


def measure(name: str) -> dict[str, Any]:
    """Run one bench and return its result as it is kept."""
    run = importlib.import_module(f"bench.bench_{name}").run
    began_s = time.monotonic()
    measured = run()
    return {
        "name": name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "took_s": round(time.monotonic() - began_s, 1),
        "machine": machine(),
        "versions": versions(),
        "measured": measured,
    }


def main() -> int:
    """Run what was named, else everything."""
    told = "\n".join(f"  {name:<12} {what}" for name, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measures the figures of the README.\n\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: every bench")
    names = parser.parse_args().names or list(BENCHES)
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        parser.error(f"unknown bench {unknown[0]}: one of {', '.join(BENCHES)}")
    RESULTS.mkdir(exist_ok=True)
    try:
        for name in names:
            print(f"{name}: {BENCHES[name]} ...", file=sys.stderr, flush=True)
            result = measure(name)
            path = RESULTS / f"{result['date']}-{name}.json"
            path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
            print(json.dumps(result["measured"]))
    finally:
        write_readme()
    return 0


if __name__ == "__main__":
    sys.exit(main())
