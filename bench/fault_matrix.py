"""`python -m bench.fault_matrix [NUMBER…]`: the fault matrix, each row with what it showed.

Rules of this file:
- the rows stand in tests/chaos/matrix; they harm and judge, this keeps what they tell;
- a row that failed is told as failed; without names the file holds one whole run, and rows that
  are named later that day stand beside it as played again.
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

VARIABLE = "FAULT_MATRIX_RESULTS"


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
    """Keep a whole run; rows that were named stand beside it. Returns the summary of all."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    path = RESULTS / f"{date}-fault_matrix.json"
    is_known = path.exists() and not is_whole
    known = json.loads(path.read_text())["measured"] if is_known else {}
    if known.get("is_one_run"):
        measured = {**known, "played_again": {**known.get("played_again", {}), **told}}
    else:
        measured = {
            "is_one_run": is_whole,
            "load_during": load_average(),
            "took_s": round(took_s),
            "rows": {**known.get("rows", {}), **told},
        }
    rows, again = measured["rows"], measured.get("played_again", {})
    summary = {
        "failed": _failed(rows),
        "still_failed": sorted(set(_failed({**rows, **again}))),
        "uncovered_s_max": max(
            (row.get("uncovered_s_max", 0.0) for row in rows.values()), default=0
        ),
    }
    result = {"name": "fault_matrix", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    measured = {**measured, **summary}
    text = json.dumps(
        {**result, "measured": measured, "played": len(rows)}, indent=2, sort_keys=True
    )
    path.write_text(f"{text}\n")
    return {"rows": len(rows), **summary}


def _failed(rows: dict[str, Any]) -> list[str]:
    return sorted(number for number, row in rows.items() if not row["passed"])


def main() -> int:
    """Play what was named, else everything, and keep it."""
    began_s, numbers = time.monotonic(), sys.argv[1:]
    told = measure(numbers)
    summary = keep(told, time.monotonic() - began_s, is_whole=not numbers)
    print(json.dumps(summary))
    return int(bool(summary["still_failed"]) or not told)


if __name__ == "__main__":
    sys.exit(main())
