"""The smallest memory budget that a run can work in: one figure, wherever it is asked for.

Rules of this file:
- nobody else says what is too small: before anything is started, once the servers are up, and once
  the zygote is warm the same function answers, with the same figure for the same stocks;
- what was measured counts only where it is more than an ordinary run is known to need.
"""

from typing import Final

from tradebox.backtest.memory import MIB, SAFE_SHARE, SizeModel, shown_size
from tradebox.errors import ConfigInvalid

LEAST_BYTES: Final = 352 * MIB
"""A run of one worker with its servers, zygote and a stock of ten years."""

ZYGOTE_BYTES: Final = 170 * MIB
"""What the zygote and its first worker add to our tree, before anything has been measured."""

STEP_BYTES: Final = 32 * MIB
"""Figures are rounded up to this, so that a second try with the figure that was told works."""


def least_budget_bytes(tree_bytes: int = 0, bars: int = 0, *, is_warm: bool = False) -> int:
    """Return the smallest budget for a tree that holds so much and a longest stock of such length.

    Units:   bytes. tree_bytes: 0 = nothing has been started; is_warm: the zygote is inside it.
    Holds:   never below LEAST_BYTES; grows with both.
    """
    need = tree_bytes + SizeModel().predicted_bytes([bars]) + (0 if is_warm else ZYGOTE_BYTES)
    return max(LEAST_BYTES, -(-int(need / SAFE_SHARE) // STEP_BYTES) * STEP_BYTES)


def refuse_too_small(
    budget_bytes: int, tree_bytes: int = 0, bars: int = 0, *, is_warm: bool = False
) -> None:
    """Refuse a budget that not even one task fits into. Raises: ConfigInvalid."""
    least = least_budget_bytes(tree_bytes, bars, is_warm=is_warm)
    if budget_bytes >= least:
        return
    longest = f" with its longest stock of {bars:,} bars" if least > LEAST_BYTES else ""
    raise ConfigInvalid(
        f"memory budget of {shown_size(budget_bytes)} is below one task: a run{longest} needs"
        f" {shown_size(least)}: give --memory-budget {least // MIB}MiB or more",
        field="backtest.memory_budget",
        value=budget_bytes,
        least=least,
    )
