"""`python -m bench.matrix [PIECE…]`: the engine's fault matrix, each fault with its recovery time.

Rules of this file:
- the slow tests of tests/chaos/engine do the harm and judge it; this runs them, piece by piece,
  and keeps what they tell beside the machine and its load;
- a piece that failed is told as failed, whatever times its faults had;
- pieces that are named are measured anew, those of the same day beside them are kept.
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

PIECES = ("crash", "kill", "hang", "deaf", "busy", "burn", "pairs", "processes")
VARIABLE = "CHAOS_RESULTS"


def measure(piece: str) -> dict[str, Any]:
    """Run one piece and return what it told, and at which load."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        words = ["tests/chaos/engine", "-q", "-m", "slow", "-k", f"[{piece}]"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(path)},
            check=False,
        )
        told = json.loads(path.read_text()) if path.exists() else {}
    seen = {"passed": done.returncode == 0, "load_during": load_average()}
    return {**seen, **told.get(piece, {})}


def summary(pieces: dict[str, Any]) -> dict[str, Any]:
    """Return how many faults there were, and how long until all was well again."""
    well = [fault["well_ms"] for one in pieces.values() for fault in one.get("faults", [])]
    return {
        "faults": len(well),
        "passed": all(one["passed"] for one in pieces.values()),
        "well_ms_p50": quantile(well, 0.5) if well else None,
        "well_ms_max": max(well, default=None),
    }


def keep(piece: str, told: dict[str, Any]) -> dict[str, Any]:
    """Put a piece beside the others of the day and return the summary of all."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    path = RESULTS / f"{date}-matrix.json"
    known = json.loads(path.read_text())["measured"]["pieces"] if path.exists() else {}
    pieces = {**known, piece: told}
    measured = {"load_during": load_average(), "pieces": pieces, **summary(pieces)}
    result = {"name": "matrix", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "measured": measured}, indent=2, sort_keys=True)
    path.write_text(f"{text}\n")
    return summary(pieces)


def main() -> int:
    """Run what was named, else the whole matrix, and keep the result of each piece."""
    has_failed = False
    for piece in sys.argv[1:] or PIECES:
        told = measure(piece)
        has_failed = has_failed or not told["passed"]
        print(json.dumps(keep(piece, told)))
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
