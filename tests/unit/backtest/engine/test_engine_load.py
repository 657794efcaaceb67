"""vectorbt's engine without vectorbt: its own record types, nothing left behind, no thread."""

import os
import subprocess
import sys

import pytest

LEAN = """
import sys, threading
from tradebox.backtest import pipeline, verify_engine
pipeline.warm_up()
loaded = [name for name in sys.modules if name.split(".")[0] in ("vectorbt", "pandas", "plotly")]
assert loaded == [], loaded
assert threading.active_count() == 1
assert len([one for one in __import__("os").listdir("/proc/self/task")]) == 1
print(verify_engine._enums().__file__)
"""

BESIDE = """
import sys, warnings
warnings.simplefilter("ignore")
from tradebox.backtest import verify_engine
lean = verify_engine._enums()
import vectorbt.portfolio.enums as real
assert lean is not real
for name in ("order_dt", "trade_dt", "log_dt"):
    assert getattr(lean, name) == getattr(real, name), name
for name in ("SizeType", "AccumulationMode", "OppositeEntryMode", "StopEntryPrice",
             "StopExitPrice", "StopExitMode", "StopUpdateMode"):
    assert tuple(getattr(lean, name)) == tuple(getattr(real, name)), name
print("equal")
"""


def run(code):
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={
            **{key: os.environ[key] for key in ("HOME", "PATH") if key in os.environ},
            "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
        },
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_a_warm_worker_has_loaded_no_data_frames_and_started_no_thread():
    assert run(LEAN).endswith("vectorbt/portfolio/enums.py")


@pytest.mark.slow
def test_record_types_and_words_are_those_of_the_whole_of_vectorbt():
    assert run(BESIDE) == "equal"
