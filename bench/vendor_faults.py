"""`python -m bench.vendor_faults [NAME…]`: faults of vendors on a trading run, row by row.

Rules of this file:
- the slow tests of tests/chaos/vendors do the harm and judge it; this runs them and keeps what they
  tell beside the machine and its load;
- a row that failed is told as failed; without names every row is run and nothing else is kept;
  rows that are named are run anew, those of the same day beside them are kept, and the result
  says that it is not of one run.
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

VARIABLE = "VENDOR_FAULTS_RESULTS"


def measure(names: list[str]) -> dict[str, Any]:
    """Run the rows of these names, or all, and return what each told."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        words = ["tests/chaos/vendors", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        chosen = ["-k", " or ".join(names)] if names else []
        subprocess.run(
            [sys.executable, "-m", "pytest", *words, *chosen],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(path)},
            check=False,
        )
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return told


def keep(told: dict[str, Any], *, took_s: float, is_whole: bool) -> dict[str, Any]:
    """Keep the rows of a whole run, or put some beside the others of the day; return the summary.

    took_s: of this run.
    """
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    path = RESULTS / f"{date}-vendor_faults.json"
    is_begun = path.exists() and not is_whole
    known = json.loads(path.read_text())["measured"]["rows"] if is_begun else {}
    rows = {**known, **told}
    summary = {
        "is_one_run": is_whole,
        "took_s": round(took_s),
        "rows_run": len(rows),
        "passed": sum(bool(row.get("passed")) for row in rows.values()),
        "failed": sorted(name for name, row in rows.items() if not row.get("passed")),
    }
    measured = {"load_during": load_average(), **summary, "rows": rows}
    result = {"name": "vendor_faults", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "measured": measured}, indent=2, sort_keys=True)
    path.write_text(f"{text}\n")
    return summary


def main() -> int:
    """Run what was named, else every row, and keep the results."""
    began_s = time.monotonic()
    told = measure(sys.argv[1:])
    summary = keep(told, took_s=time.monotonic() - began_s, is_whole=not sys.argv[1:])
    print(json.dumps(summary))
    return int(bool(summary["failed"]))


if __name__ == "__main__":
    sys.exit(main())
