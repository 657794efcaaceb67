"""What the launcher loads once for every engine it will fork, and what it keeps out.

Rules of this file:
1. Thread counts are set and the fence is up before the first import of ours.
2. Nothing but imports: no client, no log sink, no name look-up, no thread.
3. What was loaded is frozen: no collection walks it again, no engine copies its pages.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Final

FENCED: Final = ("pandas", "polars", "vectorbt")
"""Modules that take seconds to load or start threads; importing one fails behind the fence."""

THREAD_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


def limit_threads() -> None:
    """Keep numeric libraries at one thread; they read this at their first import."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def raise_fence(names: Iterable[str] = FENCED) -> None:
    """Make `import name` fail from now on, here and in every engine."""
    for name in names:
        # typeshed types the values as modules; None is the documented way to forbid an import.
        sys.modules[name] = None  # type: ignore[assignment]


def load(names: Iterable[str]) -> None:
    """Import the modules. Raises: ImportError."""
    for name in names:
        importlib.import_module(name)


def freeze() -> None:
    """Collect once, then take all that is left out of every later collection.

    The launcher does it before it forks. An engine does it again once its tree has started: until
    its first full collection Python waits for a quarter of the launcher's objects to pile up as
    garbage, minutes of it, and then sweeps them in one stop of some hundred milliseconds.
    """
    gc.collect()
    gc.freeze()
