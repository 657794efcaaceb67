"""How many messages a client may send.

Rules of this file:
- so many a second on average, with a burst of twice as many: what the network held back is no
  offence.

Source: TWS API documentation (50 messages a second); error 100 beyond it.
"""

from collections.abc import Callable

PER_SECOND = 50
_BURST_S = 2


class Pace:
    """A bucket of messages that fills with time; 0 a second means without a limit."""

    def __init__(self, real_s: Callable[[], float], per_second: int = PER_SECOND) -> None:
        self._real_s = real_s
        self._per_second = per_second
        self._left = float(_BURST_S * per_second)
        self._at_s = real_s()

    def take(self) -> bool:
        """Count a message; say whether it is within the limit."""
        if not self._per_second:
            return True
        now_s = self._real_s()
        gained = (now_s - self._at_s) * self._per_second
        self._left = min(_BURST_S * self._per_second, self._left + gained)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
