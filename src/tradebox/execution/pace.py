"""How many messages one connection wrote within the last second, of whatever kind.

Rules of this file:
- the gateway counts all alike, and what is beyond its limit it drops, orders too;
- looks leave a share to orders, questions about stocks one to both, entries one to what reduces:
  an exit's look never stands behind questions;
- a look that an exit or a missing stop waits for reaches into the share of what reduces, and
  leaves the rest of it to their orders: it never stands behind entries.
"""

from collections import deque
from typing import Final

MESSAGES_PER_S_MAX: Final = 48
"""TWS API: 50 a second; two less, for two clocks."""
KEPT_FOR_REDUCTIONS: Final = 10
KEPT_FOR_ORDERS: Final = KEPT_FOR_REDUCTIONS + 8
"""What looks leave: room for what reduces, and for four entries with their stops."""
KEPT_FROM_PRESSING_LOOKS: Final = KEPT_FOR_REDUCTIONS // 2
"""What a look leaves that something waits for which reduces or covers."""
KEPT_FOR_LOOKS: Final = 14
"""What questions leave beside that: three looks, for an exit waits for one."""
LOOK_MESSAGES: Final = 4
"""Open orders, completed orders, executions, positions."""
BRIEF_LOOK_MESSAGES: Final = 2
"""Open orders, positions."""
_PERIOD_S: Final = 1.0
_ROUNDING_S: Final = 1e-6


class Pace:
    """The messages of the last second. Units: seconds of the clock that is handed in.

    Holds:   where everybody asks first, no second sees more than `per_s_max`.
    """

    def __init__(self, per_s_max: int = MESSAGES_PER_S_MAX) -> None:
        self._per_s_max = per_s_max
        self._written_s: deque[float] = deque(maxlen=10 * per_s_max)

    def note(self, now_s: float) -> None:
        """Take note of a message that was written."""
        self._written_s.append(now_s)

    def room(self, now_s: float) -> int:
        """Return how many messages may be written now."""
        written = self._written_s
        while written and now_s - written[0] >= _PERIOD_S:
            written.popleft()
        return max(0, self._per_s_max - len(written))

    def wait_s(self, count: int, now_s: float, kept: int) -> float:
        """Return how long it is until so many fit and leave `kept` of the room; 0: they do now."""
        assert count + kept <= self._per_s_max, (count, kept)
        self.room(now_s)
        too_many = len(self._written_s) + count + kept - self._per_s_max
        if too_many <= 0:
            return 0.0
        return self._written_s[too_many - 1] + _PERIOD_S - now_s + _ROUNDING_S
