"""`python -m bench.variants`: whole plans under every switch of the simulator.

Rules of this file:
- the tests of tests/integration/execution/test_variants_plans.py live the plans and judge them;
  this runs them, each switch unproven and after the drill, and keeps the uncovered time by cause;
- a switch under which a test failed is told as failed.
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

TESTS = "tests/integration/execution/test_variants_plans.py"
VARIABLE = "TRADEBOX_VARIANT_RESULTS"


def measure() -> dict[str, Any]:
    """Run every case; return what each told."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "told.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", TESTS],
            cwd=ROOT,
            env={**os.environ, VARIABLE: str(path)},
            check=False,
        )
        told = json.loads(path.read_text()) if path.exists() else {}
    longest: dict[str, float] = {}
    for case in told.values():
        for stage in ("unproven", "proven"):
            for cause, figures in case[stage].items():
                longest[cause] = max(longest.get(cause, 0.0), figures["longest_ms"])
    return {
        "passed": done.returncode == 0,
        "cases": len(told),
        "longest_ms": dict(sorted(longest.items())),
        "by_switch": told,
        "load_during": load_average(),
    }


def main() -> int:
    """Measure and keep the result."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    result = {"name": "variants", "date": date, "machine": machine(), "versions": versions()}
    measured = measure()
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "measured": measured}, indent=2, sort_keys=True)
    (RESULTS / f"{date}-variants.json").write_text(f"{text}\n")
    print(json.dumps({name: measured[name] for name in ("passed", "cases", "longest_ms")}))
    return int(not measured["passed"])


if __name__ == "__main__":
    sys.exit(main())
