"""Token buckets: how many messages may leave now.

Rules of this file:
- entries and reductions draw from buckets of their own, so that entries can starve nobody;
- time is handed in; a bucket never holds more than its size;
- after the broker said "too many" entries go at half their rate for a while.
"""

from dataclasses import dataclass
from typing import Final

_ROUNDING_S: Final = 1e-6
SLOW_S: Final = 60.0
"""How long entries go at half their rate."""


@dataclass(slots=True)
class Bucket:
    """`size` tokens at most, refilled evenly over `period_s`.

    Holds:   over any span of t seconds at most size + size * t / period_s tokens are taken.
    """

    size: int
    period_s: float
    level: float = -1.0
    at_s: float = 0.0

    def available(self, now_s: float) -> int:
        """Return the whole tokens that may be taken now."""
        if self.level < 0:
            self.level, self.at_s = float(self.size), now_s
        gained = max(0.0, now_s - self.at_s) * self.size / self.period_s
        self.level = min(float(self.size), self.level + gained)
        self.at_s = max(self.at_s, now_s)
        return int(self.level)

    def wait_s(self, now_s: float) -> float:
        """Return how long it is until there is a whole token; 0 where there is one."""
        if self.available(now_s):
            return 0.0
        return (1.0 - self.level) * self.period_s / self.size + _ROUNDING_S

    def take(self, count: int, now_s: float) -> None:
        """Take tokens that `available` showed."""
        assert count <= self.available(now_s), count
        self.level -= count


class Buckets:
    """The buckets of one account: entries per second, minute and day; reductions per second."""

    def __init__(self, per_s: int, per_min: int, per_day: int, reductions_per_s: int = 20) -> None:
        self._entry = (Bucket(per_s, 1.0), Bucket(per_min, 60.0), Bucket(per_day, 86_400.0))
        self._reduce = Bucket(reductions_per_s, 1.0)
        self._slow_until_s = float("-inf")

    def slow_down(self, now_s: float) -> None:
        """Count each message of an entry twice for SLOW_S: the broker had too many."""
        self._slow_until_s = now_s + SLOW_S

    def _cost(self, now_s: float) -> int:
        return 2 if now_s < self._slow_until_s else 1

    def entry_tokens(self, now_s: float) -> int:
        """Return the messages an entry may send now."""
        return min(bucket.available(now_s) for bucket in self._entry) // self._cost(now_s)

    def reduce_tokens(self, now_s: float) -> int:
        """Return the messages that exits and stops may send now."""
        return self._reduce.available(now_s)

    def take_entry(self, count: int, now_s: float) -> None:
        """Take messages of an entry."""
        for bucket in self._entry:
            bucket.take(count * self._cost(now_s), now_s)

    def take_reduce(self, count: int, now_s: float) -> None:
        """Take messages of an exit or a stop."""
        self._reduce.take(count, now_s)
