"""How much a key of Alpha Vantage may ask.

Rules of this file:
- a free key: one call a second and 25 a day; a premium key: 75 a minute;
- every call counts, the refused ones too;
- seconds and minutes are real time; the day is the New York day of market time.

Source: alphavantage.co premium page and the texts that free keys get.
"""

from collections import deque

from tradebox.sim.exchange.days import trading_day

FREE_PER_DAY = 25
PREMIUM_PER_MINUTE = 75


class FreeQuota:
    """The limits of a free key."""

    def __init__(self) -> None:
        self._day, self._used = "", 0
        self._last_s = float("-inf")

    def take(self, now_s: float, market_ns: int) -> bool:
        """Count a call; say whether it is within the limits."""
        day = trading_day(market_ns)
        if day != self._day:
            self._day, self._used = day, 0
        is_burst = now_s - self._last_s < 1
        self._used += 1
        self._last_s = now_s
        return not is_burst and self._used <= FREE_PER_DAY


class PremiumQuota:
    """The limit of a premium key."""

    def __init__(self) -> None:
        self._calls: deque[float] = deque()

    def take(self, now_s: float, _market_ns: int) -> bool:
        """Count a call; say whether it is within the limit."""
        while self._calls and self._calls[0] <= now_s - 60:
            self._calls.popleft()
        if len(self._calls) >= PREMIUM_PER_MINUTE:
            return False
        self._calls.append(now_s)
        return True
