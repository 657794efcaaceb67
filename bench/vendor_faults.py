"""`python -m bench.vendor_faults [NAME…]`: faults of vendors on a trading run, row by row.

Rules of this file:
- the slow tests of tests/chaos/vendors do the harm and judge it; this runs them and keeps what they
  tell beside the machine and its load;
- a row that failed is told as failed; rows that are named are run anew, those of the same day
  beside them are kept.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import load_average, machine, versions
from bench.report import RESULTS, ROOT

VARIABLE = "TRADEBOX_VENDOR_RESULTS"


def measure(names: list[str]) -> dict[str, Any]:
    """Run the rows of these names, or all, and return what each told."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        words = ["tests/chaos/vendors", "-q", "-p", "no:cacheprovider"]
        chosen = ["-k", " or ".join(names)] if names else []
        subprocess.run(
            [sys.executable, "-m", "pytest", *words, *chosen],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(path)},
            check=False,
        )
        told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return told


def keep(told: dict[str, Any]) -> dict[str, Any]:
    """Put rows beside the others of the day and return the summary of all."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    path = RESULTS / f"{date}-vendor_faults.json"
    known = json.loads(path.read_text())["measured"]["rows"] if path.exists() else {}
    rows = {**known, **told}
    summary = {
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
    summary = keep(measure(sys.argv[1:]))
    print(json.dumps(summary))
    return int(bool(summary["failed"]))


if __name__ == "__main__":
    sys.exit(main())
