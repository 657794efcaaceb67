"""What the fork server imports once, so that each worker begins warm: kernels, and no pandas.

Rules of this file:
- importing it does it all: the fork server only imports;
- one thread stays one thread: no library may start its own before a fork;
- the lowest priority: backtests pay for nobody's delay. Where the kernel groups tasks by session
  (sched_autogroup), niceness counts within a session only, so the workers get one of their own,
  and the group the lowest place too.
"""

import contextlib
import gc
import os
import sys

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
for _name in ("pandas", "polars"):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]
os.nice(19)
with contextlib.suppress(PermissionError):  # a session's first process already
    os.setsid()
with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as _group:  # noqa: PTH123
    _group.write("19")  # absent where the kernel has no such groups

import tradebox.backtest.worker  # noqa: E402, F401 - after the fence, for who is forked
from tradebox.backtest.pipeline import warm_up as _warm_up  # noqa: E402 - after the fence

_warm_up()
gc.collect()
gc.freeze()
