"""`python -m bench.matrix [PIECE…]`: the engine's fault matrix, each fault with its recovery time.

Rules of this file:
- the slow tests of tests/chaos/engine do the harm and judge it; this runs them, piece by piece,
  and keeps what they tell beside the machine and its load;
- a piece that failed is told as failed, whatever times its faults had.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import load_average, machine, quantile, versions
from bench.report import RESULTS, ROOT

PIECES = ("crash", "kill", "hang", "deaf", "busy", "pairs", "processes")
VARIABLE = "TRADEBOX_CHAOS_RESULTS"


def measure(pieces: tuple[str, ...]) -> dict[str, Any]:
    """Run these pieces and return what they told."""
    told: dict[str, Any] = {"load_during": load_average(), "pieces": {}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        for piece in pieces:
            words = ["tests/chaos/engine", "-q", "-m", "slow", "-k", f"[{piece}]"]
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
                cwd=ROOT,
                env={**os.environ, VARIABLE: str(path)},
                check=False,
            )
            known = json.loads(path.read_text()) if path.exists() else {}
            passed = done.returncode == 0
            told["pieces"][piece] = {"passed": passed, **known.get(piece, {})}
            told["load_during"] = max(told["load_during"], load_average())
    return {**told, **summary(told["pieces"])}


def summary(pieces: dict[str, Any]) -> dict[str, Any]:
    """Return how many faults there were, and how long until all was well again."""
    well = [fault["well_ms"] for one in pieces.values() for fault in one.get("faults", [])]
    return {
        "faults": len(well),
        "passed": all(one["passed"] for one in pieces.values()),
        "well_ms_p50": quantile(well, 0.5) if well else None,
        "well_ms_max": max(well, default=None),
    }


def main() -> int:
    """Run what was named, else the whole matrix, and keep the result."""
    measured = measure(tuple(sys.argv[1:]) or PIECES)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    result = {"name": "matrix", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date}-matrix.json"
    text = json.dumps({**result, "measured": measured}, indent=2, sort_keys=True)
    path.write_text(f"{text}\n")
    print(json.dumps(summary(measured["pieces"])))
    return 0 if measured["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
