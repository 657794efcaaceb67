"""Interpreters that start with this folder in their path take a stand-in's time for the wall's.

Rules of this file:
- the clock alone is replaced; every other line of profiles paper and live runs as it is.
"""

import os
from pathlib import Path

from tradebox.adapters import marketclock

CLOCK_FILE = "SHIFTED_CLOCK_FILE"
"""The environment's name for the clock file of the stand-in that plays the day."""


class StandInClock(marketclock.AffineMarketClock):
    """The stand-in's time, made as the wall clock is."""

    def __init__(self) -> None:
        super().__init__(Path(os.environ[CLOCK_FILE]))


setattr(marketclock, "WallMarketClock", StandInClock)  # noqa: B010 - no type is its equal
