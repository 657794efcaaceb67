"""The market's clock: wall time in production, an affine map of it in the sim.

Rules of this file:
- sessions, bars, event ages and plan time use this clock; deadlines and leashes never do;
- it never goes backwards; it may jump forward (the sim skips closed hours).
"""

from typing import Protocol


class MarketClock(Protocol):
    """Market time in UTC nanoseconds."""

    @property
    def speed(self) -> float:
        """Market seconds per real second; 1.0 in production. Event-age limits scale with it."""
        ...

    def now_ns(self) -> int:
        """Return market time in ns UTC."""
        ...
