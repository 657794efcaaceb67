"""`python -m bench.fault_matrix [NUMBER…]`: the fault matrix, each row with what it showed.

Rules of this file:
- the rows stand in tests/chaos/matrix; they harm and judge, this keeps what they tell;
- a row that failed is told as failed; rows that are named are played anew, those of the same day
  beside them are kept; without names the file holds one whole run and nothing else.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import load_average, machine, versions
from bench.report import RESULTS, ROOT

VARIABLE = "TRADEBOX_FAULT_MATRIX"


def measure(numbers: list[str]) -> dict[str, Any]:
    """Play rows, all where none is named, and return what each told."""
    wanted = [f"test_row[{int(number)}]" for number in numbers]
    chosen = ["-k", " or ".join(wanted)] if wanted else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        subprocess.run(
            [sys.executable, "-m", "pytest", "tests/chaos/matrix", "-q", "-m", "slow",
             "-p", "no:cacheprovider", *chosen],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(path)},
            check=False,
        )  # fmt: skip
        return dict(json.loads(path.read_text())) if path.exists() else {}


def keep(told: dict[str, Any], took_s: float, *, is_whole: bool) -> dict[str, Any]:
    """Keep a whole run, or put rows beside the others of the day; return the summary of all."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    path = RESULTS / f"{date}-fault_matrix.json"
    is_known = path.exists() and not is_whole
    known = json.loads(path.read_text())["measured"]["rows"] if is_known else {}
    rows = {**known, **told}
    failed = sorted(number for number, row in rows.items() if not row["passed"])
    uncovered_s = max((row.get("uncovered_s_max", 0.0) for row in rows.values()), default=0.0)
    summary = {"rows": len(rows), "failed": failed, "uncovered_s_max": uncovered_s}
    measured = {
        **summary,
        "is_one_run": is_whole,
        "load_during": load_average(),
        "took_s": round(took_s),
        "rows": rows,
    }
    result = {"name": "fault_matrix", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(
        {**result, "measured": measured, "played": len(rows)}, indent=2, sort_keys=True
    )
    path.write_text(f"{text}\n")
    return summary


def main() -> int:
    """Play what was named, else everything, and keep it."""
    began_s, numbers = time.monotonic(), sys.argv[1:]
    told = measure(numbers)
    summary = keep(told, time.monotonic() - began_s, is_whole=not numbers)
    print(json.dumps(summary))
    return int(bool(summary["failed"]) or not told)


if __name__ == "__main__":
    sys.exit(main())
