"""`make matrix`: every slow test, three groups at a time; what rows of faults told is kept.

Rules of this file:
- the tests harm and judge; this plays them and keeps what the fault matrix and the vendor faults
  told, as `bench.fault_matrix` and `bench.vendor_faults` do, each of them one group in its order;
- arguments are pytest's; rows that they chose stand beside the whole run of the day.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import fault_matrix, vendor_faults
from bench.report import ROOT

AT_A_TIME = 3
"""Groups. Two cores carry them: an engine under a fault mostly waits."""
LIMIT_S = 2400


def play(arguments: list[str]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Return pytest's exit code and what each row of the matrix and of the vendors told."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in (fault_matrix.VARIABLE, vendor_faults.VARIABLE)]
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-m", "slow", "-n", str(AT_A_TIME),
             "--dist", "loadgroup", "-p", "no:randomly", "--timeout", str(LIMIT_S), *arguments],
            cwd=ROOT,
            env={**os.environ, **{path.name: str(path) for path in paths}},
            check=False,
        )  # fmt: skip
        rows, vendors = (json.loads(path.read_text()) if path.exists() else {} for path in paths)
    return ended.returncode, rows, vendors


def main() -> int:
    """Play them, keep what was told; return pytest's exit code."""
    arguments, began_s = sys.argv[1:], time.monotonic()
    code, rows, vendors = play(arguments)
    took_s, is_whole = time.monotonic() - began_s, not arguments
    told: dict[str, Any] = {"took_s": round(took_s)}
    if rows:
        told["fault_matrix"] = fault_matrix.keep(rows, took_s, is_whole=is_whole)
    if vendors:
        told["vendor_faults"] = vendor_faults.keep(vendors, took_s=took_s, is_whole=is_whole)
    print(json.dumps(told))
    return code


if __name__ == "__main__":
    sys.exit(main())
